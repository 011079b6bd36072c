"""One variant decides on one symbol: what was seen goes in, exactly one signal row comes out, perhaps an entry."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import PluginFault
from bot.hookspecs import Candidate, Categories, Recent
from bot.messages import (
    Bars,
    EntryIntent,
    FilterVerdict,
    Forecast,
    ForecastRefused,
    GuardState,
    Side,
    Signal,
    TradingState,
)
from bot.strategy import indicators
from bot.strategy.categories import categorise
from bot.strategy.guards import guards_check
from bot.strategy.liquidation import liquidation_check
from bot.strategy.proposal import Proposal, entry_check, intent_of, propose
from bot.strategy.reasons import Reason
from bot.strategy.risk import Exposure, Held, caps_check, funding_check, volume_check
from bot.strategy.sizing import Volatility, size
from bot.strategy.variant import FilterPlugin, Variant
from bot.strategy.verdicts import ALLOWED, DATA, FAULT, STATE, reason_of, refuses, scale_of
from bot.strategy.volatility import realised_volatility
from bot.strategy.window import read_only
from bot.venue import Instrument

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
STATE_REASONS = {TradingState.REDUCING: Reason.STATE_REDUCING, TradingState.HALTED: Reason.STATE_HALTED}


class Seen(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a decision is made on. Live, backtest and tests give the same bars: the newest `context`, no more."""

    symbol: str
    cycle_at: int  # the cycle's scheduled time
    now: int  # when it is decided; an entry's time to live runs from here
    bars: Bars | None  # the newest `context` closed bars; None where they are no window
    forecast: Forecast | ForecastRefused  # or why there is none, bad bars included
    mark_price: Decimal | None
    instrument: Instrument | None
    state: TradingState
    checkpoint: str | None = None  # id of what the tier's forecasts are made by, where no forecast says so itself
    funding_rate: Decimal | None = None  # that the next payment will be made at, as known now
    next_funding_at: int | None = None
    guards: GuardState = GuardState()
    recent: Recent = Recent()


def signal_id(variant: str, symbol: str, cycle_at: int) -> str:
    """13 characters of base32, the same in every process that comes to this cycle."""
    digest = hashlib.blake2b(f"{variant}|{symbol}|{cycle_at}".encode(), digest_size=8).digest()
    bits = int.from_bytes(digest, "big") << 1  # 13 letters are 65 bits
    return "".join([BASE32[bits >> shift & 31] for shift in range(60, -1, -5)])


def next_cycle(minutes: Iterable[int], after: int) -> int:
    """The first time strictly after `after` (ms UTC) that lies on one of the minutes of an hour."""
    hour = after - after % HOUR_MS
    times = [hour + offset + minute * MINUTE_MS for offset in (0, HOUR_MS) for minute in minutes]
    return min(at for at in times if at > after)


class Measures(msgspec.Struct, frozen=True):
    """What one window's bars measure; the same for every variant and cycle that sees them."""

    rsi: float
    atr: float
    categories: Categories


def measure(bars: Bars) -> Measures:
    rsi = indicators.rsi(bars.close)
    return Measures(rsi, indicators.atr(bars), categorise(bars, rsi))


def decide(
    variant: Variant, seen: Seen, exposure: Exposure, measures: Measures | None = None
) -> tuple[Signal, EntryIntent | None]:
    """Decide one symbol of one cycle. Pure: the same arguments give the same row and the same intent.

    `measures`: of `seen.bars`, where the caller has measured them already.

    The row's verdicts are what decided: its reason is that of the first one that refuses, the threshold's place being
    between `data` and the filters. Past the threshold all are asked, whatever the first ones said.
    """
    draft = Signal(
        signal_id=signal_id(variant.name, seen.symbol, seen.cycle_at),
        cycle_at=seen.cycle_at,
        variant=variant.name,
        tier=variant.tier,
        symbol=seen.symbol,
        checkpoint=seen.checkpoint,
        mark_price=seen.mark_price,
        threshold=variant.threshold,
        decision="refuse",
        decision_reason="",
        entry_method=variant.entry.name,
    )
    candidate = _candidate(variant, seen, draft, measures)
    draft.filter_verdicts = (_data(seen, candidate),)
    if isinstance(candidate, str):
        draft.decision_reason = str(candidate)
        return draft, None
    proposal = propose(variant, candidate, seen.now)
    draft.filter_verdicts += tuple(_judge(plugin, candidate) for plugin in variant.filters)
    draft.filter_verdicts += tuple(_checks(variant, seen, exposure, candidate, proposal, draft))
    refusals = [reason_of(verdict) for verdict in draft.filter_verdicts if refuses(verdict)]
    if refusals or draft.quantity is None:
        draft.decision_reason = refusals[0]
        return draft, None
    draft.decision, draft.decision_reason, draft.fill_status = "enter", str(Reason.ALLOWED), "pending"
    return draft, intent_of(draft.signal_id, variant, candidate, proposal, draft.quantity)


def _candidate(variant: Variant, seen: Seen, draft: Signal, measures: Measures | None) -> Candidate | str:
    """What filters and entry are asked about, or why there is nothing to ask; writes what was seen into the row."""
    bars, forecast, instrument = seen.bars, seen.forecast, seen.instrument
    categories = None if bars is None else _write(measures or measure(bars), bars, draft)
    if isinstance(forecast, Forecast):
        draft.checkpoint = forecast.checkpoint
        draft.predicted_return = _known(forecast.predicted_return)
        draft.predicted_q10, draft.predicted_q90 = _known(forecast.predicted_q10), _known(forecast.predicted_q90)
    if bars is None or isinstance(forecast, ForecastRefused):
        return forecast.reason if isinstance(forecast, ForecastRefused) else Reason.BAR_MISSING
    if seen.mark_price is None or instrument is None:
        return Reason.MARK_MISSING if seen.mark_price is None else Reason.INSTRUMENT_MISSING
    if not instrument.trading:
        return Reason.INSTRUMENT_NOT_TRADING
    if categories is None or draft.rsi is None or draft.atr is None:
        return Reason.INDICATOR_MISSING
    if forecast.bar_close_at != bars.close_at:
        return Reason.FORECAST_STALE
    if draft.predicted_return is None:
        return Reason.FORECAST_NOT_FINITE
    if draft.predicted_return:
        draft.side = Side.LONG if draft.predicted_return > 0 else Side.SHORT
    if draft.side is None or abs(draft.predicted_return) < variant.threshold:
        return Reason.BELOW_THRESHOLD
    return Candidate(
        variant=variant.name,
        symbol=seen.symbol,
        side=draft.side,
        now=seen.cycle_at,
        bars=read_only(bars),
        last_price=float(bars.close[-1]),
        mark_price=float(seen.mark_price),
        forecast=forecast,
        instrument=instrument,
        rsi=draft.rsi,
        atr=draft.atr,
        categories=categories,
        recent=seen.recent,
    )


def _write(measures: Measures, bars: Bars, draft: Signal) -> Categories:
    """What the bars measure, written into the row and returned for the filters: one object for both."""
    categories = measures.categories
    draft.bar_close_at = bars.close_at
    draft.rsi, draft.atr = _known(measures.rsi), _known(measures.atr)
    draft.cat_trend, draft.cat_momentum, draft.cat_strength = (
        categories.trend,
        categories.momentum,
        categories.strength,
    )
    draft.cat_volume, draft.cat_volatility = categories.volume, categories.volatility
    return categories


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _data(seen: Seen, candidate: Candidate | str) -> FilterVerdict:
    """The word on what was seen; what the row's columns do not say of it stands in the values."""
    refused = isinstance(candidate, str) and candidate != Reason.BELOW_THRESHOLD
    forecast, instrument = seen.forecast, seen.instrument
    values: dict[str, float | int | str | bool | None] = {
        "forecast_refused": forecast.reason if isinstance(forecast, ForecastRefused) else None,
        "forecast_close_at": forecast.bar_close_at if isinstance(forecast, Forecast) else None,
        "listed": instrument is not None,
        "trading": instrument is not None and instrument.trading,
    }
    return FilterVerdict(DATA, not refused, str(candidate) if refused else ALLOWED, values)


def _judge(plugin: FilterPlugin, candidate: Candidate) -> FilterVerdict:
    try:
        verdict = plugin.judge(candidate, plugin.options)
    except PluginFault as fault:
        verdict = FilterVerdict(plugin.name, False, f"{FAULT}{fault.reason}")
    return msgspec.structs.replace(verdict, shadow=plugin.shadow)


def _checks(
    variant: Variant, seen: Seen, exposure: Exposure, candidate: Candidate, proposal: Proposal, draft: Signal
) -> Iterator[FilterVerdict]:
    """The bot's own words on the candidate, in order; those on the size need an entry. Writes price and quantity."""
    yield _state(seen.state)
    yield guards_check(seen.guards, seen.now)
    yield entry_check(candidate, proposal)
    if proposal.refused is None:
        draft.entry_price = proposal.price
        yield from _sized(variant, seen, candidate, draft)
    yield funding_check(
        candidate.side,
        candidate.forecast.predicted_return,
        seen.funding_rate,
        seen.next_funding_at,
        proposal.held_until,
        variant.limits.funding_share,
    )
    yield caps_check(Held(variant.name, variant.tier, seen.symbol, candidate.side), exposure, variant.caps)


def _sized(variant: Variant, seen: Seen, candidate: Candidate, draft: Signal) -> Iterator[FilterVerdict]:
    """The size at the entry's price, and what depends on it."""
    price = seen.mark_price if draft.entry_price is None else draft.entry_price
    assert price is not None  # a candidate has a mark price
    filter_scale, volatility = scale_of(draft.filter_verdicts), _volatility(variant, candidate)
    sized = size(variant.margin, variant.leverage, price, candidate.instrument, filter_scale, volatility)
    yield sized.verdict
    draft.quantity = sized.quantity
    if sized.quantity is None:
        return
    yield volume_check(sized.quantity * price, candidate.bars, variant.limits.volume_share)
    yield liquidation_check(
        candidate.side,
        price,
        sized.quantity,
        variant.leverage,
        variant.caps.symbol,
        variant.exits.stop_pct,
        variant.limits.liquidation_buffer_pct,
        candidate.instrument.brackets,
    )


def _volatility(variant: Variant, candidate: Candidate) -> Volatility | None:
    target = variant.volatility
    if target is None:
        return None
    realised = realised_volatility(candidate.bars.close, target.bars, candidate.bars.interval_ms)
    return Volatility(target, realised, abs(candidate.forecast.predicted_return) / variant.threshold)


def _state(state: TradingState) -> FilterVerdict:
    allow = state is TradingState.ACTIVE
    return FilterVerdict(STATE, allow, ALLOWED if allow else str(STATE_REASONS[state]), {"state": str(state)})
