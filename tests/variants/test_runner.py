"""The variants' actor: one signal for every variant, symbol and cycle, whatever arrives or does not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from bot.clock import ReplayClock
from bot.hookspecs import Recent
from bot.messages import (
    Bar,
    BarClosed,
    BotEvent,
    CheckpointServed,
    EntryIntent,
    Forecast,
    ForecastRefused,
    ForecastRequest,
    ForecastsDue,
    ForecastsReady,
    MarkChanged,
    Position,
    PositionChanged,
    PositionStatus,
    ReturnKnown,
    Signal,
    SignalOutcome,
    TradingState,
    TradingStateChanged,
)
from bot.streams import Activity, Overflow, Stream
from bot.variants.runner import CycleFrame, VariantsActor, VariantsMessage
from bot.venue import InstrumentsChanged
from tests.strategy.scenes import BTC, HOUR, MONDAY, make_variant

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


MINUTE = 60_000
FRAME = CycleFrame(context=32, horizon=4, interval_ms=HOUR, deadline_ms=2 * MINUTE)
NOON = MONDAY + 12 * HOUR


def bar(close_at: int, symbol: str = "BTCUSDT", close: float | None = None) -> Bar:
    price = 50_000.0 + (close_at // HOUR) % 2 * 5 if close is None else close
    return Bar(symbol, HOUR, close_at - HOUR, price, price + 10, price - 10, price, 1.0)


class Desk:
    """What the actor talks to, with everything that it said."""

    def __init__(self, actor_of: Callable[["Desk"], VariantsActor]) -> None:
        self.activity = Activity()
        self.clock = ReplayClock(NOON)
        self.inbox: Stream[VariantsMessage] = Stream("variants", 10_000, Overflow.HALT, self.activity)
        self.due: list[ForecastsDue] = []
        self.told: list[Any] = []
        self.intents: list[EntryIntent] = []
        self.actor = actor_of(self)

    @property
    def requests(self) -> list[ForecastRequest]:
        return [request for due in self.due for request in due.requests]

    @property
    def signals(self) -> list[Signal]:
        return [one for one in self.told if isinstance(one, Signal)]

    @property
    def returns(self) -> list[ReturnKnown]:
        return [one for one in self.told if isinstance(one, ReturnKnown)]

    @property
    def events(self) -> list[str]:
        return [one.name for one in self.told if isinstance(one, BotEvent)]

    def decisions(self) -> list[tuple[str, str]]:
        return [(signal.symbol, signal.decision_reason) for signal in self.signals]

    async def tell(self, *messages: VariantsMessage) -> None:
        for message in messages:
            await self.inbox.send(message)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(30):  # more turns than any message needs; no real time passes
            await checkpoint()

    async def at(self, now: int) -> None:
        self.clock.advance(now)
        await self.settle()

    async def history(self, *symbols: str, until: int = NOON, bars: int = 40) -> None:
        for symbol in symbols:
            await self.tell(*(BarClosed(bar(until - HOUR * age, symbol), True) for age in range(bars - 1, -1, -1)))
            await self.tell(MarkChanged(symbol, Decimal(50_000), Decimal(0), 0, until))

    async def answer(self, request: ForecastRequest, predicted: float = 0.004) -> None:
        forecasts = tuple(
            Forecast(window.symbol, "nano", window.bar_close_at, 4, predicted, predicted - 0.01, predicted + 0.01)
            for window in request.windows
        )
        await self.tell(ForecastsReady(request.request_id, request.variant, forecasts))


@asynccontextmanager
async def running(
    *variants: dict[str, Any],
    state: TradingState = TradingState.ACTIVE,
    recent: dict[tuple[str, str], Recent] | None = None,
) -> AsyncIterator[Desk]:
    def actor_of(desk: Desk) -> VariantsActor:
        async def request(one: ForecastsDue) -> None:
            desk.due.append(one)

        async def journal(one: Any) -> None:
            desk.told.append(one)

        async def enter(one: EntryIntent) -> None:
            desk.intents.append(one)

        resolved = [make_variant(variant=table, sizing={"max_positions_per_symbol": 1}) for table in variants]
        instruments = {symbol: msgspec.structs.replace(BTC, symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
        return VariantsActor(
            resolved,
            instruments,
            FRAME,
            desk.inbox,
            desk.clock,
            state,
            recent=recent or {},
            request=request,
            journal=journal,
            enter=enter,
        )

    desk = Desk(actor_of)
    async with anyio.create_task_group() as group:
        await group.start(desk.actor.run)
        yield desk
        group.cancel_scope.cancel()


BOTH = {"symbols": ["BTCUSDT", "ETHUSDT"], "minutes": [3, 33]}


async def test_a_cycle_asks_for_forecasts_and_decides_each_symbol_in_order() -> None:
    async with running(BOTH) as desk:
        await desk.history("BTCUSDT", "ETHUSDT")
        await desk.at(NOON + 3 * MINUTE - 1)
        assert not desk.requests
        await desk.at(NOON + 3 * MINUTE)
        [request] = desk.requests
        assert [window.symbol for window in request.windows] == ["BTCUSDT", "ETHUSDT"]
        assert {len(window.closes) for window in request.windows} == {32}
        assert {window.bar_close_at for window in request.windows} == {NOON}
        assert request.deadline == NOON + 5 * MINUTE
        await desk.answer(request)
        assert desk.decisions() == [("BTCUSDT", "allowed"), ("ETHUSDT", "allowed")]
        assert [intent.signal_id for intent in desk.intents] == [signal.signal_id for signal in desk.signals]
        assert {signal.cycle_at for signal in desk.signals} == {NOON + 3 * MINUTE}


async def test_each_variant_comes_at_its_own_minutes_again_and_again() -> None:
    async with running(
        {"name": "A", "minutes": [2, 32]}, {"name": "B", "minutes": [3, 33]}, {"name": "C", "enabled": False}
    ) as desk:
        await desk.history("BTCUSDT")
        for minute in range(0, 60):
            await desk.at(NOON + minute * MINUTE)
        asked = [(request.variant, (request.deadline - NOON) // MINUTE - 2) for request in desk.requests]
        assert asked == [("A", 2), ("B", 3), ("A", 32), ("B", 33)]


async def test_all_that_is_due_at_one_moment_is_asked_for_at_once() -> None:
    async with running({"name": "A", "minutes": [3]}, {"name": "B", **BOTH}, {"name": "C", "minutes": [4]}) as desk:
        await desk.history("BTCUSDT", "ETHUSDT")
        await desk.at(NOON + 4 * MINUTE)
        [first] = desk.due
        asked = [(one.variant, one.tier, [window.symbol for window in one.windows]) for one in first.requests]
        assert asked == [
            ("A", "t1", ["BTCUSDT"]),
            ("B", "t1", ["BTCUSDT", "ETHUSDT"]),
            ("C", "t1", ["BTCUSDT"]),
        ]
        assert len({one.request_id for one in first.requests}) == 3
        assert {one.asked_at for one in first.requests} == {NOON + 4 * MINUTE}


async def test_answers_of_one_moment_may_come_one_by_one() -> None:
    async with running({"name": "A", "minutes": [3]}, {"name": "B", "symbols": ["ETHUSDT"], "minutes": [3]}) as desk:
        await desk.history("BTCUSDT", "ETHUSDT")
        await desk.at(NOON + 3 * MINUTE)
        first, second = desk.requests
        await desk.answer(second)
        assert desk.decisions() == [("ETHUSDT", "allowed")]
        await desk.answer(first)
        assert desk.decisions()[1:] == [("BTCUSDT", "allowed")]


async def test_two_variants_of_one_moment_share_the_caps() -> None:
    async with running({"name": "A", "minutes": [3]}, {"name": "B", "minutes": [3]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 3 * MINUTE)
        first, second = desk.requests
        await desk.answer(first, 0.004)
        await desk.answer(second, -0.004)
        assert desk.decisions() == [("BTCUSDT", "allowed"), ("BTCUSDT", "opposite_position")]


async def cycle(desk: Desk, at: int, *, marked: bool = True) -> str:
    """The reason of the one decision of a cycle, answered as soon as it asks; `marked`: its hour has a mark."""
    asked = len(desk.requests)
    if at > NOON + HOUR:
        await desk.tell(BarClosed(bar(at - at % HOUR)))
    if marked:
        await desk.tell(MarkChanged("BTCUSDT", Decimal(50_000), Decimal(0), 0, at - at % HOUR))
    await desk.at(at)
    if len(desk.requests) > asked:
        await desk.answer(desk.requests[-1])
    return desk.signals[-1].decision_reason


def position(intent: EntryIntent, status: PositionStatus) -> PositionChanged:
    return PositionChanged(
        Position(
            position_id=intent.signal_id,
            variant=intent.variant,
            tier=intent.tier,
            symbol=intent.symbol,
            side=intent.side,
            status=status,
            intended=intent.quantity,
            created_at=intent.created_at,
            expires_at=intent.expires_at,
            exits=intent.exits,
        )
    )


async def test_an_intent_counts_until_the_desk_says_what_became_of_it() -> None:
    async with running({"minutes": [3, 33]}) as desk:
        await desk.history("BTCUSDT")
        assert await cycle(desk, NOON + 3 * MINUTE) == "allowed"
        assert await cycle(desk, NOON + 33 * MINUTE) == "cap_symbol"
        await desk.tell(position(desk.intents[-1], PositionStatus.OPEN))
        assert await cycle(desk, NOON + 63 * MINUTE) == "cap_symbol"
        await desk.tell(position(desk.intents[-1], PositionStatus.CLOSED))
        assert await cycle(desk, NOON + 93 * MINUTE) == "allowed"
        await desk.tell(SignalOutcome(signal_id=desk.intents[-1].signal_id, fill_status="denied"))
        assert await cycle(desk, NOON + 123 * MINUTE) == "allowed"
        assert await cycle(desk, NOON + 153 * MINUTE) == "cap_symbol"
        assert await cycle(desk, NOON + 183 * MINUTE) == "allowed", "a lost intent counts for its time to live only"


async def test_a_bar_that_has_not_arrived_refuses_without_asking_the_model() -> None:
    async with running(BOTH) as desk:
        await desk.history("BTCUSDT")
        await desk.history("ETHUSDT", until=NOON - HOUR)
        await desk.at(NOON + 3 * MINUTE)
        assert [window.symbol for window in desk.requests[0].windows] == ["BTCUSDT"]
        await desk.answer(desk.requests[0])
        assert desk.decisions() == [("BTCUSDT", "allowed"), ("ETHUSDT", "bar_missing")]


async def test_with_no_bars_at_all_every_symbol_still_gets_its_row() -> None:
    async with running(BOTH) as desk:
        await desk.at(NOON + 3 * MINUTE)
        assert not desk.requests
        assert desk.decisions() == [("BTCUSDT", "bar_missing"), ("ETHUSDT", "bar_missing")]


async def test_a_gap_refuses_until_it_is_filled() -> None:
    async with running({"minutes": [3, 33]}) as desk:
        await desk.history("BTCUSDT", until=NOON - 2 * HOUR)
        await desk.tell(BarClosed(bar(NOON)))
        assert desk.events == ["bar_gap"]
        assert await cycle(desk, NOON + 3 * MINUTE) == "window_gap"
        await desk.tell(BarClosed(bar(NOON - HOUR), True), MarkChanged("BTCUSDT", Decimal(50_000), Decimal(0), 0, NOON))
        assert await cycle(desk, NOON + 33 * MINUTE) == "allowed"


async def test_a_mark_from_before_the_market_stream_fell_silent_is_none() -> None:
    async with running({"minutes": [3, 33]}) as desk:
        await desk.history("BTCUSDT")
        assert await cycle(desk, NOON + 3 * MINUTE) == "allowed"
        assert await cycle(desk, NOON + 63 * MINUTE, marked=False) == "mark_missing"


async def test_refused_and_missing_forecasts_each_become_a_row() -> None:
    async with running(BOTH) as desk:
        await desk.history("BTCUSDT", "ETHUSDT")
        await desk.at(NOON + 3 * MINUTE)
        refused = (ForecastRefused("ETHUSDT", "unknown_checkpoint"),)
        await desk.tell(ForecastsReady(desk.requests[0].request_id, "BTC", (), refused))
        assert desk.decisions() == [("BTCUSDT", "forecast_missing"), ("ETHUSDT", "unknown_checkpoint")]
        assert all(signal.rsi is not None for signal in desk.signals)


async def test_an_answer_that_does_not_come_in_time_is_a_row_and_later_dropped() -> None:
    async with running({"minutes": [3]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 3 * MINUTE)
        await desk.at(NOON + 5 * MINUTE)
        assert not desk.signals
        await desk.at(NOON + 5 * MINUTE + 1)
        assert desk.decisions() == [("BTCUSDT", "forecast_missing")]
        await desk.answer(desk.requests[0])
        assert len(desk.signals) == 1
        assert not desk.intents
        assert desk.events == ["forecast_overdue"]


async def test_a_late_answer_that_overtakes_its_alarm_decides_nothing_either() -> None:
    async with running({"minutes": [3]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 3 * MINUTE)
        desk.clock.advance(NOON + 5 * MINUTE + 1)
        await desk.answer(desk.requests[0])
        assert desk.decisions() == [("BTCUSDT", "forecast_missing")]
        assert desk.events == ["forecast_overdue"]


async def test_a_forecast_that_was_not_asked_for_is_told_and_left_out() -> None:
    async with running(BOTH) as desk:
        await desk.history("BTCUSDT")
        await desk.history("ETHUSDT", until=NOON - HOUR)
        await desk.at(NOON + 3 * MINUTE)
        [request] = desk.requests
        [asked] = request.windows
        foreign = (asked, msgspec.structs.replace(asked, symbol="ETHUSDT"), msgspec.structs.replace(asked, symbol="X"))
        await desk.answer(msgspec.structs.replace(request, windows=foreign))
        assert desk.decisions() == [("BTCUSDT", "allowed"), ("ETHUSDT", "bar_missing")]
        [told] = [one for one in desk.told if isinstance(one, BotEvent)]
        assert (told.name, told.detail["symbols"]) == ("forecast_foreign", ["ETHUSDT", "X"])


async def test_a_symbol_delisted_or_suspended_between_two_cycles_is_refused_and_the_rest_is_forecast() -> None:
    async with running(BOTH) as desk:
        await desk.history("BTCUSDT", "ETHUSDT")
        eth = msgspec.structs.replace(BTC, symbol="ETHUSDT")
        await desk.tell(InstrumentsChanged({"ETHUSDT": eth}))
        await desk.at(NOON + 3 * MINUTE)
        assert [window.symbol for window in desk.requests[-1].windows] == ["ETHUSDT"]
        await desk.answer(desk.requests[-1])
        assert desk.decisions() == [("BTCUSDT", "instrument_missing"), ("ETHUSDT", "allowed")]
        await desk.tell(InstrumentsChanged({"BTCUSDT": BTC, "ETHUSDT": msgspec.structs.replace(eth, trading=False)}))
        await desk.at(NOON + 33 * MINUTE)
        await desk.answer(desk.requests[-1])
        assert desk.decisions()[2:] == [("BTCUSDT", "allowed"), ("ETHUSDT", "instrument_not_trading")]


async def test_every_row_carries_the_checkpoint_that_serves_its_tier() -> None:
    async with running(BOTH) as desk:
        await desk.tell(CheckpointServed("t1", "t1/a@12345678"), CheckpointServed("other", "base"))
        await desk.at(NOON + 3 * MINUTE)
        assert [(one.decision_reason, one.checkpoint) for one in desk.signals] == [
            ("bar_missing", "t1/a@12345678"),
            ("bar_missing", "t1/a@12345678"),
        ]
        await desk.history("BTCUSDT", "ETHUSDT")
        await desk.at(NOON + 33 * MINUTE)
        await desk.tell(CheckpointServed("t1", "t1/b@12345678"))
        refused = (ForecastRefused("ETHUSDT", "absurd_forecast"),)
        await desk.tell(ForecastsReady(desk.requests[0].request_id, "BTC", (), refused))
        assert {one.checkpoint for one in desk.signals[2:]} == {"t1/b@12345678"}


async def test_a_forecast_of_an_older_bar_is_refused() -> None:
    async with running({"minutes": [3]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 3 * MINUTE)
        [request] = desk.requests
        older = tuple(msgspec.structs.replace(window, bar_close_at=NOON - HOUR) for window in request.windows)
        await desk.answer(msgspec.structs.replace(request, windows=older))
        assert desk.decisions() == [("BTCUSDT", "forecast_stale")]


async def test_a_bar_that_closes_between_request_and_answer_changes_nothing() -> None:
    async with running({"minutes": [59]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 59 * MINUTE)
        await desk.at(NOON + HOUR)
        await desk.tell(BarClosed(bar(NOON + HOUR, close=90_000.0)))
        await desk.answer(desk.requests[0])
        [signal] = desk.signals
        assert (signal.decision_reason, signal.bar_close_at) == ("allowed", NOON)
        assert signal.atr == pytest.approx(20.0, abs=1.0)


async def test_outside_the_active_state_signals_are_recorded_and_refused() -> None:
    async with running({"minutes": [3, 33]}, state=TradingState.REDUCING) as desk:
        await desk.history("BTCUSDT")
        assert await cycle(desk, NOON + 3 * MINUTE) == "state_reducing"
        await desk.tell(TradingStateChanged(TradingState.HALTED, "test", NOON))
        assert await cycle(desk, NOON + 33 * MINUTE) == "state_halted"
        await desk.tell(TradingStateChanged(TradingState.ACTIVE, "test", NOON))
        assert await cycle(desk, NOON + 63 * MINUTE) == "allowed"
        assert len(desk.intents) == 1


async def test_cycles_that_were_slept_through_are_rows_and_no_entries() -> None:
    async with running({"minutes": [3, 33]}) as desk:
        await desk.history("BTCUSDT")
        await desk.at(NOON + 95 * MINUTE)
        assert [(signal.cycle_at - NOON) // MINUTE for signal in desk.signals] == [3, 33, 63, 93]
        assert {signal.decision_reason for signal in desk.signals} == {"cycle_late"}
        assert not desk.requests


async def test_returns_become_known_when_their_horizon_has_passed_from_history_too() -> None:
    async with running({"minutes": [3]}) as desk:
        await desk.tell(*(BarClosed(bar(NOON + HOUR * index, close=100.0 + index), True) for index in range(6)))
        assert [(one.bar_close_at, one.actual_return) for one in desk.returns] == [
            (NOON, pytest.approx(0.04)),
            (NOON + HOUR, pytest.approx(105 / 101 - 1)),
        ]
        await desk.tell(BarClosed(bar(NOON + 5 * HOUR, close=999.0)), BarClosed(bar(NOON + HOUR, "XRPUSDT")))
        assert len(desk.returns) == 2
        await desk.tell(BarClosed(bar(NOON + 7 * HOUR, close=107.0)))
        assert desk.returns[-1].bar_close_at == NOON + 3 * HOUR
        await desk.tell(BarClosed(bar(NOON + 6 * HOUR, close=106.0), True))
        assert desk.returns[-1].bar_close_at == NOON + 2 * HOUR
