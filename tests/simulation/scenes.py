"""Days with one thing wrong, for tests that look closely at what the bot made of it."""

from decimal import Decimal
from typing import Any

from bot.config import OrdersTable
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault
from bot.exchange.matching import Settings
from bot.messages import Side
from tests.simulation.day import Day
from tests.simulation.life import Crash
from tests.simulation.world import World, live

FULL = Settings(seed=1, partial_fill_probability=0.0)
WATCHFUL = OrdersTable(watch_seconds=15)
SHARED = Settings(seed=1, partial_fill_probability=1.0)


def variant(
    symbols: tuple[str, ...] = ("BTCUSDT",), entry: str = "market", threshold: float = 0.2, **exits: Any
) -> dict[str, Any]:
    """Trades nearly every half hour."""
    own = {"entry": {"atr05": {"atr_multiple": 0.05}}} if entry == "atr05" else {}
    return {
        **own,
        "variant": {
            "name": "V", "tier": "t1", "symbols": list(symbols), "minutes": [3, 33], "entry": entry,
            "threshold_pct": threshold, "entry_ttl_minutes": 25,
        },
        "sizing": {"margin_usdt": 200, "leverage": 10, "max_positions_per_symbol": 3},
        "exits": {"stop_pct": 0.25, "target_pct": 0.4, "trail_arm_pct": 0, "trail_pct": 0, "max_hold_minutes": 100,
                  "red_after_minutes": 0, **exits},
    }  # fmt: skip


def lived(
    *faults: Fault,
    hours: float = 8,
    seed: int = 3,
    symbols: tuple[str, ...] = ("BTCUSDT",),
    entry: str = "market",
    threshold: float = 0.2,
    settings: Settings = FULL,
    crashes: tuple[Crash, ...] = (),
    still: bool = False,
    exits: dict[str, Any] | None = None,
    orders: OrdersTable = WATCHFUL,
) -> World:
    """A day that was lived through, with its trace."""
    return live(
        Day(
            seed=seed, symbols=symbols, hours=hours, variants=(variant(symbols, entry, threshold, **(exits or {})),),
            faults=faults, crashes=crashes, settings=settings, still=still, orders=orders,
        ),
        keep=1_000_000,
    )  # fmt: skip


def fault(kind: FaultKind, **parameters: Any) -> Fault:
    return Fault(kind=kind, **parameters)


def unbroken(world: World) -> World:
    assert [str(broken) for broken in world.lived.broken] == []
    return world


def results(world: World) -> dict[str, tuple[object, ...]]:
    """What came of each position, by the signal's id."""
    return {
        p.position_id: (p.status, p.filled, p.closed, p.exit_reason, p.gross_pnl, p.fees)
        for p in world.tables.positions.values()
    }


def stops_of(world: World, position_id: str) -> list[Decimal]:
    """The trigger prices of a position's stops, in the order in which the venue took them."""
    return [
        algo.trigger_price
        for algo in world.exchange.engine.algos.values()
        if algo.type == "STOP_MARKET" and f"-{position_id}-" in algo.client_id
    ]


def only_better(levels: list[Decimal], side: Side) -> bool:
    pairs = zip(levels, levels[1:], strict=False)
    return all((later - earlier) * side.sign >= 0 for earlier, later in pairs)
