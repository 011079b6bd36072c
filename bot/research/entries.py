"""Entry methods on the same signals: each that a variant would act on, entered in every way and followed. Pure."""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter

import msgspec
import numpy as np

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.history.forecasts import Forecasts
from bot.hookspecs import Candidate, EntryPlan, Options
from bot.messages import Bars, Floats, Forecast, TradingState
from bot.research.correlation import mean_t
from bot.research.statistics import profit_factor
from bot.strategy.cycle import Seen, decide
from bot.strategy.follow import Costs, Followed, FollowStatus, Trial, bar_of, follow
from bot.strategy.proposal import Proposal, propose
from bot.strategy.risk import Exposure
from bot.strategy.rounding import decimal_of
from bot.strategy.variant import EntryPlugin, Variant
from bot.strategy.window import refusal, tail, upto
from bot.venue import Instrument

Payments = tuple[tuple[int, float], ...]  # funding: time, rate
USUAL_RATE = Decimal("0.0001")  # of funding, before the first payment that is known
FUNDING_MS = 8 * HOUR_MS
NO_ENTRY = "no_entry"  # the method saw none
UNTOLD = (FollowStatus.UNKNOWN, FollowStatus.OPEN)
AT_MARKET = EntryPlugin(name="at_market", options={}, propose=lambda candidate, options: EntryPlan())


class Ground(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One symbol's history."""

    hours: Bars  # that windows are made of
    paths: Sequence[Bars]  # that entries are followed along, the finest first
    funding: Payments
    instrument: Instrument


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one signal by one entry method."""

    variant: str
    tier: str
    symbol: str
    entry: str
    own: bool  # the variant's own method
    at: int  # when it was decided
    status: str  # of `FollowStatus`, NO_ENTRY, or why the method's answer was refused
    notional: float  # of a fill
    path_ms: int  # length of the bars that it was followed along; 0: along none
    followed: Followed | None


class EntryScore(msgspec.Struct, frozen=True, kw_only=True):
    """One entry method over all signals of a group; rates are fractions, money is USDT."""

    group: str
    entry: str
    own: bool
    signals: int
    outcomes: dict[str, int]  # by status
    known: float  # the share of the signals whose end the bars tell
    fill_rate: float  # of those
    trades: int
    win_rate: float
    profit_factor: float
    gross: float
    fees: float
    funding: float
    net: float
    net_bps: float  # of the notional, a trade
    net_per_signal: float
    t: float  # of the mean net result of a day
    mean_hours: float
    hourly: float  # the share of trades that were followed along hourly bars, on which trailing stops look too good


def entries_tried(
    variant: Variant,
    symbol: str,
    entries: Mapping[str, EntryPlugin],
    forecasts: Forecasts,
    ground: Ground,
    costs: Costs,
    context: int,
) -> Iterator[Tried]:
    """Every signal of one symbol that the variant would enter with nothing else open, by every method.

    Where the bars do not tell what a market entry comes to, nothing is known of the signal by any method.
    """
    methods = {**entries, variant.entry.name: variant.entry}
    variants = {name: msgspec.structs.replace(variant, entry=plugin) for name, plugin in methods.items()}
    plain = msgspec.structs.replace(variant, entry=AT_MARKET)
    for candidate, quantity in _signals(variant, forecasts, ground, context):
        at_market = _followed(candidate, propose(plain, candidate, candidate.now), quantity, ground, costs)
        for name, one in variants.items():
            proposal = propose(one, candidate, candidate.now)
            told = at_market[1].status not in UNTOLD
            path_ms, followed = _tried(candidate, proposal, quantity, ground, costs) if told else at_market
            yield Tried(
                variant=variant.name,
                tier=variant.tier,
                symbol=symbol,
                entry=name,
                own=name == variant.entry.name,
                at=candidate.now,
                status=_status(proposal, followed),
                notional=quantity * (followed.fill_price or 0.0) if followed is not None else 0.0,
                path_ms=path_ms,
                followed=followed,
            )


def _tried(
    candidate: Candidate, proposal: Proposal, quantity: float, ground: Ground, costs: Costs
) -> tuple[int, Followed | None]:
    return (0, None) if proposal.refused else _followed(candidate, proposal, quantity, ground, costs)


def _status(proposal: Proposal, followed: Followed | None) -> str:
    if followed is not None:
        return str(followed.status)
    refused = proposal.refused or NO_ENTRY
    return NO_ENTRY if refused.startswith(f"{NO_ENTRY}:") else refused


def _signals(variant: Variant, forecasts: Forecasts, ground: Ground, context: int) -> Iterator[tuple[Candidate, float]]:
    """What filters and checks let pass, with the quantity at market; of a bar's cycles the first."""
    asked: list[Candidate] = []

    def ask(candidate: Candidate, options: Options) -> EntryPlan:
        asked.append(candidate)
        return EntryPlan()

    plain = msgspec.structs.replace(variant, entry=msgspec.structs.replace(AT_MARKET, propose=ask))
    strong = np.abs(forecasts.path[:, -1]) >= variant.threshold
    for close_at in forecasts.bar_close_at[strong].tolist():
        bars = tail(upto(ground.hours, close_at), context)
        forecast = forecasts.at(close_at)
        if not isinstance(forecast, Forecast) or refusal(bars, context, bars.interval_ms) or bars.close_at != close_at:
            continue
        asked.clear()
        signal, _ = decide(plain, _seen(plain, bars, forecast, ground), Exposure())
        if signal.decision == "enter" and signal.quantity is not None:
            yield asked[0], float(signal.quantity)


def _seen(variant: Variant, bars: Bars, forecast: Forecast, ground: Ground) -> Seen:
    at = bars.close_at + variant.minutes[0] * MINUTE_MS
    rate, due_at = _funding_known(ground.funding, at)
    return Seen(
        symbol=bars.symbol,
        cycle_at=at,
        now=at,
        bars=bars,
        forecast=forecast,
        mark_price=decimal_of(float(bars.close[-1])),
        instrument=ground.instrument,
        state=TradingState.ACTIVE,
        funding_rate=rate,
        next_funding_at=due_at,
    )


def _funding_known(funding: Payments, at: int) -> tuple[Decimal, int]:
    """The rate of the last payment, and when the next one is due."""
    count = bisect_right(funding, at, key=itemgetter(0))
    rate = decimal_of(funding[count - 1][1]) if count else USUAL_RATE
    return rate, funding[count][0] if count < len(funding) else at - at % FUNDING_MS + FUNDING_MS


def _followed(
    candidate: Candidate, proposal: Proposal, quantity: float, ground: Ground, costs: Costs
) -> tuple[int, Followed]:
    """Along the finest bars that reach from the entry to the end, and their length; UNKNOWN where none do."""
    found = 0, Followed(status=FollowStatus.UNKNOWN)
    for path in ground.paths:
        index = bar_of(path, candidate.now)
        if index is None:
            continue
        trial = Trial(
            side=candidate.side,
            quantity=quantity,
            market=float(path.open[index]),
            limit=None if proposal.price is None else float(proposal.price),
            post_only=proposal.post_only,
            from_at=proposal.created_at,
            expires_at=proposal.expires_at,
            exits=proposal.exits,
        )
        found = path.interval_ms, follow(trial, path, costs, funding=_paid(ground.funding, proposal))
        if found[1].status not in UNTOLD:
            return found
    return found


def _paid(funding: Payments, proposal: Proposal) -> Payments:
    """The payments that the position may meet."""
    begin = bisect_right(funding, proposal.created_at, key=itemgetter(0))
    until = proposal.held_until
    return funding[begin : None if until is None else bisect_right(funding, until, key=itemgetter(0))]


def scores(tried: Iterable[Tried], group: Callable[[Tried], str]) -> list[EntryScore]:
    """By group and entry method, in the order in which they come."""
    found: defaultdict[tuple[str, str], list[Tried]] = defaultdict(list)
    for one in tried:
        found[group(one), one.entry].append(one)
    return [_score(name, entry, rows) for (name, entry), rows in found.items()]


def _score(name: str, entry: str, rows: Sequence[Tried]) -> EntryScore:
    outcomes = Counter(row.status for row in rows)
    closed = [row for row in rows if row.followed is not None and row.status == FollowStatus.CLOSED]
    ends = [row.followed for row in closed if row.followed is not None]
    nets = np.array([end.net for end in ends])
    known = len(rows) - outcomes[FollowStatus.OPEN] - outcomes[FollowStatus.UNKNOWN]
    bps = [1e4 * end.net / row.notional for row, end in zip(closed, ends, strict=True)]
    held = [((end.exit_at or 0) - (end.fill_at or 0)) / HOUR_MS for end in ends]
    return EntryScore(
        group=name,
        entry=entry,
        own=all(row.own for row in rows),
        signals=len(rows),
        outcomes=dict(outcomes),
        known=known / len(rows),
        fill_rate=len(closed) / known if known else math.nan,
        trades=len(closed),
        win_rate=float(np.mean(nets > 0)) if len(nets) else math.nan,
        profit_factor=profit_factor(nets),
        gross=sum(end.gross for end in ends),
        fees=sum(end.fees for end in ends),
        funding=sum(end.funding for end in ends),
        net=float(nets.sum()),
        net_bps=float(np.mean(bps)) if bps else math.nan,
        net_per_signal=float(nets.sum()) / known if known else math.nan,
        t=_daily_t([row.at for row in closed], nets),
        mean_hours=float(np.mean(held)) if held else math.nan,
        hourly=float(np.mean([row.path_ms == HOUR_MS for row in closed])) if closed else math.nan,
    )


def _daily_t(at: Sequence[int], nets: Floats) -> float:
    """Of the mean of the days' sums, days without a trade between the first and the last counted as nothing."""
    if not at:
        return math.nan
    days = np.array(at) // DAY_MS
    return mean_t(np.bincount(days - days.min(), weights=nets).astype(np.float64), 1)
