"""The judge is judged: each invariant is broken on purpose, and says so."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from bot.clock import MINUTE_MS
from bot.messages import PositionStatus
from tests.simulation.database import Tables
from tests.simulation.invariants import CHANGE_MS, next_change, settled, uncovered
from tests.simulation.scenes import lived
from tests.simulation.world import World


@pytest.fixture(scope="module")
def world() -> World:
    """A morning that ends with an open position."""
    found = lived(hours=0.25, still=True, threshold=0.001)
    assert found.exchange.held()
    return found


def broken_by(world: World, spoil: Callable[[World], None]) -> set[str]:
    tables = world.tables
    kept = {name: dict(getattr(tables, name)) for name in ("orders", "positions", "fills", "funding")}
    spoil(world)
    rules = {rule for rule, _ in settled(world.exchange, tables)}
    for name, rows in kept.items():
        setattr(tables, name, rows)
    return rules


def only(world: World) -> str:
    return next(p.position_id for p in world.tables.open_positions() if p.open_quantity > 0)


def lose_a_fill(world: World) -> None:
    world.tables.fills.popitem()


def book_a_price_wrong(world: World) -> None:
    key, (fill, position_id, leg) = world.tables.fills.popitem()
    world.tables.fills[key] = msgspec.structs.replace(fill, price=fill.price + 1), position_id, leg


def hold_more_than_the_venue(world: World) -> None:
    position = world.tables.positions[only(world)]
    world.tables.positions[only(world)] = msgspec.structs.replace(position, filled=position.filled + Decimal("0.001"))


def close_what_is_open(world: World) -> None:
    position = world.tables.positions[only(world)]
    world.tables.positions[position.position_id] = msgspec.structs.replace(position, status=PositionStatus.CLOSED)


def forget_the_orders(world: World) -> None:
    world.tables.orders.clear()


def test_a_settled_world_breaks_nothing(world: World) -> None:
    assert broken_by(world, lambda _: None) == set()


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lose_a_fill, "ledger_equals_venue"),
        (book_a_price_wrong, "ledger_equals_venue"),
        (hold_more_than_the_venue, "positions_equal_venue"),
        (hold_more_than_the_venue, "one_stop_of_the_exact_quantity"),
        (close_what_is_open, "no_live_order_without_owner"),
        (forget_the_orders, "no_live_order_without_owner"),
        (forget_the_orders, "one_stop_of_the_exact_quantity"),
    ],
)
def test_what_is_spoilt_is_noticed(world: World, spoil: Callable[[World], None], rule: str) -> None:
    assert rule in broken_by(world, spoil)


def test_a_position_without_a_stop_is_seen_at_the_venue(world: World) -> None:
    exchange = world.exchange
    assert uncovered(exchange, "BTCUSDT") == 0
    for algo in exchange.engine.open_algos():
        exchange.engine.expire_algo(algo.algo_id)
    assert uncovered(exchange, "BTCUSDT") == abs(exchange.held()["BTCUSDT"])


def test_what_time_has_just_ended_counts_until_its_other_legs_are_gone(world: World) -> None:
    """Another change, for which the evening waited, may end at the very moment of this one (seed 700750)."""
    tables, position = Tables(), world.tables.positions[only(world)]
    assert position.opened_at is not None
    assert position.exits.max_hold_ms is not None
    due = position.opened_at + position.exits.max_hold_ms
    tables.positions = {position.position_id: position}
    assert next_change(tables, due - 1, MINUTE_MS) == due
    assert next_change(tables, due + 20, MINUTE_MS) == due
    closed = msgspec.structs.replace(position, status=PositionStatus.CLOSED, closed_at=due + 40)
    tables.positions = {position.position_id: closed}
    assert next_change(tables, due + 100, MINUTE_MS) == due + 40
    assert next_change(tables, due + 40 + CHANGE_MS, MINUTE_MS) is None
