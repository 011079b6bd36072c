"""The daily event: honest rows agree with themselves on the recorded bars, and what was changed is named."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bot.clock import DAY_MS, ReplayClock
from bot.errors import VenueUnavailable
from bot.messages import Bars, BotEvent, Position, PositionStatus, Severity, Signal
from bot.research.backtest.daily import DailyParity, Facing
from bot.research.backtest.trade import simulators_terms
from bot.strategy.variant import Variant
from bot.strategy.window import upto
from tests.strategy.days import rows, walk
from tests.strategy.scenes import CONTEXT, MONDAY, make_variant

pytestmark = pytest.mark.anyio
UNTIL = MONDAY + DAY_MS


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Journal:
    def __init__(self, signals: list[Signal], positions: Sequence[Position] = ()) -> None:
        self.rows, self.positions = signals, positions

    async def signals(self, since: int, until: int) -> AsyncIterator[list[Signal]]:
        yield [row for row in self.rows if since <= row.cycle_at < until]

    async def alive(self, since: int, until: int) -> Sequence[Position]:
        return self.positions


class Kept:
    """Hourly bars; no finer ones."""

    def __init__(self, bars: Bars, *, down: bool = False) -> None:
        self._bars, self._down = bars, down

    async def hours(self, symbol: str, start: int, end: int) -> Bars:
        if self._down:
            raise VenueUnavailable("no answer")
        return upto(self._bars, end)

    finest = hours


def variant() -> Variant:
    return make_variant(variant={"filters": ["rsi"], "entry": "atr05"}, sizing={"max_positions_per_symbol": 100})


async def told(signals: list[Signal], positions: Sequence[Position] = (), **changes: Any) -> BotEvent:
    facing = Facing(variants=(variant(),), context=CONTEXT, horizon=4, terms=simulators_terms(), exact=True)
    kept = Kept(walk(1), down=changes.pop("down", False))
    parity = DailyParity(
        msgspec.structs.replace(facing, **changes), Journal(signals, positions), kept, ReplayClock(UNTIL)
    )
    return await parity(MONDAY, UNTIL)


async def test_honest_rows_agree() -> None:
    day = list(rows(1, variant()))
    event = await told(day)
    assert (event.name, event.severity, event.detail["differences"]) == ("parity_ok", Severity.INFO, 0)
    assert event.detail["rows"] == 48
    entered = sum(row.decision == "enter" for row in day)
    assert event.detail["excluded"] == {"no_position": entered}
    assert entered > 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"quantity": Decimal("0.5")}, "quantity"),
        ({"entry_price": Decimal("1.0")}, "entry_price"),
        ({"decision": "refuse", "decision_reason": "filter:rsi"}, "decision"),
        ({"predicted_return": 0.0}, "decision"),
    ],
)
async def test_a_row_that_the_code_would_not_have_written_is_named(change: dict[str, Any], what: str) -> None:
    day = list(rows(1, variant()))
    place = next(place for place, row in enumerate(day) if row.decision == "enter")
    day[place] = msgspec.structs.replace(day[place], **change)
    event = await told(day)
    assert (event.name, event.severity) == ("parity_differs", Severity.WARNING)
    (first,) = event.detail["first"]
    assert (first["signal_id"], first["what"]) == (day[place].signal_id, what)


async def test_a_book_with_another_threshold_decides_otherwise() -> None:
    other = make_variant(variant={"filters": ["rsi"], "entry": "atr05", "threshold_pct": 0.6})
    event = await told(list(rows(1, variant())), variants=(other,))
    assert event.name == "parity_differs"


async def test_what_is_held_by_the_journal_counts_against_the_caps() -> None:
    day = list(rows(1, variant()))
    first = next(row for row in day if row.decision == "enter")
    held = Position(
        position_id="held", variant="BTC", tier="t1", symbol="BTCUSDT", side=first.side, status=PositionStatus.OPEN,
        intended=Decimal(1), filled=Decimal(1), created_at=MONDAY - DAY_MS, expires_at=MONDAY, exits=variant().exits,
    )  # fmt: skip
    narrow = make_variant(variant={"filters": ["rsi"], "entry": "atr05"}, sizing={"max_positions_per_symbol": 1})
    event = await told(day, [held], variants=(narrow,))
    differing = {one["backtest"] for one in event.detail["first"]}
    assert "refuse cap_symbol" in differing


async def test_a_venue_that_gives_no_bars_is_said_and_is_no_difference() -> None:
    event = await told(list(rows(1, variant())), down=True)
    assert (event.name, event.detail["without_bars"], event.detail["rows"]) == ("parity_ok", ["BTCUSDT"], 0)


async def test_an_unknown_variant_is_a_difference() -> None:
    event = await told(list(rows(1, variant())), variants=())
    assert event.detail["first"][0]["backtest"] == "no such variant"
