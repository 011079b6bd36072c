"""The auditor in virtual time: when it follows refused signals and audits the day, and what a restart leaves to it."""

from decimal import Decimal

import msgspec
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from bot.config import CostsTable
from bot.messages import BotEvent, Severity, Signal
from bot.strategy.counterfactual import costs_of, pursuit_of
from bot.strategy.follow import FollowStatus, Path, follow
from tests.audit.world import Memory, Recorded, World
from tests.strategy.days import rows, walk
from tests.strategy.scenes import MONDAY, make_variant
from tests.strategy.test_audit import held_to_the_end, rising_then_falling

pytestmark = pytest.mark.anyio

ROUND = 5 * MINUTE_MS + 30 * SECOND_MS


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def refused() -> list[Signal]:
    """Two days of a variant that a filter keeps from every trade."""
    variant = make_variant(
        variant={"entry": "atr05", "filters": ["session"]}, filter={"session": {"skip_weekdays": [0, 1, 2, 3, 4, 5, 6]}}
    )
    return list(rows(2, variant))


async def test_refused_signals_are_followed_once_their_time_is_over(refused: list[Signal]) -> None:
    world = World(Memory(refused))
    async with world.auditing():
        await world.go_to(MONDAY + 12 * HOUR_MS + ROUND)
        early = {one.signal_id for one in world.outcomes()}
        at = {signal.signal_id: signal.cycle_at for signal in refused}
        assert early
        assert max(at[one] for one in early) <= MONDAY + 6 * HOUR_MS + ROUND, "1 h to fill, 4 to hold, 1 for a bar"
        await world.go_to(MONDAY + 2 * DAY_MS + 12 * HOUR_MS)
    candidates = [signal for signal in refused if signal.quantity is not None]
    assert len(world.outcomes()) == len(candidates) > 20
    statuses = {one.fill_status for one in world.outcomes()}
    assert statuses == {"cf_filled", "cf_expired"}
    assert all((one.net_pnl is None) == (one.fill_status != "cf_filled") for one in world.outcomes())


async def test_an_outcome_is_what_the_recorded_bars_give(refused: list[Signal]) -> None:
    world = World(Memory(refused))
    async with world.auditing():
        await world.go_to(MONDAY + DAY_MS)
    by_id = {signal.signal_id: signal for signal in refused}
    filled = next(one for one in world.outcomes() if one.fill_status == "cf_filled")
    pursuit = pursuit_of(by_id[filled.signal_id])
    assert pursuit is not None
    found = follow(pursuit.trial, walk(5), costs_of(CostsTable()), Path.PESSIMISTIC, pursuit.funding)
    assert found.status is FollowStatus.CLOSED
    assert filled.net_pnl == Decimal(f"{found.net:.8f}")
    assert filled.exit_reason == found.exit_reason
    assert found.fees > 0


async def test_a_restart_follows_what_the_first_process_left_and_nothing_twice(refused: list[Signal]) -> None:
    memory = Memory(refused)
    first = World(memory)
    async with first.auditing():
        await first.go_to(MONDAY + 12 * HOUR_MS + ROUND)
    second = World(memory, began=MONDAY + 20 * HOUR_MS)
    async with second.auditing():
        await second.go_to(MONDAY + 3 * DAY_MS)
    ids = [one.signal_id for one in (*first.outcomes(), *second.outcomes())]
    assert len(ids) == len(set(ids)) == sum(signal.quantity is not None for signal in refused)
    assert first.outcomes()
    assert second.outcomes()


async def test_a_signal_whose_bars_are_missing_waits(refused: list[Signal]) -> None:
    recorded = walk(5)
    short = {name: getattr(recorded, name)[:82] for name in ("open_time", "open", "high", "low", "close", "volume")}
    world = World(Memory(refused), Recorded(msgspec.structs.replace(recorded, **short)))
    async with world.auditing():
        await world.go_to(MONDAY + DAY_MS)
    followed = {one.signal_id for one in world.outcomes()}
    assert followed
    last = max(signal.cycle_at for signal in refused if signal.signal_id in followed)
    assert last < MONDAY + 18 * HOUR_MS


async def test_a_venue_that_does_not_answer_is_told_of_and_asked_again(refused: list[Signal]) -> None:
    world = World(Memory(refused))
    world.source.down = True
    async with world.auditing():
        await world.go_to(MONDAY + 12 * HOUR_MS + ROUND)
        assert world.outcomes() == []
        assert [event.severity for event in world.events("paths_not_fetched")] == [Severity.WARNING]
        world.source.down = False
        await world.go_to(MONDAY + 18 * HOUR_MS + ROUND)
        assert world.outcomes()


async def test_the_finest_bars_are_taken_and_a_refused_interval_is_not_asked_for_again(refused: list[Signal]) -> None:
    world = World(Memory(refused))
    async with world.auditing():
        await world.go_to(MONDAY + 18 * HOUR_MS + ROUND)
    assert world.source.asked == [5 * MINUTE_MS, HOUR_MS, HOUR_MS]


async def test_each_day_is_audited_after_midnight_and_told_of_in_events(refused: list[Signal]) -> None:
    world = World(Memory([msgspec.structs.replace(signal, cat_trend=None) for signal in refused]))
    async with world.auditing():
        await world.go_to(MONDAY + DAY_MS)
        assert world.events() == []
        await world.go_to(MONDAY + DAY_MS + ROUND)
        assert world.rules() >= {"column_null", "no_pass", "return_missing", "indicators_differ"}
        [done] = world.events("audit_done")
        assert (done.detail["since_at"], done.detail["until_at"]) == (MONDAY, MONDAY + DAY_MS)
        assert done.detail["error"] == sum(event.severity is Severity.ERROR for event in world.events())
        assert done.at == MONDAY + DAY_MS + ROUND
        await world.go_to(MONDAY + 2 * DAY_MS + ROUND)
        assert len(world.events("audit_done")) == 2


async def test_an_exit_rule_that_should_have_fired_is_found_on_the_recorded_bars() -> None:
    position = held_to_the_end()
    world = World(Memory(positions=[position]), Recorded(rising_then_falling()))
    async with world.auditing():
        await world.go_to(MONDAY + DAY_MS + ROUND)
    [found] = [event for event in world.events() if event.detail["rule"] == "exit_rule_missed"]
    assert found.detail["subject"] == "BTC trailing_stop"
    assert found.severity is Severity.ERROR


async def test_the_days_before_a_restart_count_and_are_read_once(refused: list[Signal]) -> None:
    memory = Memory(refused)
    world = World(memory, began=MONDAY + DAY_MS + HOUR_MS)
    memory.left = None
    async with world.auditing():
        await world.go_to(MONDAY + 2 * DAY_MS + ROUND)
        first = list(memory.counted)
        await world.go_to(MONDAY + 3 * DAY_MS + ROUND)
    assert first == [(MONDAY - 5 * DAY_MS, MONDAY + DAY_MS), (MONDAY + DAY_MS, MONDAY + 2 * DAY_MS)]
    assert memory.counted[2:] == [(MONDAY + 2 * DAY_MS, MONDAY + 3 * DAY_MS)]


async def test_a_day_that_ended_while_nobody_ran_is_audited_after_the_start(refused: list[Signal]) -> None:
    memory = Memory(refused)
    first = World(memory)
    async with first.auditing():
        await first.go_to(MONDAY + 20 * HOUR_MS)
    second = World(memory, began=MONDAY + DAY_MS + 3 * HOUR_MS)
    async with second.auditing():
        await second.go_to(MONDAY + DAY_MS + 6 * HOUR_MS + ROUND)
    assert [event.detail["until_at"] for event in second.events("audit_done")] == [MONDAY + DAY_MS]


async def test_the_end_of_a_replay_audits_what_is_left(refused: list[Signal]) -> None:
    world = World(Memory(refused))
    async with world.auditing():
        await world.go_to(MONDAY + DAY_MS + 10 * HOUR_MS)
        await world.end()
        await world.end()
    spans = [(event.detail["since_at"], event.detail["until_at"]) for event in world.events("audit_done")]
    assert spans == [(MONDAY, MONDAY + DAY_MS), (MONDAY + DAY_MS, MONDAY + DAY_MS + 10 * HOUR_MS)]


async def test_after_each_audit_the_day_is_held_against_the_backtest(refused: list[Signal]) -> None:
    asked: list[tuple[int, int]] = []

    async def parity(since: int, until: int) -> BotEvent:
        asked.append((since, until))
        return BotEvent(at=until, name="parity_ok", detail={})

    world = World(Memory(refused))
    async with world.auditing(parity=parity):
        await world.go_to(MONDAY + DAY_MS + ROUND)
        await world.end()
    assert asked[0] == (MONDAY, MONDAY + DAY_MS)
    told = [
        event.name for event in world.news if isinstance(event, BotEvent) and event.name in ("audit_done", "parity_ok")
    ]
    assert told[:2] == ["audit_done", "parity_ok"]
