"""The trading state as the desk obeys it, tells it and keeps it over a restart."""

import pytest

from bot.messages import PERSON, StandingOrder, StandingReleased, TradingState, TradingStateChanged
from tests.orders.world import World

pytestmark = pytest.mark.anyio
ANNA = f"{PERSON}anna"
SURPRISE = StandingOrder(state=TradingState.REDUCING, reason="contract_surprise", by="wire", detail="status MAYBE")


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def told_states(world: World) -> list[TradingState]:
    return [news.state for news in world.news if isinstance(news, TradingStateChanged)]


async def test_an_order_to_reduce_denies_entries_until_a_person_lifts_it() -> None:
    world = World()
    async with world.trading():
        await world.tell(SURPRISE)
        await world.enter("sig1", None)
        assert world.outcome().exit_reason == "contract_surprise"
        await world.tell(StandingReleased(reason="contract_surprise", by="wire"))
        assert "release_refused" in world.events()
        await world.enter("sig2", None)
        assert world.net() == 0
        await world.tell(StandingReleased(reason=None, by=ANNA))
        await world.enter("sig3", None)
        assert world.net() > 0
    assert told_states(world)[-2:] == [TradingState.REDUCING, TradingState.ACTIVE]


async def test_what_waits_for_a_person_still_stands_after_a_restart() -> None:
    world = World()
    async with world.trading():
        await world.tell(SURPRISE)
    async with world.trading():
        await world.enter("sig1", None)
        assert world.outcome().exit_reason == "contract_surprise"
        await world.tell(StandingReleased(reason="contract_surprise", by=ANNA))
    async with world.trading():
        await world.enter("sig2", None)
        assert world.net() > 0


async def test_an_automatic_order_is_lifted_by_whoever_gave_it_and_is_not_kept() -> None:
    world = World()
    away = StandingOrder(state=TradingState.REDUCING, reason="database_away", by="journal")
    async with world.trading():
        await world.tell(away)
        await world.enter("sig1", None)
        assert world.outcome().exit_reason == "database_away"
        await world.tell(StandingReleased(reason="database_away", by="journal"))
        await world.enter("sig2", None)
        assert world.net() > 0
        await world.tell(away)
    async with world.trading():
        await world.enter("sig3", None)
        assert world.outcome("sig3").fill_status == "filled"


async def test_an_order_to_be_active_lifts_its_reason_and_holds_nothing() -> None:
    world = World()
    async with world.trading():
        await world.tell(SURPRISE)
        await world.tell(StandingOrder(state=TradingState.ACTIVE, reason="contract_surprise", by=ANNA))
        await world.enter("sig1")
        assert world.live() == ["e0"]
