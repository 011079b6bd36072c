"""What is known of a finished run, and the figures that follow from it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bot.clock import DAY_MS
from bot.messages import Position, Severity

GRAVEST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.INFO)
Equity = Sequence[tuple[int, Decimal]]

NO_EDGE = (
    "A replay on a small model proves the machinery, not an edge. Nothing here says that trading it live would earn."
)


class AuditWord(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit found, the gravest word of it and the last."""

    rule: str
    severity: Severity
    subject: str
    words: str
    times: int


def audit_words(told: Iterable[tuple[Severity, Mapping[str, Any]]]) -> tuple[AuditWord, ...]:
    """Findings (oldest first) by rule and subject, the gravest first; the same one is told of each day it lasts."""
    found: dict[tuple[str, str], AuditWord] = {}
    for severity, detail in told:
        key = str(detail["rule"]), str(detail["subject"])
        before = found.get(key)
        found[key] = AuditWord(
            rule=key[0],
            subject=key[1],
            words=str(detail["words"]),
            severity=severity if before is None else min(severity, before.severity, key=GRAVEST_FIRST.index),
            times=1 if before is None else before.times + 1,
        )
    return tuple(sorted(found.values(), key=lambda one: (GRAVEST_FIRST.index(one.severity), one.rule, one.subject)))


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Times are ms UTC of domain time; money is USDT."""

    venue: str
    started_at: int
    ended_at: int
    symbols: tuple[str, ...]
    variants: tuple[str, ...]
    signals: dict[str, int]  # by decision
    refusals: dict[str, int]  # refused signals by reason
    orders: int
    entries_filled: int
    exits: dict[str, int]  # by reason
    fees: Decimal  # paid: above zero
    funding: Decimal  # paid: below zero
    net_pnl: Decimal
    max_drawdown: Decimal  # from a high of the equity to the lowest point after it, above zero
    naked_seconds: float | None  # None: nobody measured it
    ledger_equal: bool
    restarts: int
    wall_seconds: float
    starting_balance: Decimal
    ledger_checks: int = 0  # how often the ledgers were compared
    equity: tuple[tuple[int, Decimal], ...] = ()  # oldest first
    trades: tuple[Position, ...] = ()  # closed positions
    still_open: tuple[Position, ...] = ()  # open positions and resting entries, left to the venue with their stops
    interrupted: bool = False  # stopped by hand before the end
    model: str = ""  # what forecast
    market: str = ""  # what was played
    audit: tuple[AuditWord, ...] = ()
    note: str = NO_EDGE

    @property
    def simulated_days(self) -> float:
        return (self.ended_at - self.started_at) / DAY_MS


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The closed positions that share a symbol, a variant or an exit reason."""

    trades: int
    won: int
    gross_pnl: Decimal
    fees: Decimal
    funding: Decimal
    net_pnl: Decimal


def grouped(trades: Sequence[Position], key: Callable[[Position], str]) -> dict[str, Group]:
    """Groups by `key`, the best net result first."""
    members: dict[str, list[Position]] = defaultdict(list)
    for trade in trades:
        members[key(trade)].append(trade)
    groups = {name: _group(some) for name, some in members.items()}
    return dict(sorted(groups.items(), key=lambda item: item[1].net_pnl, reverse=True))


def _group(trades: Sequence[Position]) -> Group:
    zero = Decimal(0)
    return Group(
        trades=len(trades),
        won=sum(trade.net_pnl > 0 for trade in trades),
        gross_pnl=sum((trade.gross_pnl for trade in trades), zero),
        fees=sum((trade.fees for trade in trades), zero),
        funding=sum((trade.funding for trade in trades), zero),
        net_pnl=sum((trade.net_pnl for trade in trades), zero),
    )


def exit_reason(trade: Position) -> str:
    return trade.exit_reason or "unknown"


def drawdowns(equity: Equity) -> list[Decimal]:
    """How far each point lies below the highest one so far, zero or above."""
    depths = []
    high = None
    for _, value in equity:
        high = value if high is None else max(high, value)
        depths.append(high - value)
    return depths


def max_drawdown(equity: Equity) -> Decimal:
    return max(drawdowns(equity), default=Decimal(0))


def thinned(equity: Equity, most: int = 3000) -> list[int]:
    """Indices of at most about `most` points that keep the ends and every stretch's lowest and highest."""
    if len(equity) <= most:
        return list(range(len(equity)))
    width = -(-len(equity) // (most // 2))
    kept = {0, len(equity) - 1}
    for first in range(0, len(equity), width):
        stretch = range(first, min(first + width, len(equity)))
        kept.add(min(stretch, key=lambda i: equity[i][1]))
        kept.add(max(stretch, key=lambda i: equity[i][1]))
    return sorted(kept)


def profit_factor(trades: Sequence[Position]) -> Decimal | None:
    """What winners won over what losers lost; None without a loser."""
    lost = -sum((trade.net_pnl for trade in trades if trade.net_pnl < 0), Decimal(0))
    won = sum((trade.net_pnl for trade in trades if trade.net_pnl > 0), Decimal(0))
    return won / lost if lost else None


def as_json(facts: RunFacts) -> dict[str, Any]:
    """The keys of `report.json`, the promised ones first."""
    promised = (
        "venue started_at ended_at simulated_days symbols variants signals orders entries_filled exits fees funding "
        "net_pnl max_drawdown naked_seconds ledger_equal restarts wall_seconds"
    )
    extra = "ledger_checks interrupted refusals starting_balance model market audit note"
    told = {name: getattr(facts, name) for name in f"{promised} {extra}".split()}
    return told | {
        "by_symbol": grouped(facts.trades, lambda trade: trade.symbol),
        "by_variant": grouped(facts.trades, lambda trade: trade.variant),
        "by_exit": grouped(facts.trades, exit_reason),
        "equity": [facts.equity[i] for i in thinned(facts.equity)],
    }
