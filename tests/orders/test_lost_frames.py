"""One frame of a healthy user stream is lost, late, doubled or swapped: the account is one again within a check."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest
import trio.testing

from bot.messages import ExitIntent, StopMove
from bot.venue import UserEvent
from tests.orders.world import CALM, World, agrees

CHECK_S = 8
FRAMES = 24  # no trade below has more


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


class Stream:
    """Does `fault` to the frame with the number `nth`."""

    def __init__(self, world: World, nth: int, fault: str) -> None:
        self.world, self.nth, self.fault = world, nth, fault
        self.count = 0
        self.kept: list[UserEvent] = []

    def __call__(self, frame: list[UserEvent]) -> list[UserEvent]:
        self.count += 1
        if self.count - 1 != self.nth:
            late, self.kept = (self.kept, []) if self.fault == "swap" else ([], self.kept)
            return [*frame, *late]
        if self.fault in ("late", "swap"):
            self.kept = frame
        return frame * 2 if self.fault == "double" else []

    def deliver_late(self) -> None:
        for event in self.kept:
            self.world._tell_desk(event)
        self.kept = []


async def to_target(world: World) -> None:
    await world.enter()
    world.move(49_890)
    await world.quiet()
    world.move(49_850)
    await world.quiet()
    world.move(51_000)
    await world.quiet()


async def to_moved_stop(world: World) -> None:
    await world.enter()
    world.move(49_850)
    await world.quiet()
    await world.tell(StopMove("sig1", 49_700.0, "trailing_stop", world.clock.now()))
    world.move(49_600)
    await world.quiet()


async def to_exit(world: World) -> None:
    await world.enter(limit=None)
    await world.enter("sig2", limit=None)
    await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))


async def to_expiry(world: World) -> None:
    await world.enter()
    world.move(50_100, minutes=60)
    await world.quiet()


TRADES: list[Callable[[World], Awaitable[None]]] = [to_target, to_moved_stop, to_exit, to_expiry]


@pytest.mark.parametrize("arms", [True, False], ids=["armed", "unarmed"])
@pytest.mark.parametrize("fault", ["lost", "late", "double", "swap"])
@pytest.mark.parametrize("trade", TRADES)
async def test_any_single_frame(trade: Callable[[World], Awaitable[None]], fault: str, arms: bool) -> None:
    for nth in range(FRAMES):
        world = World(arms=arms, settings=msgspec.structs.replace(CALM, partial_fill_probability=0.5))
        world.check_ms = CHECK_S * 1_000
        stream = world.port.through = Stream(world, nth, fault)
        async with world.trading() as desk:
            await trade(world)
            await world.wait(CHECK_S + 3)
            assert fault in ("late", "swap") or agrees(world, desk), nth
            stream.deliver_late()
            await world.wait(CHECK_S + 3)
            assert agrees(world, desk), nth
            assert "contract_surprise" not in world.events()
            assert desk._gate.why_no_entry == ""
        if stream.count <= nth:
            return
    raise AssertionError("a trade has more frames than are tried")
