"""The bot's end of the simulator's lockstep socket: time moves only when everything received has been worked on."""

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import aiohttp
import anyio
import msgspec

from bot.clock import ReplayClock
from bot.errors import VenueUnavailable
from bot.exchange.payload import Ms, decode
from bot.streams import Activity

SETTLING_TURNS = 25  # turns of the event loop; an alarm that is moved or rings needs about eight
STALL_SECONDS = 120.0  # real time in which one step must have been digested


class VenueLedger(msgspec.Struct, frozen=True):
    """The simulator's own account, to be held against the bot's."""

    wallet: Decimal
    positions: dict[str, Decimal]
    fills: int
    realized_pnl: Decimal
    fees: Decimal
    funding: Decimal
    transfers: Decimal = Decimal(0)
    fills_digest: str = ""


class Tick(msgspec.Struct, frozen=True, tag_field="type", tag="tick"):
    now: Ms
    frames: int
    done: bool
    progress: float
    ledger: VenueLedger | None = None
    more: bool = False  # frames of this moment are still to come


class Frames(Protocol):
    """Counts the text frames of the live stream sockets that have been handled."""

    @property
    def total(self) -> int: ...

    async def wait_for(self, count: int) -> None:
        """Return once `total >= count`."""
        ...


class Lockstep:
    """One replay: `run` returns after the market's last step has been digested.

    At one moment everything has its turn: the account's frames, the market's, then who slept until now, one by one.
    So two replays of one market are the same, however fast the machine is.
    """

    def __init__(
        self,
        clock: ReplayClock,
        activity: Activity,
        frames: Frames,
        on_quiet: Callable[[Tick], None],
    ) -> None:
        self._clock = clock
        self._activity = activity
        self._frames = frames
        self._on_quiet = on_quiet
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def connect(self, session: aiohttp.ClientSession, url: str, digest: bool = False) -> None:
        """Open the socket; the clock then stands at the simulator's time. Before this the market stands still."""
        self._socket = await session.ws_connect(url, max_msg_size=0)
        await self._socket.send_json({"type": "hello", "digest": digest})
        self._clock.take_turns()
        self._clock.advance((await self._next_tick()).now)

    async def run(self) -> None:
        """Answer the first tick once all is quiet, then every one. VenueError when the simulator goes away or errs."""
        done = False
        with anyio.fail_after(STALL_SECONDS):
            await self._digest(0, more=False)
        await self._answer()
        while not done:
            tick = await self._next_tick()
            self._clock.advance(tick.now)
            with anyio.fail_after(STALL_SECONDS):
                await self._digest(tick.frames, more=tick.more)
            overtaken = self._frames.total != tick.frames  # by what our own orders have caused since the tick
            self._on_quiet(msgspec.structs.replace(tick, ledger=None) if overtaken else tick)
            await self._answer()
            done = tick.done

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def _next_tick(self) -> Tick:
        if self._socket is None:
            raise VenueUnavailable("the lockstep socket is not open")
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise VenueUnavailable("the simulator closed the lockstep socket")
        return decode(message.data, Tick)

    async def _digest(self, frames: int, *, more: bool) -> None:
        await self._frames.wait_for(frames)  # once: a socket that is lost from here on takes its frames with it
        await self._activity.settle(SETTLING_TURNS)
        while not more and self._clock.wake_next():
            await self._activity.settle(SETTLING_TURNS)

    async def _answer(self) -> None:
        if self._socket is None:
            raise VenueUnavailable("the lockstep socket is not open")
        answer = {
            "type": "digested",
            "now": self._clock.now(),
            "frames": self._frames.total,
            "wake_at": self._clock.next_wake(),
        }
        await self._socket.send_json(answer)
