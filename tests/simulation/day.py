"""A day from a seed: its market, its variants, what goes wrong and when the process dies."""

import random
from typing import Any

import msgspec

from bot.config import OrdersTable
from bot.exchange.fault_kinds import FaultKind
from bot.exchange.faults import Fault
from bot.exchange.matching import Settings
from bot.exchange.matching.switches import Switches
from tests.simulation.life import Crash

K = FaultKind
START = 1_740_960_000_000  # 2025-03-03 00:00 UTC, a Monday
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
ORDERS = "POST /fapi/v1/*rder"
ANY_ORDER_CALL = "* /fapi/v1/*rder"
DAY_SECONDS = 86_400.0


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """The database is away."""

    at_seconds: float
    seconds: float

    def __str__(self) -> str:
        return f"is away at {self.at_seconds:.0f} s for {self.seconds:.0f} s"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    symbols: tuple[str, ...] = SYMBOLS[:2]
    profile: str = "stress"
    hours: float = 24.0
    variants: tuple[dict[str, Any], ...] = ()
    faults: tuple[Fault, ...] = ()
    crashes: tuple[Crash, ...] = ()  # of the first process, the second, ...
    outages: tuple[Outage, ...] = ()
    settings: Settings = Settings()
    orders: OrdersTable = OrdersTable()
    guarded: bool = False  # the account guards are on
    still: bool = False  # prices do not move

    def __str__(self) -> str:
        lines = [f"day {self.seed}: {', '.join(self.symbols)}, {self.profile}, {self.hours:g} h"]
        lines += [f"  variant {one['variant']['name']}: {_plain(one)}" for one in self.variants]
        lines += [f"  fault   {_words(fault)}" for fault in self.faults]
        lines += [f"  database {outage}" for outage in self.outages]
        lines += [f"  process {number} {crash}" for number, crash in enumerate(self.crashes, 1)]
        return "\n".join(lines)


def day(seed: int) -> Day:
    chance = random.Random(f"day/{seed}")
    symbols = SYMBOLS[: chance.choice((1, 2, 2, 3))]
    calm = chance.random() < 0.05
    takes_stops_while_flat = chance.random() < 0.5
    return Day(
        seed=seed,
        symbols=symbols,
        hours=24 if takes_stops_while_flat else 21,  # after a day such a venue is asked again
        profile=chance.choice(("normal", "stress", "stress")),
        variants=tuple(_variant(chance, number, symbols) for number in range(chance.choice((1, 2, 2, 3)))),
        faults=() if calm else tuple(_fault(chance, symbols) for _ in range(chance.randint(2, 7))),
        crashes=tuple(_crash(chance) for _ in range(chance.choice((0, 0, 1, 1, 2, 4)))),
        outages=tuple(_outage(chance) for _ in range(chance.choice((0, 0, 0, 1, 2)))),
        settings=Settings(
            seed=seed,
            partial_fill_probability=chance.choice((0.0, 0.3, 0.7)),
            switches=_switches(chance, takes_stops_while_flat),
        ),
        orders=OrdersTable(
            prearm_stops=chance.random() < 0.7,
            check_seconds=chance.choice((60, 300, 300, 300)),
            watch_seconds=5 if chance.random() < 0.05 else 60,
        ),
        guarded=chance.random() < 0.2,
    )


def _switches(chance: random.Random, takes_stops_while_flat: bool) -> Switches:
    """What is not known of the real venue, either way, as far as it is to be seen behind the ports."""
    return Switches(
        reduce_only_algo_while_flat=takes_stops_while_flat,
        algos_count_as_orders=chance.random() < 0.5,
        position_lag_ms=chance.choice((0, 0, 0, 150, 400)),
        position_lag_code=chance.choice((-2022, -4118)),
        liquidation_cancels_algos=chance.random() < 0.5,
        liquidation_fill_stays_new=chance.random() < 0.5,
        countdown_cancels_algos=chance.random() < 0.5,
        account_update_first=chance.random() < 0.5,
    )


def _variant(chance: random.Random, number: int, symbols: tuple[str, ...]) -> dict[str, Any]:
    minute = 3 + 7 * number
    trail = chance.choice((0.0, 0.2, 0.4))
    floor = chance.choice((0.0, 0.3))
    exits: dict[str, Any] = {
        "stop_pct": chance.choice((0.3, 0.6, 1.2, 2.0)),
        "target_pct": chance.choice((0.0, 0.5, 1.0, 2.0)),
        "trail_arm_pct": trail,
        "trail_pct": trail,
        "floor_arm_pct": floor,
        "floor_keep_pct": floor / 3,
        "max_hold_minutes": chance.choice((0, 45, 120, 240)),
        "red_after_minutes": chance.choice((0, 60)),
    }
    entry = chance.choice(("market", "atr05", "atr05", "atr05", "fib"))
    own = {"entry": {"atr05": {"atr_multiple": chance.choice((0.05, 0.15, 0.3))}}} if entry == "atr05" else {}
    return {
        **own,
        "variant": {
            "name": f"V{number}",
            "tier": "t1",
            "symbols": list(symbols),
            "minutes": [minute, minute + 30],
            "entry": entry,
            "threshold_pct": chance.choice((0.2, 0.4, 0.6)),
            "entry_ttl_minutes": chance.choice((10, 29, 60, 120)),
            "post_only": chance.random() < 0.3,
        },
        "sizing": {"margin_usdt": chance.choice((100, 300)), "leverage": chance.choice((5, 10)),
                   "max_positions_per_symbol": chance.choice((1, 2, 3))},
        "exits": exits,
    }  # fmt: skip


def _span(chance: random.Random) -> dict[str, float]:
    """A time of the day in which a fault strikes, or all of it."""
    if chance.random() < 0.5:
        return {}
    begin = round(chance.uniform(600, DAY_SECONDS - 7_200))
    return {"after_seconds": begin, "until_seconds": begin + round(chance.uniform(60, 7_200))}


def _often(chance: random.Random) -> dict[str, float]:
    pick = chance.random()
    if pick < 0.4:
        return {"probability": chance.choice((0.02, 0.1, 0.3, 0.7))}
    return {"nth": chance.randint(1, 12)} if pick < 0.7 else {"every": chance.randint(3, 15)}


def _at(chance: random.Random) -> dict[str, Any]:
    """A moment: of the clock, or right after something that matters."""
    if chance.random() < 0.4:
        upon = chance.choice(("ORDER_TRADE_UPDATE", "ALGO_UPDATE", ORDERS, "DELETE /fapi/v1/*rder"))
        return {"upon": upon, "nth": chance.randint(1, 15)}
    return {"after_seconds": round(chance.uniform(600, DAY_SECONDS - 3_600))}


def _outage(chance: random.Random) -> Outage:
    return Outage(at_seconds=round(chance.uniform(60, DAY_SECONDS - 10_000)), seconds=chance.choice((2.0, 60.0, 900.0)))


def _crash(chance: random.Random) -> Crash:
    outage = chance.choice((1.0, 15.0, 120.0, 1_800.0))
    kind = chance.random()
    if kind < 0.3:
        return Crash(at_seconds=round(chance.uniform(30, 40_000), 1), outage_seconds=outage)
    after = chance.random() < 0.5
    if kind < 0.65:
        return Crash(call=chance.randint(1, 400), after=after, outage_seconds=outage)
    return Crash(commit=chance.randint(1, 300), after=after, outage_seconds=outage)


LOSSES = ("dropped", "no_answer", "503", "408", "502")
READS = "GET /fapi/*"

# Each kind as a day may have it. What is missing strikes below the ports, where a payload is read: it is tested over
# sockets (tests/exchange/simulator).
MENU: dict[FaultKind, Any] = {
    K.LOST_AFTER: lambda c, s: {"on": ANY_ORDER_CALL, "form": c.choice(LOSSES), **_often(c), **_span(c)},
    K.LOST_BEFORE: lambda c, s: {"on": ANY_ORDER_CALL, "form": c.choice(LOSSES), **_often(c), **_span(c)},
    K.UNAVAILABLE: lambda c, s: {
        "on": c.choice((ANY_ORDER_CALL, READS, "* /fapi/*")), "form": c.choice(("busy", "internal")), **_often(c),
        **_span(c)},
    K.THROTTLED: lambda c, s: {"on": ANY_ORDER_CALL, **_often(c), **_span(c)},
    K.TOO_MANY: lambda c, s: {"on": "* /fapi/*", "seconds": c.choice((5, 20)), "nth": c.randint(20, 400)},
    K.BANNED: lambda c, s: {"on": "* /fapi/*", "seconds": c.choice((30, 120)), "nth": c.randint(20, 400)},
    K.LAG: lambda c, s: {"on": READS, "seconds": c.choice((0.3, 1.0, 3.0)), **_span(c)},
    K.CLOCK_STEP: lambda c, s: {"seconds": 8, **_at(c)},
    K.TRIGGER_STUCK: lambda c, s: {**_often(c), **_span(c)},
    K.TRIGGER_REJECTED: lambda c, s: {**_often(c), **_span(c)},
    K.TRIGGER_LATE: lambda c, s: {"seconds": c.choice((1, 4, 20)), **_often(c), **_span(c)},
    K.CHILD_PARTIAL: lambda c, s: {"value": c.choice((0.1, 0.5, 0.9)), **_often(c), **_span(c)},
    K.STOP_VANISHES: lambda c, s: {"symbol": c.choice(s), "form": c.choice(("silent", "expired")), **_at(c)},
    K.EVENT_DELAYED: lambda c, s: {"seconds": c.choice((0.5, 3, 30)), **_often(c), **_span(c)},
    K.EVENT_LOST: lambda c, s: {**_often(c), **_span(c)},
    K.EVENT_REPEATED: lambda c, s: {**_often(c), **_span(c)},
    K.EVENT_REORDERED: lambda c, s: {**_often(c), **_span(c)},
    K.LISTEN_KEY_EXPIRES: lambda c, s: _at(c),
    K.SOCKET_SILENT: lambda c, s: {"on": c.choice(("*", "/private", "/market")), **_at(c)},
    K.SOCKET_RESET: lambda c, s: {"on": c.choice(("*", "/private", "/market")), **_at(c)},
    K.SOCKET_CLOSED: lambda c, s: {"on": c.choice(("*", "/private", "/market")), **_at(c)},
    K.DAY_CUT: lambda c, s: {"on": "*", **_at(c)},
    K.NO_PONG: lambda c, s: {"on": "/private", **_at(c)},
    K.KLINE_LATE: lambda c, s: {"seconds": c.choice((3, 30)), **_often(c)},
    K.KLINE_MISSING: lambda c, s: _often(c),
    K.KLINE_REPEATED: lambda c, s: _often(c),
    K.KLINE_REVISED: lambda c, s: _often(c),
    K.KLINE_GAP: lambda c, s: {"nth": c.randint(1, 20)},
    K.MARKET_SILENT: lambda c, s: {"seconds": c.choice((30, 600, 5_000)), **_at(c)},
    K.SETTLING: lambda c, s: {"symbol": s[-1], **_at(c)},
    K.FILTER_CHANGE: lambda c, s: {"symbol": c.choice(s), "key": "tick_size", "value": 1, **_at(c)},
    K.LEVERAGE_LOWERED: lambda c, s: {"symbol": c.choice(s), "value": 5, **_at(c)},
    K.LIQUIDATION: lambda c, s: {"symbol": c.choice(s), **_at(c)},
    K.ADL: lambda c, s: {"symbol": c.choice(s), "value": c.choice((0.3, 1.0)), **_at(c)},
    K.FOREIGN_ORDER: lambda c, s: {"symbol": c.choice(s), "value": c.choice((1, -1)), **_at(c)},
    K.FOREIGN_POSITION: lambda c, s: {"symbol": c.choice(s), "value": c.choice((100, -100)), **_at(c)},
}  # fmt: skip


def _fault(chance: random.Random, symbols: tuple[str, ...]) -> Fault:
    kinds = [kind for kind in MENU if kind is not K.SETTLING or len(symbols) > 1]  # who has nothing to trade may end
    kind = chance.choice(kinds)
    return Fault(kind=kind, **MENU[kind](chance, symbols))


def _words(fault: Fault) -> str:
    given = {f.name: getattr(fault, f.name) for f in msgspec.structs.fields(fault) if f.name != "kind"}
    defaults = {f.name: f.default for f in msgspec.structs.fields(fault)}
    told = ", ".join(f"{name}={value}" for name, value in given.items() if value != defaults[name])
    return f"{fault.kind} {told}"


def _plain(table: dict[str, Any]) -> str:
    entry = table.get("entry", {}).get(table["variant"]["entry"], {})
    keys = {**table["variant"], **entry, **table["exits"], **table["sizing"]}
    return " ".join(f"{key}={value}" for key, value in keys.items() if key not in ("name", "tier", "symbols"))
