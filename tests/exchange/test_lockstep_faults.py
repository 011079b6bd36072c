"""Lockstep under faults: sockets end in every way and calls are refused, and the market is played to its end."""

from decimal import Decimal
from typing import Any

import anyio
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from bot.config import decode
from bot.exchange.budget import HEAD_START_MS
from bot.exchange.faults import Scenario
from bot.exchange.simulator.server import Simulator, SimulatorOptions, market_of
from bot.venue import OrderKind, OrderRequest, UserStreamLost, UserStreamUp
from tests.exchange.test_lockstep_replay import START, SYMBOLS, Replay

pytestmark = pytest.mark.anyio


def replay_with(*faults: dict[str, Any]) -> Replay:
    scenario = decode({"name": "test", "description": "", "fault": list(faults)}, Scenario, "test")
    options = SimulatorOptions(symbols=SYMBOLS, start=START, end=START + DAY_MS, scenario=scenario)
    return Replay(Simulator(market_of(options), options))


def trades_each_hour(replay: Replay, hours: int) -> None:
    async def buy(number: int) -> None:
        request = OrderRequest(
            client_id=f"lock-{number}", symbol=SYMBOLS[0], kind=OrderKind.MARKET, buy=True, quantity=Decimal("0.002")
        )
        await replay.trading.place(request)

    for number in range(1, hours + 1):
        replay.steps[START + number * HOUR_MS + MINUTE_MS] = lambda number=number: buy(number)  # type: ignore[misc]


async def play(replay: Replay) -> None:
    with anyio.fail_after(100):
        await replay.run()


def bars_of(replay: Replay, symbol: str) -> list[int]:
    """Open times of the played bars, in hours."""
    times = [closed.bar.open_time for closed in replay.bars if closed.bar.symbol == symbol]
    return [(at - START) // HOUR_MS for at in times if at >= START]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "socket_reset", "on": "private"},
        {"kind": "socket_closed", "on": "private", "value": 1008},
        {"kind": "socket_closed", "on": "private", "value": 1006},
        {"kind": "listen_key_expires"},
    ],
    ids=lambda fault: fault["kind"],
)
async def test_an_account_stream_that_ends_with_frames_on_it_is_connected_anew(fault: dict[str, Any]) -> None:
    replay = replay_with(fault | {"upon": "POST /fapi/v1/order", "every": 2})
    trades_each_hour(replay, 6)
    await play(replay)
    lost = [event for event in replay.account if isinstance(event, UserStreamLost)]
    up = [event for event in replay.account if isinstance(event, UserStreamUp)]
    assert (len(lost), len(up)) == (3, 4)
    assert bars_of(replay, SYMBOLS[1]) == list(range(24))
    assert len(replay.simulator.world.engine.fills) >= 6


async def test_every_connection_ends_at_once_and_no_bar_is_missed() -> None:
    replay = replay_with({"kind": "day_cut", "after_seconds": 7_300, "every_seconds": 28_800})
    await play(replay)
    assert [bars_of(replay, symbol) for symbol in SYMBOLS] == [list(range(24))] * 2
    assert [event.name for event in replay.events].count("market_stream_lost") == 3


async def test_a_ban_that_keeps_a_lost_stream_from_coming_back_is_waited_out_in_domain_time() -> None:
    replay = replay_with(
        {"kind": "socket_reset", "on": "private", "after_seconds": 7_200},
        {"kind": "banned", "on": "POST /fapi/v1/listenKey", "nth": 2, "seconds": 600},
    )
    await play(replay)
    first, again = [event.at for event in replay.account if isinstance(event, UserStreamUp)]
    assert first == START
    assert again == START + 7_200 * SECOND_MS + 600 * SECOND_MS + HEAD_START_MS  # no call that protects anything


async def test_bars_that_come_late_twice_or_never_are_published_once_and_in_order() -> None:
    replay = replay_with(
        {"kind": "kline_late", "seconds": 24, "every": 3},
        {"kind": "kline_missing", "every": 4},
        {"kind": "kline_repeated", "every": 5},
        {"kind": "market_silent", "on": "*@kline_*", "after_seconds": 40_000, "seconds": 10_000},
    )
    await play(replay)
    for symbol in SYMBOLS:  # the last bar closes with the market, so one that is left out then cannot be fetched
        assert bars_of(replay, symbol) in (list(range(23)), list(range(24)))
    assert replay.simulator.world.now == START + DAY_MS
