"""The streams against a server that misbehaves as the test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import anyio
import pytest
from aiohttp import web

from bot.clock import HOUR_MS, MINUTE_MS, ReplayClock
from bot.config import ExchangeTable
from bot.errors import VenueUnavailable
from bot.exchange.budget import RequestBudget
from bot.exchange.port import MarketEvent
from bot.exchange.rest import Endpoints
from bot.exchange.sockets import BinanceMarket, BinanceUser, FrameCounter, open_binance
from bot.messages import Bar, BotEvent, MarkChanged, PriceChanged
from bot.streams import Activity
from bot.venue import (
    FundingDue,
    UserEvent,
    UserStreamLost,
    UserStreamUp,
)

pytestmark = pytest.mark.anyio

START = 1_735_689_600_000  # 2025-01-01


class Exchange:
    """A stream server that sends what the test says, and the REST calls that streams need."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[web.WebSocketResponse], Awaitable[None]]] = []  # one per connection
        self.keys: list[str] = []
        self.kept: list[int] = []  # domain time of each PUT
        self.keep_status = 200
        self.clock = ReplayClock(START)
        self.activity = Activity()
        self.frames = FrameCounter()
        self.events: list[BotEvent] = []
        self.surprises: list[tuple[str, str]] = []

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        if not self.scripts:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.scripts.pop(0)(socket)
        return socket

    async def new_key(self, _: web.Request) -> web.Response:
        self.keys.append(f"secretkey{len(self.keys)}")
        return web.json_response({"listenKey": self.keys[-1]})

    async def keep_key(self, _: web.Request) -> web.Response:
        self.kept.append(self.clock.now())
        body = {} if self.keep_status == 200 else {"code": -1125, "msg": "This listenKey does not exist."}
        return web.json_response(body, status=self.keep_status)

    @asynccontextmanager
    async def serving(
        self, silence_seconds: float = 60.0, *, lockstep: bool = False
    ) -> AsyncIterator[tuple[BinanceMarket, BinanceUser]]:
        app = web.Application()
        app.router.add_get("/market/stream", self.stream)
        app.router.add_get("/private/ws", self.stream)
        app.router.add_post("/fapi/v1/listenKey", self.new_key)
        app.router.add_put("/fapi/v1/listenKey", self.keep_key)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        endpoints = Endpoints(f"http://{host}:{port}", f"ws://{host}:{port}")
        table = ExchangeTable(silence_seconds=silence_seconds)
        ports = open_binance(
            endpoints,
            "k",
            self.clock,
            table,
            RequestBudget(),
            self.events.append,
            lambda where, found: self.surprises.append((where, found)),
            lockstep=(self.frames, self.activity) if lockstep else None,
        )
        async with ports as both:
            yield both
        await runner.cleanup()


ACK = '{"result":null,"id":1}'
MARK = '{"e":"markPriceUpdate","E":5,"s":"BTCUSDT","p":"%s","r":"0.0001","T":9}'
KLINE = (
    '{"e":"kline","E":6,"s":"BTCUSDT","k":{"t":0,"i":"1h","o":"1","h":"3","l":"1","c":"%s","v":"1","x":%s,"T":3599999}}'
)
FUNDING = '{"e":"ACCOUNT_UPDATE","T":%d,"E":1,"a":{"m":"FUNDING_FEE"}}'


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not true():  # noqa: ASYNC110  # what is waited for happens on the far side of a socket
            await anyio.sleep(0.01)


def says(*frames: str, then: float = 30.0) -> Callable[[web.WebSocketResponse], Awaitable[None]]:
    """Send the frames, stay silent for `then` seconds (or until the client leaves), close."""

    async def script(socket: web.WebSocketResponse) -> None:
        for frame in frames:
            await socket.send_str(frame)
        with anyio.move_on_after(then):
            while (await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                pass

    return script


async def hear_market(market: BinanceMarket) -> tuple[list[MarketEvent], str]:
    """All events until the stream ended, and why it did."""
    heard: list[MarketEvent] = []
    try:
        async for event in market.market_events(["BTCUSDT"], HOUR_MS):
            heard.append(event)  # noqa: PERF401  # what was heard before the end counts
    except VenueUnavailable as lost:
        return heard, str(lost)
    raise AssertionError("the stream ended without a word")


async def test_silence_ends_the_market_stream() -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, MARK % "1.5")]
    async with exchange.serving(silence_seconds=0.2) as (market, _):
        heard, reason = await hear_market(market)
        assert reason == "no frame for 0.2 seconds"
        assert heard == [MarkChanged("BTCUSDT", Decimal("1.5"), Decimal("0.0001"), 9, 5)]


async def test_a_closed_socket_ends_the_market_stream_and_so_does_one_that_never_opens() -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, then=0)]
    async with exchange.serving() as (market, _):
        assert "closed" in (await hear_market(market))[1]
        assert "WSServerHandshakeError" in (await hear_market(market))[1]


async def test_a_price_is_told_when_it_changes_and_a_bar_when_it_is_closed() -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, *(KLINE % args for args in [("2", "false"), ("2", "false"), ("2", "true")]), then=0)]
    async with exchange.serving() as (market, _):
        heard, _ = await hear_market(market)
        assert [type(event) for event in heard] == [PriceChanged, Bar]


async def test_an_unreadable_market_frame_is_told_once_and_costs_only_itself() -> None:
    exchange = Exchange()
    bad = MARK % "NaN"
    exchange.scripts = [says(ACK, bad, bad, '{"e":"trade"}', MARK % "1.5")]
    async with exchange.serving() as (market, _):
        events = market.market_events(["BTCUSDT"], HOUR_MS)
        assert isinstance(await anext(events), MarkChanged)
        await events.aclose()
        assert [event.name for event in exchange.events] == ["unreadable_frame"]
        assert market.skipped == {"trade": 1}


@pytest.mark.parametrize(
    ("frame", "surprises"),
    [
        (MARK % "NaN", True),
        (KLINE % ("2", '"yes"'), True),
        ((KLINE % ("2", "true")).replace('"1h"', '"7h"'), True),
        ((KLINE % ("2", "true")).replace('"c":', '"close":'), True),
        ('{"stream":"btcusdt@kline_1h"}', True),
        ("<html>502 Bad Gateway</html>", False),
        ('{"e":"trade"}', False),
    ],
)
async def test_a_market_frame_of_a_new_form_is_a_surprise_and_text_that_is_none_of_the_venues_is_not(
    frame: str, surprises: bool
) -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, frame, MARK % "1.5")]
    async with exchange.serving() as (market, _):
        events = market.market_events(["BTCUSDT"], HOUR_MS)
        assert isinstance(await anext(events), MarkChanged)
        await events.aclose()
        assert [where for where, _ in exchange.surprises] == ["market stream"] * surprises


async def test_a_frame_counts_when_its_receiver_asks_for_more_and_not_after_the_close() -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, KLINE % ("2", "true"), MARK % "1.5", then=0.3)]
    async with exchange.serving(lockstep=True) as (market, _):
        events = market.market_events(["BTCUSDT"], HOUR_MS)
        assert isinstance(await anext(events), PriceChanged)
        assert exchange.frames.total == 1
        assert isinstance(await anext(events), Bar)
        assert exchange.frames.total == 1
        assert isinstance(await anext(events), MarkChanged)
        assert exchange.frames.total == 2
        with anyio.fail_after(2):
            await exchange.frames.wait_for(2)
        with pytest.raises(VenueUnavailable):
            await anext(events)
        assert exchange.frames.total == 0
        with anyio.fail_after(2):
            await exchange.frames.wait_for(3)


async def test_streams_count_as_work_until_they_are_up_and_while_they_are_lost() -> None:
    exchange = Exchange()
    exchange.scripts = [says(ACK, then=30), says(FUNDING % 1, then=0.2), says(FUNDING % 2)]
    account: list[UserEvent] = []
    async with exchange.serving(lockstep=True) as (market, user), anyio.create_task_group() as group:

        async def follow_market() -> None:
            async for _ in market.market_events(["BTCUSDT"], HOUR_MS):
                pass

        async def follow_account() -> None:
            async for event in user.user_events():
                account.append(event)
                if isinstance(event, UserStreamLost):
                    assert not exchange.activity.quiet

        assert not exchange.activity.quiet
        group.start_soon(follow_market)
        with anyio.fail_after(2):
            await exchange.frames.wait_for(1)
        assert not exchange.activity.quiet
        group.start_soon(follow_account)
        with anyio.fail_after(2):
            await exchange.activity.wait_quiet()
            await until(lambda: FundingDue(2) in account)
            await exchange.activity.wait_quiet()
        group.cancel_scope.cancel()


async def hear(user: BinanceUser, count: int) -> list[UserEvent]:
    account: list[UserEvent] = []
    events = user.user_events()
    with anyio.fail_after(5):
        async for event in events:
            account.append(event)
            if len(account) == count:
                break
    await events.aclose()
    return account


@pytest.mark.parametrize(
    "fault", ['{"e":"listenKeyExpired","E":3,"listenKey":"secretkey0"}', '{"e":"ORDER_TRADE_UPDATE","T":1}', "<html>"]
)
async def test_an_expired_key_and_an_unreadable_frame_lead_to_a_new_connection(fault: str) -> None:
    exchange = Exchange()
    exchange.scripts = [says(FUNDING % 1, '{"e":"TRADE_LITE"}', fault), says(FUNDING % 2)]
    async with exchange.serving() as (_, user):
        account = await hear(user, 5)
        kinds = [type(event) for event in account]
        assert kinds == [UserStreamUp, FundingDue, UserStreamLost, UserStreamUp, FundingDue]
        assert len(exchange.keys) == 2
        assert user.skipped == {"TRADE_LITE": 1}
        assert "secretkey" not in str(account)
        assert "secretkey" not in str(exchange.events)


async def test_what_no_document_names_is_told_and_the_stream_goes_on() -> None:
    exchange = Exchange()
    call = '{"e":"MARGIN_CALL","E":1,"p":[{"s":"BTCUSDT"}]}'
    exchange.scripts = [says(FUNDING % 1, '{"e":"SOMETHING_NEW"}', call, FUNDING % 2)]
    async with exchange.serving() as (_, user):
        assert [type(event) for event in await hear(user, 3)] == [UserStreamUp, FundingDue, FundingDue]
    assert exchange.surprises == [("user stream", "event type 'SOMETHING_NEW'")]
    assert [(event.name, event.detail) for event in exchange.events] == [("margin_call", {"symbols": ("BTCUSDT",)})]


@pytest.mark.parametrize(("fault", "surprises"), [('{"e":"ORDER_TRADE_UPDATE","T":1}', 1), ("<html>", 0)])
async def test_an_event_that_lacks_a_field_is_a_surprise_and_text_that_is_none_of_ours_is_not(
    fault: str, surprises: int
) -> None:
    exchange = Exchange()
    exchange.scripts = [says(fault), says(FUNDING % 2)]
    async with exchange.serving() as (_, user):
        await hear(user, 3)
    assert len(exchange.surprises) == surprises


async def test_no_error_of_a_user_socket_repeats_the_listen_key() -> None:
    exchange = Exchange()
    async with exchange.serving() as (_, user):
        (lost,) = await hear(user, 1)
        assert isinstance(lost, UserStreamLost)
        assert "secretkey" not in lost.reason


async def test_the_listen_key_is_prolonged_every_half_hour_of_domain_time() -> None:
    exchange = Exchange()
    exchange.scripts = [says(FUNDING % 1)]
    async with exchange.serving() as (_, user), anyio.create_task_group() as group:
        group.start_soon(hear, user, 99)
        for minutes in range(0, 95, 5):
            exchange.clock.advance(START + minutes * MINUTE_MS)
            await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert exchange.kept == [START + 30 * MINUTE_MS, START + 60 * MINUTE_MS, START + 90 * MINUTE_MS]


async def test_a_key_that_the_venue_no_longer_knows_is_replaced() -> None:
    exchange = Exchange()
    exchange.keep_status = 400
    exchange.scripts = [says(FUNDING % 1), says(FUNDING % 2)]
    async with exchange.serving() as (_, user), anyio.create_task_group() as group:
        account: list[UserEvent] = []

        async def follow() -> None:
            account.extend(await hear(user, 5))

        group.start_soon(follow)
        await until(lambda: exchange.clock.next_wake() is not None)
        exchange.clock.advance(START + 30 * MINUTE_MS)
    assert account[-1] == FundingDue(2)
    assert len(exchange.keys) == 2


async def test_a_key_that_cannot_be_prolonged_is_tried_again_each_minute_while_it_lives() -> None:
    exchange = Exchange()
    exchange.keep_status = 503
    exchange.scripts = [says(FUNDING % 1), says(FUNDING % 2)]
    async with exchange.serving() as (_, user), anyio.create_task_group() as group:
        account: list[UserEvent] = []

        async def follow() -> None:
            account.extend(await hear(user, 4))

        group.start_soon(follow)
        await until(lambda: exchange.clock.next_wake() is not None)
        while len(account) < 4:
            exchange.clock.advance(exchange.clock.now() + MINUTE_MS)
            await anyio.sleep(0.02)
    assert exchange.kept == [START + minutes * MINUTE_MS for minutes in range(30, 61)]
    assert [type(event) for event in account] == [UserStreamUp, FundingDue, UserStreamLost, UserStreamUp]
