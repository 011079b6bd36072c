"""Whatever entries, exits, stop moves and prices come: no position's quantity ever changes its sign."""

from decimal import Decimal

import msgspec
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import ExitIntent, PositionChanged, PositionStatus, Side, StopMove
from tests.orders.world import World

D = Decimal
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from(["LONG", "SHORT"])),
        st.tuples(st.just("move"), st.integers(-15, 15)),  # tenths of a percent
        st.tuples(st.just("exit"), st.integers(0, 5)),
        st.tuples(st.just("stop"), st.integers(0, 5)),
        st.tuples(st.just("lose"), st.sampled_from(["x0", "s1", "t0"])),
    ),
    min_size=4,
    max_size=18,
)


class Play:
    """One desk on a venue that fills in parts; looks at every position after every action."""

    def __init__(self, actions: list[tuple[str, str | int]]) -> None:
        self.actions = actions
        self.world = World()
        self.world.engine.settings = msgspec.structs.replace(self.world.engine.settings, partial_fill_probability=0.5)
        self.price = D(50_000)
        self.entered = 0

    async def run(self) -> None:
        async with self.world.trading():
            for what, argument in self.actions:
                await self.act(what, argument)
                await self.world.wait(3)
                self.look()

    async def act(self, what: str, argument: str | int) -> None:
        ids = list(self.world.store.positions)
        chosen = ids[int(argument) % len(ids)] if ids and what in ("exit", "stop") else None
        now = self.world.clock.now()
        if what == "enter":
            self.entered += 1
            await self.world.enter(f"sig{self.entered}", limit=None, side=Side(argument))
        elif what == "move":
            self.price = (self.price * (1000 + int(argument)) / 1000).quantize(D("0.1"))
            self.world.move(float(self.price))  # type: ignore[arg-type]
            await self.world.quiet()
        elif what == "lose":
            self.world.port.lose[str(argument)] = "after"
        elif chosen is not None and what == "exit":
            await self.world.tell(ExitIntent(chosen, "red_after", now))
        elif chosen is not None:
            side = self.world.position(chosen).side
            await self.world.tell(StopMove(chosen, float(self.price) * (1 - side.sign * 0.004), "trailing_stop", now))

    def look(self) -> None:
        told = [news.position for news in self.world.news if isinstance(news, PositionChanged)]
        for position in told:
            assert 0 <= position.closed <= position.filled <= position.intended
        open_sides = {p.side for p in self.world.store.positions.values() if p.status is not PositionStatus.CLOSED}
        assert len(open_sides) <= 1
        held = sum((p.open_quantity * p.side.sign for p in self.world.store.positions.values()), D(0))
        assert held == self.world.net()
        self.world.news.clear()


@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS)
def test_a_positions_quantity_never_flips_its_sign(actions: list[tuple[str, str | int]]) -> None:
    trio.run(Play(actions).run, clock=trio.testing.MockClock(autojump_threshold=0))
