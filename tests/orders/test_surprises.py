"""What the venue says and no rule explains: no crash, no guess, trading is reduced until a person has looked."""

from decimal import Decimal

import msgspec
import pytest
import trio.testing

from bot.errors import OperatorError
from bot.messages import ExitIntent, TradingState, TradingStateChanged
from bot.venue import Book, OrderReport, UserStreamUp, VenueStatus
from tests.orders.world import World, same_account

D = Decimal


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


async def reduced(world: World) -> None:
    """The desk lives, is REDUCING for that reason, and still lets a position go."""
    assert "contract_surprise" in world.events()
    states = [news for news in world.news if isinstance(news, TradingStateChanged)]
    assert (states[-1].state, states[-1].reason) == (TradingState.REDUCING, "contract_surprise")
    await world.enter("late", None)
    assert world.outcome("late").exit_reason == "contract_surprise"
    await world.tell(ExitIntent("sig1", "max_hold", world.clock.now()))
    assert world.net() == 0
    assert world.live() == []


@pytest.mark.parametrize(
    ("leg", "book", "status"),
    [
        ("s0", Book.ALGO, VenueStatus.PARTIALLY_FILLED),
        ("s0", Book.ALGO, VenueStatus.FILLED),
        ("s0", Book.REGULAR, VenueStatus.TRIGGERING),
        ("e0", Book.REGULAR, VenueStatus.FINISHED),
    ],
)
async def test_a_status_that_the_orders_book_does_not_have(leg: str, book: Book, status: VenueStatus) -> None:
    world = World()
    async with world.trading():
        await world.enter("sig1", None)
        await world.tell(
            OrderReport(
                client_id=f"tsb-sig1-{leg}",
                symbol="BTCUSDT",
                book=book,
                venue_id=5,
                status=status,
                buy=leg == "e0",
                quantity=D("0.010"),
                filled=D(0),
                at=world.clock.now(),
            )
        )
        await reduced(world)


async def test_an_execution_beyond_the_orders_quantity() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter("sig1", None)
        [fill] = world.engine.fills
        await world.tell(msgspec.structs.replace(fill, trade_id=900))
        assert desk.book.net("BTCUSDT") == world.net() == D("0.010")
        await reduced(world)


async def test_an_execution_on_the_wrong_side() -> None:
    world = World()
    async with world.trading() as desk:
        await world.enter()
        world.move(49_850)
        await world.quiet()
        [fill] = world.engine.fills
        await world.tell(msgspec.structs.replace(fill, trade_id=900, client_id="tsb-sig1-s0", quantity=D("0.005")))
        assert desk.book.net("BTCUSDT") == D("0.010")
        await reduced(world)


async def test_resting_entries_are_withdrawn_until_a_person_has_looked() -> None:
    world = World(arms=True)
    async with world.trading() as desk:
        await world.enter("sig1", None)
        await world.enter("sig2")
        [fill] = world.engine.fills
        await world.tell(msgspec.structs.replace(fill, trade_id=900))
        assert world.live() == ["s0", "t0"]
        assert not same_account(world, desk)  # the ledger believes the venue's word until it is asked again


async def test_an_account_that_is_switched_to_hedge_mode_under_a_running_bot() -> None:
    world = World()
    async with world.trading():
        await world.enter("sig1", None)
        world.port.hedge_mode = True
        await world.tell(UserStreamUp(world.clock.now()))
        assert len(world.stops()) == 1
        world.port.hedge_mode = False
        await world.wait(61)
        await reduced(world)


async def test_an_account_that_is_in_hedge_mode_at_the_start_is_refused() -> None:
    world = World()
    world.port.hedge_mode = True
    with pytest.raises(BaseExceptionGroup) as refused:
        async with world.trading():
            pass
    assert refused.group_contains(OperatorError, match="hedge mode", depth=None)
