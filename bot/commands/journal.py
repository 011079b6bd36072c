"""The command `journal`: rows of the journal, newest first, as tables or JSON. Works beside a running bot."""

import os
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
from rich.text import Text

from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table, signed, with_times
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.journal.connection import read_journal
from bot.journal.queries import BookedFill, Day, Queries, StoredEvent
from bot.messages import Position, PositionStatus, Severity, Signal
from bot.venue import OrderRow, OrderState

DECISIONS = ("enter", "refuse")
RowT = TypeVar("RowT", bound=msgspec.Struct)
WordT = TypeVar("WordT", bound=StrEnum)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What all kinds of rows are asked for with."""

    state: Path
    config: Path
    limit: int = 50
    as_json: bool = False


def print_signals(reading: Reading, variant: str | None, symbol: str | None, decision: str | None) -> None:
    if decision is not None and decision not in DECISIONS:
        raise OperatorError(f"--decision {decision}: expected one of {', '.join(DECISIONS)}")
    _show(reading, lambda journal: journal.signals(reading.limit, variant, _upper(symbol), decision), _signals)


def print_positions(reading: Reading, variant: str | None, symbol: str | None, status: str | None) -> None:
    wanted = _word("--status", status, PositionStatus)
    _show(reading, lambda journal: journal.positions(reading.limit, variant, _upper(symbol), wanted), _positions)


def print_orders(reading: Reading, symbol: str | None, position: str | None, order_state: str | None) -> None:
    wanted = _word("--order-state", order_state, OrderState)
    _show(reading, lambda journal: journal.orders(reading.limit, _upper(symbol), position, wanted), _orders)


def print_fills(reading: Reading, symbol: str | None, position: str | None) -> None:
    _show(reading, lambda journal: journal.fills(reading.limit, _upper(symbol), position), _fills)


def print_events(reading: Reading, name: str | None, severity: str | None) -> None:
    wanted = _word("--severity", severity, Severity)
    _show(reading, lambda journal: journal.events(reading.limit, name, wanted), _events)


def print_days(reading: Reading) -> None:
    _show(reading, lambda journal: journal.days(reading.limit), _days)


def _show(
    reading: Reading,
    query: Callable[[Queries], Awaitable[list[RowT]]],
    draw: Callable[[Iterable[RowT]], Grid],
) -> None:
    configure_logs()

    async def read() -> list[RowT]:
        settings = read_toml(reading.config, BotFile) if reading.config.exists() else BotFile()
        async with read_journal(reading.state, settings.journal, os.environ) as pool:
            return await query(Queries(pool))

    rows = anyio.run(read)
    if reading.as_json:
        print_json(rows)
    elif rows:
        print_table(draw(rows))
    else:
        console().print("no rows", style="dim")


def _upper(symbol: str | None) -> str | None:
    return None if symbol is None else symbol.upper()


def _word(option: str, word: str | None, kind: type[WordT]) -> WordT | None:
    if word is None:
        return None
    try:
        return kind(word)
    except ValueError:
        raise OperatorError(f"{option} {word}: expected one of {', '.join(kind)}") from None


def _signals(rows: Iterable[Signal]) -> Grid:
    shown = Grid(
        "Cycle UTC", "Id", "Variant", "Symbol", "Side", "Forecast", "Decision", "Fill", "Net", "Came",
        right="Forecast Net Came", first_to_go=("Came", "Net", "Fill", "Side"),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            moment(row.cycle_at)[:16],
            row.signal_id,
            row.variant,
            row.symbol,
            (row.side or "").lower(),
            _share(row.predicted_return),
            Text(
                row.decision_reason if row.decision != "enter" else "enter", "cyan" if row.decision == "enter" else ""
            ),
            row.fill_status or "",
            signed(row.net_pnl),
            _share(row.actual_return),
        )
    return shown


def _positions(rows: Iterable[Position]) -> Grid:
    shown = Grid(
        "Opened UTC", "Closed UTC", "Variant", "Symbol", "Side", "Status", "Filled", "Entry", "Stop", "Exit",
        "Reason", "Net", right="Filled Entry Stop Exit Net",
        first_to_go=("Variant", "Closed UTC", "Exit", "Filled", "Status", "Side"),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            moment(row.opened_at)[:16],
            moment(row.closed_at)[:16],
            row.variant,
            row.symbol,
            row.side.lower(),
            row.status,
            f"{row.filled:f}",
            _price(row.entry_price),
            _price(row.stop_price),
            _price(row.exit_price),
            row.exit_reason or "",
            signed(row.net_pnl) if row.filled else "",
        )
    return shown


def _orders(rows: Iterable[OrderRow]) -> Grid:
    shown = Grid(
        "Created UTC", "Client id", "Symbol", "Leg", "Side", "Type", "Quantity", "Price", "Filled", "State", "Reason",
        right="Quantity Price Filled", first_to_go=("Type", "Reason", "Filled", "Side", "Quantity"),
    )  # fmt: skip
    for row in rows:
        wanted = row.request
        shown.add_row(
            moment(row.created_at),
            row.client_id,
            wanted.symbol,
            row.leg.name.lower(),
            "buy" if wanted.buy else "sell",
            wanted.kind.lower(),
            f"{wanted.quantity:f}",
            _price(wanted.price if wanted.price is not None else wanted.trigger_price),
            f"{row.filled:f}",
            row.state,
            row.reason,
        )
    return shown


def _fills(rows: Iterable[BookedFill]) -> Grid:
    shown = Grid(
        "At UTC", "Symbol", "Trade", "Leg", "Side", "Quantity", "Price", "Fee", "Realized", "Position",
        right="Trade Quantity Price Fee Realized", first_to_go=("Trade", "Fee", "Position", "Side"),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            moment(row.at),
            row.symbol,
            str(row.trade_id),
            row.leg.name.lower() if row.leg else "",
            "buy" if row.buy else "sell",
            f"{row.quantity:f}",
            _price(row.price),
            f"{row.fee:.4f}" + ("" if row.fee_asset == "USDT" else f" {row.fee_asset}"),
            signed(row.realized_pnl),
            row.position_id or Text("none of ours", "yellow"),
        )
    return shown


def _events(rows: Iterable[StoredEvent]) -> Grid:
    shown = Grid("At UTC", "Severity", "Event", "Detail", fold="Detail")
    styles = {Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
    for row in rows:
        detail = "  ".join(f"{key}={value}" for key, value in with_times(row.detail).items())
        shown.add_row(moment(row.at), Text(row.severity, styles.get(row.severity, "")), row.name, detail)
    return shown


def _days(rows: Iterable[Day]) -> Grid:
    names = ("Signals", "Entries", "Exits", "Fees", "Funding", "Net", "Wallet", "Drawdown")
    shown = Grid("Day UTC", *names, right=" ".join(names), first_to_go=("Drawdown", "Exits", "Funding"))
    for row in rows:
        counts = (str(row.signals), str(row.entries), str(row.exits))
        money = (f"{row.fees:,.2f}", signed(row.funding), signed(row.net_pnl), f"{row.wallet:,.2f}")
        shown.add_row(row.day, *counts, *money, f"{row.drawdown:.2%}")
    return shown


def _price(price: object) -> str:
    return "" if price is None else f"{price:f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}"
