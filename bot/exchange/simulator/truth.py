"""What really happened, for those who check a bot: the log, the ledger, time without a stop, equity."""

import hashlib
from decimal import Decimal
from typing import Any

from bot.clock import HOUR_MS
from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import (
    ZERO,
    AlgoUpdated,
    EngineEvent,
    Execution,
    MarginCalled,
    OrderUpdated,
)
from bot.venue import Fill

COVERS = frozenset({"STOP_MARKET", "TRAILING_STOP_MARKET"})


class TruthLog:
    """Append-only; `n` counts from 0."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, at: int, what: str, **fields: Any) -> None:
        self._entries.append({"n": len(self._entries), "at": at, "what": what} | fields)

    def after(self, n: int) -> list[dict[str, Any]]:
        """Entries with a number above `n`."""
        return self._entries[max(0, n + 1) :]

    def note(self, event: EngineEvent) -> None:
        if isinstance(event, OrderUpdated):
            self._note_order(event)
        elif isinstance(event, AlgoUpdated):
            algo = event.algo
            self.add(
                event.at,
                "algo",
                status=algo.status.value,
                symbol=algo.symbol,
                client_id=algo.client_id,
                algo_id=algo.algo_id,
                reason=algo.reject_reason,
            )
        elif isinstance(event, MarginCalled):
            self.add(event.at, "margin_call", symbols=[position.symbol for position, _ in event.positions])
        elif event.reason in ("DEPOSIT", "WITHDRAW"):
            self.add(event.at, "transfer", amount=plain(event.balance_change))
        elif event.reason == "FUNDING_FEE":
            self.add(event.at, "funding", symbol=event.symbol, amount=plain(event.balance_change))

    def _note_order(self, event: OrderUpdated) -> None:
        order = event.order
        fields: dict[str, Any] = {"symbol": order.symbol, "client_id": order.client_id, "order_id": order.order_id}
        if event.execution is Execution.AMENDMENT:
            fields |= {"quantity": plain(order.quantity), "price": plain(order.price)}
            self.add(event.at, "amendment", status=order.status.value, **fields)
        elif event.fill is None:
            self.add(event.at, "order", status=order.status.value, **fields)
        else:
            fields |= fill_row(event.fill)
            self.add(fields.pop("at"), "fill", status=order.status.value, **fields)


class Cover:
    """Virtual time during which a symbol's net position was larger than its waiting reduce-only market stops.

    A stop that is stuck in TRIGGERING covers nothing: it will never execute.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._exposed: set[str] = set()
        self.attended = False  # a bot is connected
        self.naked_ms = 0
        self.naked_attended_ms = 0

    def measure(self, symbol: str) -> None:
        """Look again at a symbol whose position or stops changed."""
        quantity = self._engine.position(symbol).quantity
        covered = ZERO
        for algo in self._engine.open_algos(symbol):
            closing = algo.buy == (quantity < 0)
            if closing and algo.reduce_only and algo.type in COVERS:
                covered += quantity.copy_abs() if algo.close_position else algo.quantity
        if quantity.copy_abs() > covered:
            self._exposed.add(symbol)
        else:
            self._exposed.discard(symbol)

    def pass_time(self, elapsed_ms: int) -> None:
        naked_ms = elapsed_ms * len(self._exposed)
        self.naked_ms += naked_ms
        if self.attended:
            self.naked_attended_ms += naked_ms


class Equity:
    """The wallet with the open positions at their marks, and its largest fall as a share of the peak."""

    def __init__(self, equity: Decimal) -> None:
        self._peak = float(equity)
        self._hour: list[tuple[int, Decimal]] = []  # first, lowest and highest point of the hour that runs
        self._past: list[tuple[int, Decimal]] = []
        self.deepest = 0.0

    def see(self, at: int, equity: Decimal) -> None:
        value = float(equity)
        self._peak = max(self._peak, value)
        if self._peak > 0:
            self.deepest = max(self.deepest, 1 - value / self._peak)
        point = (at, equity)
        if not self._hour or at // HOUR_MS > self._hour[0][0] // HOUR_MS:
            self._past += sorted(set(self._hour))
            self._hour = [point, point, point]
        elif equity < self._hour[1][1]:
            self._hour[1] = point
        elif equity > self._hour[2][1]:
            self._hour[2] = point

    def points(self) -> list[tuple[int, Decimal]]:
        """(ms UTC, USDT) of each hour's first, lowest and highest moment, oldest first."""
        return self._past + sorted(set(self._hour))


class Ledger:
    """Positions, money and fills as the exchange has them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def version(self) -> tuple[int, int]:
        """Differs whenever the ledger does."""
        return len(self._engine.fills), len(self._engine.income)

    def digest(self) -> str:
        """sha256 over one line for each fill, by symbol and trade id."""
        fills = sorted(self._engine.fills, key=lambda fill: (fill.symbol, fill.trade_id))
        return hashlib.sha256("".join(map(fill_line, fills)).encode()).hexdigest()

    def summary(self, *, digest: bool) -> dict[str, Any]:
        engine = self._engine
        summary = {
            "wallet": plain(engine.wallet),
            "positions": {position.symbol: plain(position.quantity) for position in engine.positions()},
            "fills": len(engine.fills),
            "realized_pnl": plain(engine.realized_pnl),
            "fees": plain(engine.fees),
            "funding": plain(engine.funding),
            "transfers": plain(engine.transfers),
        }
        return summary | {"fills_digest": self.digest()} if digest else summary

    def full(self) -> dict[str, Any]:
        engine = self._engine
        return self.summary(digest=True) | {
            "fills_list": [fill_row(fill) for fill in engine.fills],
            "open_orders": [order.client_id for order in engine.open_orders()],
            "open_algos": [
                {
                    "client_id": algo.client_id,
                    "symbol": algo.symbol,
                    "buy": algo.buy,
                    "quantity": plain(algo.quantity),
                    "trigger_price": plain(algo.trigger_price),
                    "status": algo.status.value,
                }
                for algo in engine.open_algos()
            ],
        }


def plain(amount: Decimal) -> str:
    """The shortest plain form: 0.1, never 0.10 or 1E-1."""
    return format(amount.normalize(), "f")


def fill_line(fill: Fill) -> str:
    """One line of the digest: symbol|trade_id|side|price|quantity|fee|realized_pnl."""
    side = "BUY" if fill.buy else "SELL"
    amounts = (fill.price, fill.quantity, fill.fee, fill.realized_pnl)
    return "|".join((fill.symbol, str(fill.trade_id), side, *map(plain, amounts))) + "\n"


def fill_row(fill: Fill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "client_id": fill.client_id,
        "order_id": fill.venue_id,
        "buy": fill.buy,
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "realized_pnl": plain(fill.realized_pnl),
        "maker": fill.maker,
        "at": fill.at,
    }
