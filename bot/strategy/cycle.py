"""One variant decides on one symbol: what was seen goes in, exactly one signal row comes out, perhaps an entry."""

import base64
import hashlib
import math
from collections.abc import Iterable
from decimal import Decimal
from functools import cache

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
from bot.strategy.verdicts import ALLOWED, DATA, FAULT, STATE, Check, Values, Word, first_refusal, scale_of
from bot.strategy.volatility import realised_volatility
from bot.strategy.window import read_only
from bot.venue import Instrument

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
    return base64.b32encode(digest)[:13].decode().lower()


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


class Judged(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What was decided, and all that it was decided on."""

    variant: Variant
    seen: Seen
    measures: Measures | None
    candidate: Candidate | str  # or why there was nothing to ask about
    words: tuple[Word, ...]
    reason: str
    proposal: Proposal | None = None
    quantity: Decimal | None = None  # that was sized, entered or not
    intent: EntryIntent | None = None

    @property
    def decision(self) -> str:
        return "refuse" if self.intent is None else "enter"


def decide(
    variant: Variant, seen: Seen, exposure: Exposure, measures: Measures | None = None
) -> tuple[Signal, EntryIntent | None]:
    """Decide one symbol of one cycle. Pure: the same arguments give the same row and the same intent.

    `measures`: of `seen.bars`, where the caller has measured them already.

    The row's verdicts are what decided: its reason is that of the first one that refuses, the threshold's place being
    between `data` and the filters. Past the threshold all are asked, whatever the first ones said.
    """
    judged = judge(variant, seen, exposure, measures)
    return row_of(judged), judged.intent


def judge(variant: Variant, seen: Seen, exposure: Exposure, measures: Measures | None = None) -> Judged:
    """The decision of `decide` without its row."""
    if measures is None and seen.bars is not None:
        measures = measure(seen.bars)
    candidate = _candidate(variant, seen, measures)
    data = _data(seen, candidate)
    if isinstance(candidate, str):
        return Judged(
            variant=variant, seen=seen, measures=measures, candidate=candidate, words=(data,), reason=str(candidate)
        )
    proposal = propose(variant, candidate, seen.now)
    words: list[Word] = [data, *[_judge(plugin, candidate) for plugin in variant.filters]]
    quantity = _checks(variant, seen, exposure, candidate, proposal, words)
    refusal, intent = first_refusal(words), None
    if refusal is None and quantity is not None:
        name = signal_id(variant.name, seen.symbol, seen.cycle_at)
        intent = intent_of(name, variant, candidate, proposal, quantity)
    return Judged(
        variant=variant,
        seen=seen,
        measures=measures,
        candidate=candidate,
        words=tuple(words),
        reason=str(Reason.ALLOWED) if refusal is None else refusal,
        proposal=proposal,
        quantity=quantity,
        intent=intent,
    )


def row_of(judged: Judged) -> Signal:
    """The decision as its row."""
    variant, seen, forecast, intent = judged.variant, judged.seen, judged.seen.forecast, judged.intent
    row = Signal(
        signal_id=signal_id(variant.name, seen.symbol, seen.cycle_at) if intent is None else intent.signal_id,
        cycle_at=seen.cycle_at,
        variant=variant.name,
        tier=variant.tier,
        symbol=seen.symbol,
        checkpoint=seen.checkpoint,
        mark_price=seen.mark_price,
        threshold=variant.threshold,
        filter_verdicts=tuple(word.verdict() if isinstance(word, Check) else word for word in judged.words),
        decision=judged.decision,
        decision_reason=judged.reason,
        entry_method=variant.entry.name,
        entry_price=None if judged.proposal is None else judged.proposal.price,
        quantity=judged.quantity,
        fill_status=None if intent is None else "pending",
    )
    if seen.bars is not None and judged.measures is not None:
        _write(judged.measures, seen.bars, row)
    if isinstance(forecast, Forecast):
        row.checkpoint = forecast.checkpoint
        row.predicted_return = _known(forecast.predicted_return)
        row.predicted_q10, row.predicted_q90 = _known(forecast.predicted_q10), _known(forecast.predicted_q90)
    if row.predicted_return and (judged.candidate == Reason.BELOW_THRESHOLD or isinstance(judged.candidate, Candidate)):
        row.side = _side(row.predicted_return)
    return row


def _side(predicted_return: float) -> Side:
    return Side.LONG if predicted_return > 0 else Side.SHORT


def _candidate(variant: Variant, seen: Seen, measures: Measures | None) -> Candidate | str:
    """What filters and entry are asked about, or why there is nothing to ask."""
    bars, forecast, instrument = seen.bars, seen.forecast, seen.instrument
    if bars is None or isinstance(forecast, ForecastRefused):
        return forecast.reason if isinstance(forecast, ForecastRefused) else Reason.BAR_MISSING
    if seen.mark_price is None or instrument is None:
        return Reason.MARK_MISSING if seen.mark_price is None else Reason.INSTRUMENT_MISSING
    if not instrument.trading:
        return Reason.INSTRUMENT_NOT_TRADING
    if measures is None or not math.isfinite(measures.rsi) or not math.isfinite(measures.atr):
        return Reason.INDICATOR_MISSING
    if forecast.bar_close_at != bars.close_at:
        return Reason.FORECAST_STALE
    predicted = forecast.predicted_return
    if not math.isfinite(predicted):
        return Reason.FORECAST_NOT_FINITE
    if not predicted or abs(predicted) < variant.threshold:
        return Reason.BELOW_THRESHOLD
    return Candidate(
        variant=variant.name,
        symbol=seen.symbol,
        side=_side(predicted),
        now=seen.cycle_at,
        bars=read_only(bars),
        last_price=float(bars.close[-1]),
        mark_price=float(seen.mark_price),
        forecast=forecast,
        instrument=instrument,
        rsi=measures.rsi,
        atr=measures.atr,
        categories=measures.categories,
        recent=seen.recent,
    )


def _write(measures: Measures, bars: Bars, row: Signal) -> None:
    categories = measures.categories
    row.bar_close_at = bars.close_at
    row.rsi, row.atr = _known(measures.rsi), _known(measures.atr)
    row.cat_trend, row.cat_momentum, row.cat_strength = categories.trend, categories.momentum, categories.strength
    row.cat_volume, row.cat_volatility = categories.volume, categories.volatility


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _data(seen: Seen, candidate: Candidate | str) -> Check:
    """The word on what was seen; what the row's columns do not say of it stands in the values."""
    refused = isinstance(candidate, str) and candidate != Reason.BELOW_THRESHOLD
    return Check(DATA, not refused, str(candidate) if refused else ALLOWED, _data_values, (seen,))


def _data_values(seen: Seen) -> Values:
    forecast, instrument = seen.forecast, seen.instrument
    return {
        "forecast_refused": forecast.reason if isinstance(forecast, ForecastRefused) else None,
        "forecast_close_at": forecast.bar_close_at if isinstance(forecast, Forecast) else None,
        "listed": instrument is not None,
        "trading": instrument is not None and instrument.trading,
    }


def _judge(plugin: FilterPlugin, candidate: Candidate) -> FilterVerdict:
    try:
        verdict = plugin.judge(candidate, plugin.options)
    except PluginFault as fault:
        verdict = FilterVerdict(plugin.name, False, f"{FAULT}{fault.reason}")
    return msgspec.structs.replace(verdict, shadow=plugin.shadow)


def _checks(
    variant: Variant, seen: Seen, exposure: Exposure, candidate: Candidate, proposal: Proposal, words: list[Word]
) -> Decimal | None:
    """Adds the bot's own words on the candidate, in order; those on the size need an entry. Returns the quantity."""
    quantity = None
    words.append(_state(seen.state))
    words.append(guards_check(seen.guards, seen.now))
    words.append(entry_check(candidate, proposal))
    if proposal.refused is None:
        quantity = _sized(variant, seen, candidate, proposal, words)
    words.append(
        funding_check(
            candidate.side,
            candidate.forecast.predicted_return,
            seen.funding_rate,
            seen.next_funding_at,
            proposal.held_until,
            variant.limits.funding_share,
        )
    )
    words.append(caps_check(Held(variant.name, variant.tier, seen.symbol, candidate.side), exposure, variant.caps))
    return quantity


def _sized(variant: Variant, seen: Seen, candidate: Candidate, proposal: Proposal, words: list[Word]) -> Decimal | None:
    """The size at the entry's price, and what depends on it."""
    price = seen.mark_price if proposal.price is None else proposal.price
    assert price is not None  # a candidate has a mark price
    filter_scale, volatility = scale_of(words), _volatility(variant, candidate)
    sized = size(variant.margin, variant.leverage, price, candidate.instrument, filter_scale, volatility)
    words.append(sized.verdict)
    if sized.quantity is None:
        return None
    words.append(volume_check(sized.quantity * price, candidate.bars, variant.limits.volume_share))
    words.append(
        liquidation_check(
            candidate.side,
            price,
            sized.quantity,
            variant.leverage,
            variant.caps.symbol,
            variant.exits.stop_pct,
            variant.limits.liquidation_buffer_pct,
            candidate.instrument.brackets,
        )
    )
    return sized.quantity


def _volatility(variant: Variant, candidate: Candidate) -> Volatility | None:
    target = variant.volatility
    if target is None:
        return None
    realised = realised_volatility(candidate.bars.close, target.bars, candidate.bars.interval_ms)
    return Volatility(target, realised, abs(candidate.forecast.predicted_return) / variant.threshold)


@cache
def _state(state: TradingState) -> Check:
    allow = state is TradingState.ACTIVE
    return Check(STATE, allow, ALLOWED if allow else str(STATE_REASONS[state]), _state_values, (state,))


def _state_values(state: TradingState) -> Values:
    return {"state": str(state)}
