"""Faults of streams and triggers, over real sockets: which frames arrive, in which order, and what really happened."""

from typing import Any

import aiohttp
import anyio
import pytest

from bot.clock import HOUR_MS, MINUTE_MS
from tests.exchange.simulator.struck import Ear, inject, market_stream, move_price, pass_seconds, strikes, user_stream

pytestmark = pytest.mark.anyio
ORDER, ACCOUNT, ALGO = "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE"
KLINE = "btcusdt@kline_1h"
BUSY = "btcusdt@markPrice@1s"
STOP = "STOP_MARKET"


def names(told: list[Any]) -> list[str]:
    return [frame["e"] for frame in told]


async def bought(exchange: Any, ear: Ear) -> list[str]:
    """What the user stream tells of a market order."""
    await exchange.market("BTCUSDT", "BUY", "0.010")
    return names(await ear.frames())


async def test_a_single_event_is_lost_on_a_healthy_socket(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        fair = await bought(exchange, ear)
        assert fair == [ORDER, "TRADE_LITE", ORDER, ACCOUNT]
        await inject(exchange, "event_lost", on=ORDER, nth=2)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ACCOUNT]
        assert await bought(exchange, ear) == fair
        assert await strikes(exchange) == [("event_lost", 2)]


async def test_an_event_comes_twice(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "event_repeated", on=ACCOUNT, times=1)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ORDER, ACCOUNT, ACCOUNT]
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ORDER, ACCOUNT]


async def test_an_event_comes_after_the_one_that_followed_it(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "event_reordered", on=ORDER, nth=2)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ACCOUNT, ORDER]


async def test_an_event_that_nothing_follows_comes_when_time_goes_on(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "event_reordered", on=ACCOUNT)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ORDER]
        await pass_seconds(exchange, 1)
        assert names(await ear.frames()) == [ACCOUNT]


async def test_an_event_comes_late_in_simulated_time(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "event_delayed", on=ORDER, nth=2, seconds=20)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ACCOUNT]
        await pass_seconds(exchange, 19)
        assert await ear.frames() == []
        await pass_seconds(exchange, 1)
        (late,) = await ear.frames()
        assert (late["e"], late["o"]["X"]) == (ORDER, "FILLED")
        assert late["E"] == exchange.simulator.world.now - 20_000


async def test_events_of_names_and_shapes_that_nobody_knows(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "unknown_event", on=ACCOUNT)
        await inject(exchange, "missing_field", on=ACCOUNT, key="ep")
        await inject(exchange, "unknown_enum", on=ORDER, key="X", nth=2)
        await exchange.market("BTCUSDT", "BUY", "0.010")
        told = await ear.frames()
        assert names(told) == [ORDER, "TRADE_LITE", ORDER, "ADDED_LATER_UPDATE", ACCOUNT]
        assert [frame["o"]["X"] for frame in told if frame["e"] == ORDER] == ["NEW", "ADDED_LATER"]
        assert "ep" not in told[-1]["a"]["P"][0]


async def test_the_listen_key_ends_right_after_an_order(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "listen_key_expires", upon="POST /fapi/v1/order", nth=1)
        assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ORDER, ACCOUNT, "listenKeyExpired"]
        assert await bought(exchange, ear) == []
        assert exchange.simulator.world.keys.current is None


async def test_a_socket_falls_silent_and_answers_no_ping(running: Any) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, "socket_silent", on="private")
        assert await bought(exchange, ear) == []
        await ear.socket.ping()
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await ear.socket.receive()
        assert not ear.socket.closed
        assert exchange.simulator.hub.frames == exchange.simulator.hub.written


async def test_a_socket_that_answers_no_ping_is_cut_by_a_client_that_minds(running: Any) -> None:
    async with running() as exchange:
        url = f"{exchange.addresses.stream_url}/private/ws/{await exchange.listen_key()}"
        async with exchange.http.ws_connect(url, heartbeat=0.1) as socket:
            ear = Ear(exchange, socket, "private")
            assert await bought(exchange, ear) == [ORDER, "TRADE_LITE", ORDER, ACCOUNT]
            await inject(exchange, "no_pong", on="private")
            with anyio.fail_after(5):
                message = await ear.socket.receive()
            assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"kind": "socket_closed"}, 1001),
        ({"kind": "socket_closed", "value": 1008}, 1008),
        ({"kind": "socket_closed", "value": 1006}, None),
        ({"kind": "socket_reset"}, None),
        ({"kind": "day_cut"}, 1001),
    ],
)
async def test_the_venue_ends_the_connections_of_one_route(
    running: Any, table: dict[str, Any], code: int | None
) -> None:
    async with running() as exchange, market_stream(exchange, BUSY) as market, user_stream(exchange) as user:
        await inject(exchange, table["kind"], on="private", after_seconds=30, **{"value": table.get("value")})
        await pass_seconds(exchange, 31)
        with anyio.fail_after(5):
            message = await user.socket.receive()
        if code is None:
            assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)
            assert user.socket.close_code in (1006, None)
        else:
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)
        await pass_seconds(exchange, 600)
        assert {frame["stream"] for frame in await market.frames()} == {BUSY}
        assert [kind for kind, _ in await strikes(exchange)] == [table["kind"]]


async def closing_bars(exchange: Any, hours: int = 3) -> list[tuple[int, int]]:
    """(hour, ms after its end) of each last frame of the first bars, as it arrives."""
    world, told = exchange.simulator.world, []
    start = world.now
    async with market_stream(exchange, KLINE) as ear:
        while world.now < start + hours * HOUR_MS + 2 * MINUTE_MS:
            world.advance(world.next_moment())
            await world.hub.flush()
            bars = [frame["data"]["k"] for frame in await ear.frames()]
            told += [((bar["t"] - start) // HOUR_MS, world.now - bar["T"]) for bar in bars if bar["x"]]
    return told


async def rows(exchange: Any) -> list[tuple[int, str]]:
    """(open time, close) of the played hours, over REST."""
    world = exchange.simulator.world
    start = str(world.market.start)
    _, bars, _ = await exchange.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", startTime=start)
    return [(bar[0], bar[4]) for bar in bars[:-1]]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"kind": "kline_late", "seconds": 24}, [(0, 0), (1, 24_000), (2, 0)]),
        ({"kind": "kline_missing"}, [(0, 0), (2, 0)]),
        ({"kind": "kline_repeated"}, [(0, 0), (1, 0), (1, 0), (2, 0)]),
        ({"kind": "kline_revised", "value": 0.01}, [(0, 0), (1, 0), (2, 0)]),
        ({"kind": "kline_gap"}, [(0, 0), (2, 0)]),
    ],
)
async def test_the_last_frame_of_one_bar_goes_wrong(
    running: Any, table: dict[str, Any], told: list[tuple[int, int]]
) -> None:
    async with running() as exchange:
        fair = await closing_bars(exchange)
        before = await rows(exchange)
        assert fair == [(0, 0), (1, 0), (2, 0)]
    async with running() as exchange:
        await inject(exchange, **table, on=KLINE, nth=2)
        assert await closing_bars(exchange) == told
        after = await rows(exchange)
        assert await strikes(exchange) == [(table["kind"], 2)]
    if table["kind"] == "kline_gap":
        assert after == [before[0], before[2]]
    elif table["kind"] == "kline_revised":
        assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
        assert float(after[1][1]) == pytest.approx(float(before[1][1]) * 1.01, rel=1e-4)
    else:
        assert after == before


async def test_a_stream_is_silent_for_a_while_beside_one_that_is_not(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "market_silent", on="*@kline_*", seconds=3_600)
        async with market_stream(exchange, KLINE, BUSY) as ear:
            await pass_seconds(exchange, 3_000)
            assert {frame["stream"] for frame in await ear.frames()} == {BUSY}
            await pass_seconds(exchange, 1_200)
            assert {frame["stream"] for frame in await ear.frames()} == {BUSY, KLINE}


async def stopped(exchange: Any, ear: Ear) -> list[str]:
    """The states that the user stream tells of a stop that the price falls through."""
    await exchange.market("BTCUSDT", "BUY", "0.010")
    await exchange.stop("BTCUSDT", "SELL", "0.010", exchange.last("BTCUSDT") * 99 / 100, clientAlgoId="stop")
    await move_price(exchange, 0.98)
    return [frame["o"]["X"] for frame in await ear.frames() if frame["e"] == ALGO]


@pytest.mark.parametrize(
    ("table", "states", "left"),
    [
        ({"kind": "trigger_stuck"}, ["NEW", "TRIGGERING"], "0.01"),
        ({"kind": "trigger_rejected"}, ["NEW", "TRIGGERING", "REJECTED"], "0.01"),
        ({"kind": "trigger_late", "seconds": 9}, ["NEW", "TRIGGERING"], "0.01"),
        ({"kind": "child_partial", "value": 0.3}, ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"], "0.007"),
        ({"kind": "trigger_stuck", "client_id": "other*"}, ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"], None),
    ],
)
async def test_a_trigger_goes_wrong(running: Any, table: dict[str, Any], states: list[str], left: str | None) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        await inject(exchange, **table, on=STOP)
        assert await stopped(exchange, ear) == states
        assert (await exchange.control("ledger"))["positions"].get("BTCUSDT") == left
        assert await strikes(exchange) == ([] if left is None else [(table["kind"], 1)])
        if table["kind"] == "trigger_late":
            await pass_seconds(exchange, 9)
            assert [frame["o"]["X"] for frame in await ear.frames() if frame["e"] == ALGO] == [
                "TRIGGERED",
                "FINISHED",
            ]
            assert (await exchange.control("ledger"))["positions"] == {}


@pytest.mark.parametrize(("form", "told"), [("silent", []), ("expired", ["EXPIRED"])])
async def test_a_waiting_stop_is_gone_with_or_without_a_word(running: Any, form: str, told: list[str]) -> None:
    async with running() as exchange, user_stream(exchange) as ear:
        for number in ("a", "b"):
            await exchange.stop("BTCUSDT", "SELL", "0.010", exchange.last("BTCUSDT") / 2, clientAlgoId=f"stop-{number}")
        await ear.frames()
        await inject(exchange, "stop_vanishes", form=form, client_id="*-b")
        assert [frame["o"]["X"] for frame in await ear.frames()] == told
        assert [row["clientAlgoId"] for row in (await exchange.signed("GET", "/fapi/v1/openAlgoOrders"))[1]] == [
            "stop-a"
        ]
        vanished = [row for row in await exchange.control("log") if row.get("status") == "EXPIRED"]
        assert [row["client_id"] for row in vanished] == ["stop-b"]
