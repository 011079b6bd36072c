"""One whole run, ready to be asked: the journal of the bot beside what the simulator says really happened."""

from functools import cached_property
from typing import Any

from tests.flow.processes import Left

Row = dict[str, Any]


class Journey:
    """`exchange`, `ledger` and `log` are the simulator's own; the rest is the bot's."""

    LIVE_STATES = ("intended", "unresolved", "working", "triggered")

    def __init__(self, left: Left, exchange: Row, ledger: Row, log: list[Row]) -> None:
        self.left = left
        self.report = left.report
        self.exchange = exchange
        self.ledger = ledger
        self.log = log

    @cached_property
    def signals(self) -> list[Row]:
        return self.left.rows("SELECT * FROM bot.signal_log ORDER BY cycle_at, variant, symbol")

    @cached_property
    def positions(self) -> list[Row]:
        return self.left.rows("SELECT * FROM bot.positions ORDER BY position_id")

    @cached_property
    def orders(self) -> list[Row]:
        return self.left.rows("SELECT * FROM bot.orders ORDER BY client_id")

    @cached_property
    def fills(self) -> list[Row]:
        return self.left.rows("SELECT * FROM bot.fills ORDER BY symbol, trade_id")

    def ids_of(self, variant: str) -> set[str]:
        return {row["position_id"] for row in self.positions if row["variant"] == variant}

    def fill_status(self, position: Row) -> str:
        """What the signal's row must say of its entry."""
        entry = next(row for row in self.orders if row["position_id"] == position["position_id"] and row["leg"] == "e")
        if entry["state"] in self.LIVE_STATES:
            return "pending"
        if position["filled"] == 0:
            return "rejected" if entry["state"] == "rejected" else "expired"
        return "filled" if position["filled"] == position["intended"] else "partial"
