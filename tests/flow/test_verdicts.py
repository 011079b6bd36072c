"""A verdict on killed bots that sees nothing would be worth nothing: each is shown what it has to find."""

from decimal import Decimal
from typing import Any

from tests.flow import kill_days, verdicts

POSITION: dict[str, Any] = {"position_id": "A1", "symbol": "BTCUSDT", "side": "LONG", "intended": Decimal("0.2")}


def fill(client_id: str, quantity: str, trade_id: int = 1) -> dict[str, Any]:
    return {"what": "fill", "client_id": client_id, "quantity": quantity, "symbol": "BTCUSDT", "trade_id": trade_id}


def test_an_entry_that_was_executed_twice_is_found() -> None:
    once = [fill("tsb-A1-e0", "0.1"), fill("tsb-A1-e0", "0.1", 2), fill("tsb-A1-s0", "0.2", 3)]
    assert verdicts.executed_beyond_intent([POSITION], once) == []
    assert verdicts.executed_beyond_intent([POSITION], [*once, fill("tsb-A1-e1", "0.2", 4)]) == ["A1: 0.4 for 0.2"]


def test_an_execution_without_a_row_is_found() -> None:
    assert verdicts.executed_beyond_intent([], [fill("tsb-A1-e0", "0.1")]) == ["A1: 0.1 for no intent"]


def test_a_trade_that_only_one_side_has_is_found() -> None:
    booked = [{"symbol": "BTCUSDT", "trade_id": 1, "quantity": Decimal("0.1")}]
    assert verdicts.unbooked(booked, [fill("tsb-A1-e0", "0.10")]) == []
    assert len(verdicts.unbooked(booked, [])) == 1
    assert len(verdicts.unbooked(booked, [fill("tsb-A1-e0", "0.2")])) == 1
    assert len(verdicts.unbooked([], [fill("tsb-A1-e0", "0.1")])) == 1


def test_a_position_that_differs_is_found() -> None:
    held = [POSITION | {"filled": Decimal("0.2"), "closed": Decimal("0.05")}]
    assert verdicts.other_positions(held, {"BTCUSDT": "0.15"}) == []
    assert verdicts.other_positions(held, {"BTCUSDT": "0.2"}) == ["BTCUSDT: journal 0.15, exchange 0.2"]
    assert verdicts.other_positions(held, {}) == ["BTCUSDT: journal 0.15, exchange 0"]
    assert verdicts.other_positions([], {"ETHUSDT": "-1"}) == ["ETHUSDT: journal 0, exchange -1"]


def test_a_position_is_naked_where_its_stops_are_too_small_or_on_its_own_side() -> None:
    def ledger(quantity: str, *, buy: bool, leg: str = "s0") -> dict[str, Any]:
        stop = {"client_id": f"tsb-A1-{leg}", "symbol": "BTCUSDT", "buy": buy, "quantity": quantity}
        return {"positions": {"BTCUSDT": "0.2"}, "open_algos": [stop]}

    assert kill_days.naked(ledger("0.2", buy=False)) == []
    assert kill_days.naked(ledger("0.1", buy=False)) == ["BTCUSDT"]
    assert kill_days.naked(ledger("0.2", buy=True)) == ["BTCUSDT"]
    assert kill_days.naked(ledger("0.2", buy=False, leg="t0")) == ["BTCUSDT"]
