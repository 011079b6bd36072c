"""A pause after a loss or an entry holds in the running actor and over a restart."""

from decimal import Decimal

import pytest

from bot.hookspecs import Recent
from bot.messages import EntryIntent, ExitPlan, Position, PositionChanged, PositionStatus, Side
from bot.variants.recents import Recents
from tests.strategy.scenes import HOUR
from tests.variants.test_runner import MINUTE, NOON, cycle, running

RESTED = {"minutes": [3, 33], "filters": ["cooldown"]}  # an hour after a loss
PLACE = ("BTC", "BTCUSDT")


def position(status: PositionStatus, opened: int | None = None, closed: int | None = None, pnl: int = 0) -> Position:
    return Position(
        position_id="p1",
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=Side.LONG,
        status=status,
        intended=Decimal(1),
        filled=Decimal(0) if opened is None else Decimal(1),
        created_at=NOON,
        expires_at=NOON + HOUR,
        opened_at=opened,
        closed_at=closed,
        gross_pnl=Decimal(pnl),
        fees=Decimal(1),
        exits=ExitPlan(stop_pct=2.0),
    )


@pytest.mark.anyio
async def test_a_loss_pauses_the_variant_on_its_symbol_from_the_message_on() -> None:
    async with running(RESTED) as desk:
        await desk.history("BTCUSDT")
        lost = position(PositionStatus.CLOSED, NOON - HOUR, NOON + MINUTE, pnl=-5)
        await desk.tell(PositionChanged(lost))
        assert await cycle(desk, NOON + 3 * MINUTE) == "filter:cooldown"
        [verdict] = [one for one in desk.signals[-1].filter_verdicts if one.filter == "cooldown"]
        assert (verdict.reason, verdict.values["last_loss_at"]) == ("after_loss", NOON + MINUTE)
        assert await cycle(desk, NOON + 63 * MINUTE) == "allowed"


@pytest.mark.anyio
async def test_a_loss_before_the_start_pauses_too() -> None:
    recent = {PLACE: Recent(last_entry_at=NOON - HOUR, last_loss_at=NOON - MINUTE)}
    async with running(RESTED, recent=recent) as desk:
        await desk.history("BTCUSDT")
        assert await cycle(desk, NOON + 3 * MINUTE) == "filter:cooldown"
        assert await cycle(desk, NOON + 63 * MINUTE) == "allowed"


def test_an_entry_counts_from_its_first_fill_and_while_it_rests_from_its_sending() -> None:
    recents = Recents({})
    assert recents.of(*PLACE) == Recent()
    recents.sent(intent())
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON)
    recents.changed(position(PositionStatus.PENDING))
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON)
    assert recents.of("BTC", "ETHUSDT") == recents.of("ETH", "BTCUSDT") == Recent()
    recents.changed(position(PositionStatus.OPEN, NOON + MINUTE))
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON + MINUTE)


@pytest.mark.parametrize("denied", [True, False])
def test_an_entry_that_came_to_nothing_was_none(denied: bool) -> None:
    recents = Recents({PLACE: Recent(last_entry_at=NOON - HOUR)})
    recents.sent(intent())
    if denied:
        recents.denied("p1")
    else:
        recents.changed(position(PositionStatus.CLOSED, closed=NOON + MINUTE))
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON - HOUR)


@pytest.mark.parametrize(("pnl", "lost_at"), [(-5, NOON + HOUR), (0, NOON + HOUR), (1, None), (5, None)])
def test_a_loss_is_one_after_costs(pnl: int, lost_at: int | None) -> None:
    recents = Recents({})
    recents.changed(position(PositionStatus.CLOSED, NOON, NOON + HOUR, pnl))
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON, last_loss_at=lost_at)
    recents.changed(position(PositionStatus.OPEN, NOON + MINUTE))
    assert recents.of(*PLACE) == Recent(last_entry_at=NOON + MINUTE, last_loss_at=lost_at)


def intent() -> EntryIntent:
    return EntryIntent(
        signal_id="p1",
        variant="BTC",
        tier="t1",
        symbol="BTCUSDT",
        side=Side.LONG,
        quantity=Decimal(1),
        limit_price=None,
        post_only=False,
        created_at=NOON,
        expires_at=NOON + HOUR,
        leverage=10,
        exits=ExitPlan(stop_pct=2.0),
    )
