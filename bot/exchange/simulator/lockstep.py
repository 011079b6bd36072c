"""When the world goes on: after the bot has digested the last moment, or at a multiple of real time."""

import random
import time
from typing import Any

import anyio
import msgspec
from aiohttp import ClientConnectionResetError, WSMsgType, web

from bot.clock import MINUTE_MS, SECOND_MS
from bot.exchange.simulator.sockets import Hub, encoder
from bot.exchange.simulator.world import World

HEARTBEAT_SECONDS = 1.0
AGREEMENT_SECONDS = 10.0  # real time that the last word waits for who does not handle all frames


class Hello(msgspec.Struct, tag="hello", tag_field="type"):
    digest: bool = False


class Digested(msgspec.Struct, tag="digested", tag_field="type"):
    now: int
    frames: int
    wake_at: int | None = None


_decoder = msgspec.json.Decoder(Hello | Digested)


class Link:
    """The bot's end of the lockstep socket."""

    def __init__(self, response: web.WebSocketResponse, *, digest: bool) -> None:
        self._response = response
        self._digest = digest
        self._told: tuple[int, int] | None = None

    async def tick(self, world: World, frames: int, *, more: bool = False, done: bool = False) -> None:
        ledger: dict[str, Any] | None = None
        if done or (world.ledger.version != self._told and not more):  # it may be ahead of frames that still wait
            self._told = world.ledger.version
            ledger = world.ledger.summary(digest=done or self._digest)
        message = {
            "type": "tick",
            "now": world.now,
            "frames": frames,
            "done": done,
            "progress": world.progress,
            "ledger": ledger,
            "more": more,
        }
        await self._response.send_frame(encoder.encode(message), WSMsgType.TEXT)

    async def answer(self) -> Digested | None:
        """The next `digested`; None when the socket is closed or says something else."""
        message = await self._response.receive()
        if message.type is not WSMsgType.TEXT:
            return None
        try:
            decoded = _decoder.decode(message.data)
        except (msgspec.DecodeError, RecursionError):
            return None
        return decoded if isinstance(decoded, Digested) else None


class Conductor:
    """Moves the world: in lockstep with one bot, or at `pace` times real time with or without one."""

    def __init__(self, world: World, hub: Hub, *, pace: float | None, outage_minutes: float, seed: int) -> None:
        self.sessions = 0
        self._world = world
        self._hub = hub
        self._pace = pace
        self._outage_ms = outage_minutes * MINUTE_MS
        self._random = random.Random(seed)
        self._link: Link | None = None
        self._wake_at: int | None = None
        self._handled: int | None = None  # frames, by the last answer at a pace; who only listens gives none
        self._woken = anyio.Event()
        self._played = False  # at a pace, to its end
        self._anchor = (world.now, time.monotonic())

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The lockstep socket. One bot at a time; it says hello first."""
        if self._link is not None:
            raise web.HTTPConflict(text="another bot is in lockstep with this simulator")
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        greeting = await response.receive()
        try:
            hello = _decoder.decode(greeting.data) if greeting.type is WSMsgType.TEXT else None
        except (msgspec.DecodeError, RecursionError):
            hello = None
        if not isinstance(hello, Hello):
            await response.close(code=1002, message=b"hello expected")
            return response
        self._link = Link(response, digest=hello.digest)
        self._world.cover.attended = True
        self._hub.in_turns = self._pace is None
        self.sessions += 1
        self._world.log.add(self._world.now, "lockstep_connected", session=self.sessions)
        try:
            await (self._lockstep(self._link) if self._pace is None else self._listen(self._link))
        except ClientConnectionResetError:
            pass
        finally:
            self._link = None
            self._wake_at = None
            self._world.cover.attended = False
            self._hub.in_turns = False
        self._world.log.add(self._world.now, "lockstep_lost", session=self.sessions)
        if self._pace is None and not self._world.ended:
            self._go_on_alone()
        return response

    async def _lockstep(self, link: Link) -> None:
        answer = await self._agree(link)
        if answer is not None and not self._world.ended:
            self._world.publish_marks()  # to streams that were opened after the last price
            if self._hub.frames != answer.frames:
                answer = await self._agree(link)
        while answer is not None:
            if self._world.ended:
                await link.tick(self._world, self._hub.written, done=True)
                if await link.answer() is not None:
                    await link.answer()  # none: the bot closes the socket
                return
            self._world.advance(self._world.next_moment(answer.wake_at))
            answer = await self._agree(link)

    async def _agree(self, link: Link) -> Digested | None:
        """Tick until the bot has handled every frame that there is; the market stands still meanwhile."""
        while True:
            more = await self._hub.next_turn()
            await link.tick(self._world, self._hub.written, more=more)
            answer = await link.answer()
            if answer is None or answer.frames == self._hub.frames:
                return answer

    def _go_on_alone(self) -> None:
        """The bot is gone: the world does not wait for it during the outage."""
        if self._outage_ms:
            missed = self._random.uniform(0, self._outage_ms)
            self._world.advance(min(self._world.now + round(missed), self._world.market.end))

    async def _listen(self, link: Link) -> None:
        self._handled = None
        await link.tick(self._world, self._hub.written, done=self._played)
        while (answer := await link.answer()) is not None:
            self._wake_at, self._handled = answer.wake_at, answer.frames
            self._woken.set()

    def catch_up(self) -> None:
        """At a pace the clock also runs between two prices; called before a request is executed."""
        if self._pace is not None:
            self._world.advance(self._paced_now())

    async def run(self) -> None:
        """Play at the pace until the market ends; in lockstep the bot's answers do that, and nothing is done here."""
        if self._pace is None:
            return
        self._anchor = (self._world.now, time.monotonic())
        while not self._played:
            due = self._world.next_moment(self._wake_at)
            self._woken = anyio.Event()
            with anyio.move_on_after(self._seconds_until(due)):
                await self._woken.wait()
            reached = self._paced_now()
            if reached >= due:
                self._world.advance(due)
            else:
                self._world.advance(reached)
                self._world.publish_marks()
            await self._hub.flush()
            if self._world.ended:
                await self._agree_in_the_end()
            else:
                await self._tell()
        await self._tell(done=True)

    async def _agree_in_the_end(self) -> None:
        """Only once the bot has handled every frame its ledger must be ours; it is not waited for without limit."""
        with anyio.move_on_after(AGREEMENT_SECONDS):
            while not self._agreed:
                self._woken = anyio.Event()
                await self._tell()
                with anyio.move_on_after(HEARTBEAT_SECONDS):
                    await self._woken.wait()
                await self._hub.flush()
        self._played = True

    @property
    def _agreed(self) -> bool:
        """Whether the bot, where there is one that answers, has handled every frame."""
        return self._link is None or self._handled is None or self._handled == self._hub.frames == self._hub.written

    async def _tell(self, *, done: bool = False) -> None:
        if self._link is not None:
            behind = self._hub.frames > self._hub.written
            try:
                await self._link.tick(self._world, self._hub.written, more=behind, done=done)
            except ClientConnectionResetError:
                self._link = None

    def _paced_now(self) -> int:
        assert self._pace is not None
        began, real = self._anchor
        now = began + int((time.monotonic() - real) * SECOND_MS * self._pace)
        return min(now, self._world.market.end)

    def _seconds_until(self, moment: int) -> float:
        assert self._pace is not None
        began, real = self._anchor
        seconds = real + (moment - began) / SECOND_MS / self._pace - time.monotonic()
        return min(HEARTBEAT_SECONDS, max(0.0, seconds))
