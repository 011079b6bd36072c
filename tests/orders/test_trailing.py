"""A trailing stop under random prices, moves, refusals and lost answers: it only improves, and one always stands."""

from decimal import Decimal

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Side, StopMove
from bot.orders.cover import CONDITIONAL_LIMIT
from bot.venue import Book, OrderReport
from tests.orders.world import FaultyTrading, World, agrees

D = Decimal
FATES = (None, None, "before", "after", -1111, -4045, -2021, -2022)  # of the next stop that is sent
STEPS = st.lists(
    st.tuples(
        st.integers(-4, 6),  # the price's move in the position's favour, in tenths of a percent
        st.integers(1, 12),  # how far behind the price the stop is asked for, in tenths of a percent
        st.sampled_from(FATES),
        st.booleans(),  # whether cancels get lost
    ),
    min_size=2,
    max_size=12,
)


class NeverBare(FaultyTrading):
    """Looks at the stops after each cancel, and not only when all is done."""

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        report = await super().cancel(symbol, client_id, book)
        held = abs(sum((position.quantity for position in self.engine.positions()), D(0)))
        stops = [algo.quantity for algo in self.engine.algos.values() if algo.is_open and algo.type == "STOP_MARKET"]
        assert max(stops, default=D(0)) >= held, f"{client_id} was cancelled and left {held} bare"
        return report


class Trail:
    def __init__(self, side: Side, steps: list[tuple[int, int, object, bool]]) -> None:
        self.side, self.steps = side, steps
        self.world = World()
        self.world.port = NeverBare(self.world.engine, self.world._tell_desk)
        self.price = D(50_000)
        self.best = D(0)
        self.placed = 0

    async def run(self) -> None:
        async with self.world.trading() as desk:
            await self.world.enter("sig1", None, self.side)
            for favour, behind, fate, deaf in self.steps:
                self.arm(fate)
                self.world.port.deaf_to_cancels = deaf
                self.price = (self.price * (1000 + favour * self.side.sign) / 1000).quantize(D("0.1"))
                self.world.move(float(self.price))  # type: ignore[arg-type]  # Decimal math stays Decimal
                await self.world.quiet()
                level = float(self.price) * (1 - self.side.sign * behind / 1000)
                await self.world.tell(StopMove("sig1", level, "trailing_stop", self.world.clock.now()))
                self.look()
            self.world.port.deaf_to_cancels = False
            self.world.port.lose.clear()
            self.world.port.refuse.clear()
            await self.world.wait(12)
            assert agrees(self.world, desk)
            assert len(self.world.stops()) <= 1

    def arm(self, fate: object) -> None:
        """What becomes of the stop that would be sent next."""
        revision = len([end for end in self.world.store.orders if "-s" in end])
        self.world.port.lose = {f"s{revision}": fate} if isinstance(fate, str) else {}
        self.world.port.refuse = {f"s{revision}": fate} if isinstance(fate, int) else {}

    def look(self) -> None:
        stops = self.world.stops()
        assert len(stops) <= CONDITIONAL_LIMIT
        if self.world.net() == 0:
            return
        assert stops, "open and without a stop"
        assert max(quantity for quantity, _ in stops) >= abs(self.world.net())
        best = max(trigger * self.side.sign for _, trigger in stops)
        assert self.best == 0 or best >= self.best, "the best stop went back"
        self.best = best


@pytest.mark.parametrize("side", list(Side))
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_a_stop_only_improves_and_one_stands_at_all_times(
    side: Side, steps: list[tuple[int, int, object, bool]]
) -> None:
    trio.run(Trail(side, steps).run, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_stop_is_not_taken_away_before_the_next_one_stands() -> None:
    steps: list[tuple[int, int, object, bool]] = [(4, 1, None, False)] * 3
    trio.run(Trail(Side.LONG, steps).run, clock=trio.testing.MockClock(autojump_threshold=0))
