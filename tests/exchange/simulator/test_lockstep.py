"""The lockstep protocol as a small client sees it that mostly does not trade."""

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS

pytestmark = pytest.mark.anyio


class Follower:
    """Reads one stream socket and the lockstep socket, and digests what it was sent."""

    def __init__(self, lockstep: aiohttp.ClientWebSocketResponse) -> None:
        self.lockstep = lockstep
        self.frames = 0
        self.events: list[dict[str, Any]] = []

    async def tick(self) -> dict[str, Any]:
        tick: dict[str, Any] = await self.lockstep.receive_json(timeout=10)
        return tick

    async def read(self, socket: aiohttp.ClientWebSocketResponse, until: int) -> None:
        while self.frames < until:
            self.events.append(await socket.receive_json(timeout=10))
            self.frames += 1

    async def digested(self, tick: dict[str, Any], wake_at: int | None = None) -> None:
        answer = {"type": "digested", "now": tick["now"], "frames": self.frames, "wake_at": wake_at}
        await self.lockstep.send_json(answer)


@pytest.fixture
def following() -> Callable[..., Any]:
    @asynccontextmanager
    async def follow(exchange: Any, *, digest: bool = False) -> AsyncIterator[Follower]:
        async with exchange.stream("/_sim/lockstep") as lockstep:
            await lockstep.send_json({"type": "hello", "digest": digest})
            yield Follower(lockstep)

    return follow


async def test_the_market_goes_on_only_when_the_last_step_was_digested(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        first = await follower.tick()
        start = exchange.addresses.start
        assert (first["now"], first["frames"], first["done"], first["progress"]) == (start, 0, False, 0.0)
        assert first["ledger"]["wallet"] == "10000"
        with anyio.move_on_after(0.05):
            await follower.tick()
        assert exchange.simulator.world.now == start
        await follower.digested(first)
        second = await follower.tick()
        assert second["now"] == start + 75_000
        assert second["ledger"] is None


async def test_a_day_is_played_to_its_end_and_every_bar_closes_once_before_the_next(
    running: Any, following: Any
) -> None:
    async with running() as exchange, following(exchange) as follower:
        streams = "btcusdt@kline_1h/btcusdt@kline_15m/ethusdt@kline_1h/btcusdt@markPrice@1s"
        async with exchange.stream(f"/market/stream?streams={streams}") as market:
            times = []
            while True:
                tick = await follower.tick()
                times.append(tick["now"])
                await follower.read(market, tick["frames"])
                await follower.digested(tick)
                if tick["done"]:
                    break
        start, end = exchange.addresses.start, exchange.addresses.end
        steps = sorted({t + part for t in range(start, end, 300_000) for part in (0, 75_000, 150_000, 299_999)})
        assert list(dict.fromkeys(times)) == [*steps, end]
        klines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in follower.events:
            klines[event["stream"]].append(event["data"].get("k"))
        for stream, bars in ((name, rows) for name, rows in klines.items() if "kline" in name):
            closed = [bar["t"] for bar in bars if bar["x"]]
            length = 15 * MINUTE_MS if "15m" in stream else HOUR_MS
            assert closed == list(range(start, end, length))
            assert all(old["t"] == new["t"] or old["x"] for old, new in pairwise(bars))
            assert all(bar["T"] == bar["t"] + length - 1 for bar in bars)
        report = await exchange.control("report")
        assert (report["ended"], report["simulated_days"], report["sessions"]) == (True, 1.0, 1)


async def test_closed_bars_on_the_stream_are_the_rows_of_the_rest_interface(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        async with exchange.stream("/market/stream?streams=btcusdt@kline_1h/btcusdt@kline_4h") as market:
            while True:
                tick = await follower.tick()
                await follower.read(market, tick["frames"])
                await follower.digested(tick)
                if tick["done"]:
                    break
        for interval, length in (("1h", HOUR_MS), ("4h", 4 * HOUR_MS)):
            span = {"startTime": str(exchange.addresses.start), "interval": interval, "symbol": "BTCUSDT"}
            _, rows, _ = await exchange.get("/fapi/v1/klines", **span)
            told = [event["data"]["k"] for event in follower.events if event["data"]["k"]["i"] == interval]
            closed = [[bar["t"], bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]] for bar in told if bar["x"]]
            assert closed == [row[:6] for row in rows]
            assert len(closed) == DAY_MS // length


async def test_the_bot_is_woken_when_it_asked_to_be(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        tick = await follower.tick()
        for wanted, reached in ((7_000, 7_000), (7_001, 7_001), (7_001, 75_000), (80_000, 80_000), (None, 150_000)):
            await follower.digested(tick, None if wanted is None else exchange.addresses.start + wanted)
            tick = await follower.tick()
            assert tick["now"] - exchange.addresses.start == reached


async def test_time_stands_still_until_the_frames_of_the_bots_own_orders_are_handled(
    running: Any, following: Any
) -> None:
    async with running() as exchange, following(exchange) as follower:
        key = await exchange.listen_key()
        async with exchange.stream(f"/private/ws?listenKey={key}") as user:
            tick = await follower.tick()
            await exchange.market("BTCUSDT", "BUY", "0.010")
            await follower.digested(tick)
            again = await follower.tick()
            assert (again["now"], again["frames"]) == (tick["now"], 4)
            assert again["ledger"]["positions"] == {"BTCUSDT": "0.01"}
            await follower.read(user, 4)
            await follower.digested(again)
            assert (await follower.tick())["now"] > tick["now"]
        names = [event["e"] for event in follower.events]
        assert names == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]


async def test_at_one_moment_the_accounts_frames_go_out_before_the_markets(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        key = await exchange.listen_key()
        async with (
            exchange.stream(f"/private/ws?listenKey={key}") as user,
            exchange.stream("/market/stream?streams=btcusdt@markPrice@1s") as market,
        ):
            tick = await follower.tick()
            exchange.simulator.world.publish_marks()
            await exchange.market("BTCUSDT", "BUY", "0.010")
            await follower.digested(tick)
            tick = await follower.tick()
            assert (tick["frames"], tick["more"]) == (4, True)
            await follower.read(user, 4)
            await follower.digested(tick)
            tick = await follower.tick()
            assert (tick["frames"], tick["more"]) == (5, False)
            await follower.read(market, 5)
            assert exchange.simulator.world.now == exchange.addresses.start


async def test_a_closed_stream_takes_its_frames_out_of_the_count(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        async with exchange.stream("/market/stream") as market:
            await market.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": 1})
            assert await market.receive_json(timeout=10) == {"result": None, "id": 1}
            follower.frames = 1
            await follower.digested(await follower.tick())
            assert (await follower.tick())["frames"] == 2
        follower.frames = 0
        await follower.digested({"now": 0})
        while (tick := await follower.tick())["now"] == exchange.addresses.start + 75_000:
            assert tick["frames"] == 2
            await follower.digested(tick)
        assert tick["frames"] == 0


async def test_the_ledger_carries_a_digest_of_all_fills(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange, digest=True) as follower:
        tick = await follower.tick()
        assert tick["ledger"]["fills_digest"] == hashlib.sha256(b"").hexdigest()
        await exchange.market("BTCUSDT", "BUY", "0.010")
        await exchange.market("ETHUSDT", "SELL", "0.50")
        await exchange.market("BTCUSDT", "SELL", "0.004")
        await follower.digested(tick)
        ledger = (await follower.tick())["ledger"]
        full = await exchange.control("ledger")
        lines = "".join(
            f"{fill['symbol']}|{fill['trade_id']}|{'BUY' if fill['buy'] else 'SELL'}|{fill['price']}|"
            f"{fill['quantity']}|{fill['fee']}|{fill['realized_pnl']}\n"
            for fill in sorted(full["fills_list"], key=lambda fill: (fill["symbol"], fill["trade_id"]))
        )
        assert [fill["symbol"] for fill in full["fills_list"]] == ["BTCUSDT", "ETHUSDT", "BTCUSDT"]
        assert ledger["fills"] == 3
        assert ledger["fills_digest"] == hashlib.sha256(lines.encode()).hexdigest() == full["fills_digest"]
        money = {name: Decimal(ledger[name]) for name in ("wallet", "realized_pnl", "fees", "funding")}
        assert money["wallet"] == 10_000 + money["realized_pnl"] - money["fees"] + money["funding"]


async def test_a_bot_learns_the_mark_before_the_next_price(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        async with exchange.stream("/market/stream?streams=btcusdt@markPrice@1s") as market:
            await follower.digested(await follower.tick())
            tick = await follower.tick()
            assert (tick["now"], tick["frames"]) == (exchange.addresses.start, 1)
            await follower.read(market, 1)
        assert Decimal(follower.events[0]["data"]["p"]) == exchange.last("BTCUSDT")


async def test_a_lost_bot_stops_the_world_and_the_next_one_finds_everything(running: Any, following: Any) -> None:
    async with running() as exchange:
        async with following(exchange) as follower:
            await follower.tick()
            await exchange.market("BTCUSDT", "BUY", "0.010")
            await exchange.stop("BTCUSDT", "SELL", "0.010", exchange.last("BTCUSDT") * Decimal("0.9"))
        async with following(exchange) as follower:
            tick = await follower.tick()
            assert tick["now"] == exchange.addresses.start
            assert tick["ledger"]["positions"] == {"BTCUSDT": "0.01"}
        ledger = await exchange.control("ledger")
        assert [stop["quantity"] for stop in ledger["open_algos"]] == ["0.01"]
        assert (await exchange.control("report"))["sessions"] == 2


async def test_during_an_outage_the_market_goes_on_without_the_bot(running: Any, following: Any) -> None:
    async with running(outage_minutes=30.0, seed=3) as exchange:
        nows = []
        for _ in range(3):
            async with following(exchange) as follower:
                nows.append((await follower.tick())["now"])
        assert nows == sorted(set(nows))
        assert all(later - earlier <= 30 * MINUTE_MS for earlier, later in pairwise(nows))


async def test_two_bots_cannot_be_in_lockstep_at_once(running: Any, following: Any) -> None:
    async with running() as exchange, following(exchange) as follower:
        await follower.tick()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="409"):
            await exchange.stream("/_sim/lockstep")


async def test_time_without_a_stop_is_counted_for_the_uncovered_part(running: Any) -> None:
    async with running() as exchange:
        world = exchange.simulator.world
        far = exchange.last("BTCUSDT") * Decimal("0.5")
        await exchange.market("BTCUSDT", "BUY", "0.010")
        await exchange.stop("BTCUSDT", "SELL", "0.006", far)
        await exchange.stop("BTCUSDT", "BUY", "0.010", exchange.last("BTCUSDT") * 2)
        world.advance(world.now + 10_000)
        assert (await exchange.control("report"))["naked_seconds"] == 10.0
        await exchange.stop("BTCUSDT", "SELL", "0.004", far, clientAlgoId="second")
        world.advance(world.now + 10_000)
        assert (await exchange.control("report"))["naked_seconds"] == 10.0
        await exchange.signed("DELETE", "/fapi/v1/algoOrder", clientAlgoId="second")
        world.advance(world.now + 5_000)
        assert (await exchange.control("report"))["naked_seconds"] == 15.0


async def test_time_without_a_stop_is_told_apart_by_whether_a_bot_was_connected(running: Any, following: Any) -> None:
    async with running() as exchange:
        world = exchange.simulator.world
        await exchange.market("BTCUSDT", "BUY", "0.010")
        world.advance(world.now + 4_000)
        async with following(exchange) as follower:
            await follower.tick()
            world.advance(world.now + 3_000)
        with anyio.fail_after(10):
            while exchange.simulator.world.log.after(-1)[-1]["what"] != "lockstep_lost":
                await anyio.lowlevel.checkpoint()
        world.advance(world.now + 2_000)
        report = await exchange.control("report")
        assert (report["naked_seconds"], report["naked_seconds_connected"]) == (9.0, 3.0)


async def test_at_a_pace_the_market_plays_by_itself_and_tells_who_listens(running: Any, following: Any) -> None:
    async with running(pace=200_000.0) as exchange, following(exchange) as follower:
        times = []
        while True:
            tick = await follower.tick()
            times.append(tick["now"])
            if tick["done"]:
                break
        assert times == sorted(times)
        assert times[-1] == exchange.addresses.end


async def test_at_a_pace_the_last_word_waits_until_the_bot_has_handled_every_frame(
    running: Any, following: Any
) -> None:
    async with running(pace=2_000_000.0) as exchange, following(exchange) as follower:
        tick = await follower.tick()
        follower.frames = -7  # as if some of them were still on their way
        while tick["now"] < exchange.addresses.end:
            await follower.digested(tick)
            tick = await follower.tick()
        for _ in range(3):
            await follower.digested(tick)
            tick = await follower.tick()
            assert not tick["done"]
        follower.frames = tick["frames"]
        await follower.digested(tick)
        with anyio.fail_after(5):
            while not (tick := await follower.tick())["done"]:
                await follower.digested(tick)
        assert tick["ledger"] is not None
