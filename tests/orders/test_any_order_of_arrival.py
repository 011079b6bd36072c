"""What happened at a trigger arrives in any order, with answers in between: book and ledger end the same."""

from decimal import Decimal
from functools import cache

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Position
from bot.orders.desk import AlarmRang
from bot.orders.sender import CHECK
from bot.venue import OrderState, UserEvent, UserStreamUp
from tests.orders.world import CALM, World, agrees

D = Decimal
EVENTS = 12  # more than any of the ends below has
ANSWERS = ("check", "reconcile", "ask s0", "ask t0")


class End:
    """A position that is closed by one of its legs, told frame by frame in a chosen order."""

    def __init__(self, price: int, *, in_parts: bool, order: list[int], answers: list[tuple[int, str]]) -> None:
        self.price, self.in_parts, self.order, self.answers = price, in_parts, order, answers
        self.world = World(arms=True)
        self.result: tuple[object, ...] = ()

    async def run(self) -> None:
        world = self.world
        async with world.trading() as desk:
            await world.enter()
            world.move(49_850)
            await world.quiet()
            if self.in_parts:
                world.engine.settings = msgspec.structs.replace(CALM, partial_fill_probability=1.0)
            told: list[UserEvent] = []
            publish, world.port._publish = world.port._publish, told.append
            world.move(self.price)
            world.port._publish = publish
            assert 4 <= len(told) <= EVENTS
            places = sorted(range(len(told)), key=lambda i: self.order[i])
            for step, place in enumerate(places):
                for _, answer in [one for one in self.answers if one[0] == step]:
                    await self.ask(answer)
                await world.tell(told[place])
            await world.wait(7)
            assert agrees(world, desk)
            assert "contract_surprise" not in world.events()
            assert desk._gate.why_no_entry == ""
        self.result = (money(world.position()), executed(world), world.live())

    async def ask(self, answer: str) -> None:
        if answer == "reconcile":
            await self.world.tell(UserStreamUp(self.world.clock.now()))
            return
        assert self.world.desk is not None
        key = CHECK if answer == "check" else f"tsb-sig1-{answer[-2:]}"
        self.world.desk._sender.recheck(key, 0)
        await self.world.tell(AlarmRang())


def money(position: Position) -> tuple[object, ...]:
    return (
        position.status,
        position.exit_reason,
        position.filled,
        position.closed,
        position.exit_price,
        position.net_pnl,
    )


def executed(world: World) -> dict[str, tuple[OrderState, Decimal]]:
    """Of what was placed and cancelled on the way the number depends on the order of arrival."""
    return {row.client_id: (row.state, row.filled) for row in world.store.orders.values() if row.filled > 0}


def play(end: End) -> tuple[object, ...]:
    trio.run(end.run, clock=trio.testing.MockClock(autojump_threshold=0))
    return end.result


@cache
def straight(price: int, in_parts: bool) -> tuple[object, ...]:
    return play(End(price, in_parts=in_parts, order=list(range(EVENTS)), answers=[]))


@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
@pytest.mark.parametrize("price", [48_500, 51_000], ids=["stop", "target"])
@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(range(EVENTS)),
    answers=st.lists(st.tuples(st.integers(0, EVENTS), st.sampled_from(ANSWERS)), max_size=3),
)
def test_any_permutation_ends_in_the_same_account(
    price: int, in_parts: bool, order: list[int], answers: list[tuple[int, str]]
) -> None:
    assert play(End(price, in_parts=in_parts, order=order, answers=answers)) == straight(price, in_parts)
