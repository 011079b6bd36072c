"""One variant decides on one symbol: what was seen goes in, exactly one signal row comes out, perhaps an entry."""

import base64
import hashlib
import math
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from bot.clock import HOUR_MS, MINUTE_MS
from bot.errors import PluginFault
from bot.hookspecs import Candidate, EntryPlan
from bot.messages import Bars, EntryIntent, FilterVerdict, Forecast, ForecastRefused, Side, Signal, TradingState
from bot.strategy import indicators
from bot.strategy.reasons import Reason, broken, no_entry, vetoed_by
from bot.strategy.risk import Exposure, Held, refusal
from bot.strategy.rounding import limit_on_tick
from bot.strategy.sizing import size
from bot.strategy.variant import Variant
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


def signal_id(variant: str, symbol: str, cycle_at: int) -> str:
    """13 characters of base32, the same in every process that comes to this cycle."""
    digest = hashlib.blake2b(f"{variant}|{symbol}|{cycle_at}".encode(), digest_size=8).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def next_cycle(minutes: Iterable[int], after: int) -> int:
    """The first time strictly after `after` (ms UTC) that lies on one of the minutes of an hour."""
    hour = after - after % HOUR_MS
    times = [hour + offset + minute * MINUTE_MS for offset in (0, HOUR_MS) for minute in minutes]
    return min(at for at in times if at > after)


def decide(variant: Variant, seen: Seen, exposure: Exposure) -> tuple[Signal, EntryIntent | None]:
    """Decide one symbol of one cycle. Pure: the same arguments give the same row and the same intent."""
    draft = Signal(
        signal_id=signal_id(variant.name, seen.symbol, seen.cycle_at),
        cycle_at=seen.cycle_at,
        variant=variant.name,
        tier=variant.tier,
        symbol=seen.symbol,
        mark_price=seen.mark_price,
        threshold=variant.threshold,
        decision="refuse",
        decision_reason="",
        entry_method=variant.entry.name,
    )
    outcome = _enter(variant, seen, exposure, draft)
    if isinstance(outcome, str):
        draft.decision_reason = str(outcome)
        return draft, None
    draft.decision, draft.decision_reason, draft.fill_status = "enter", str(Reason.ALLOWED), "pending"
    return draft, outcome


def _enter(variant: Variant, seen: Seen, exposure: Exposure, draft: Signal) -> EntryIntent | str:
    """The intent, or the first reason against it; fills `draft` with everything that was looked at on the way."""
    candidate = _candidate(variant, seen, draft)
    if isinstance(candidate, str):
        return candidate
    reason = _judge(variant, candidate, draft)
    if reason is None and seen.state is not TradingState.ACTIVE:
        reason = STATE_REASONS[seen.state]
    if reason is not None:
        return reason
    plan = _propose(variant, candidate)
    if isinstance(plan, str):
        return plan
    draft.entry_price = plan.price
    price = seen.mark_price if plan.price is None else plan.price
    assert price is not None  # a candidate has a mark price
    quantity = size(variant.margin, variant.leverage, price, candidate.instrument)
    if isinstance(quantity, Reason):
        return quantity
    draft.quantity = quantity
    held = Held(variant.name, variant.tier, seen.symbol, candidate.side)
    return refusal(held, exposure, variant.caps) or _intent(variant, seen, candidate, plan, quantity, draft)


def _candidate(variant: Variant, seen: Seen, draft: Signal) -> Candidate | str:
    """What filters and entry are asked about, or why the data or the forecast make no candidate."""
    bars, forecast, instrument = seen.bars, seen.forecast, seen.instrument
    if bars is not None:
        draft.bar_close_at = bars.close_at
        draft.rsi, draft.atr = _known(indicators.rsi(bars.close)), _known(indicators.atr(bars))
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
    if draft.rsi is None or draft.atr is None:
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
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _judge(variant: Variant, candidate: Candidate, draft: Signal) -> str | None:
    """Ask every filter, write every verdict into the row; the first veto is the reason."""
    reasons, verdicts = [], []
    for plugin in variant.filters:
        try:
            verdict = plugin.judge(candidate, plugin.options)
        except PluginFault as fault:
            verdict = FilterVerdict(plugin.name, False, f"plugin fault: {fault.reason}")
            reasons.append(broken(plugin.name))
        else:
            if not verdict.allow:
                reasons.append(vetoed_by(plugin.name))
        verdicts.append(verdict)
    draft.filter_verdicts = tuple(verdicts)
    return reasons[0] if reasons else None


def _propose(variant: Variant, candidate: Candidate) -> EntryPlan | str:
    """The entry's plan with its limit on the tick, or why there is none."""
    try:
        plan = variant.entry.propose(candidate, variant.entry.options)
    except PluginFault:
        return broken(variant.entry.name)
    if isinstance(plan, str):
        return no_entry(plan)
    if plan.price is None:
        return plan
    if candidate.side.sign * (float(plan.price) - candidate.last_price) > 0:
        return Reason.ENTRY_WRONG_SIDE
    on_tick = limit_on_tick(plan.price, candidate.side, candidate.instrument.tick_size)
    return msgspec.structs.replace(plan, price=on_tick) if on_tick > 0 else broken(variant.entry.name)


def _intent(
    variant: Variant, seen: Seen, candidate: Candidate, plan: EntryPlan, quantity: Decimal, draft: Signal
) -> EntryIntent:
    return EntryIntent(
        signal_id=draft.signal_id,
        variant=variant.name,
        tier=variant.tier,
        symbol=seen.symbol,
        side=candidate.side,
        quantity=quantity,
        limit_price=plan.price,
        post_only=plan.price is not None and (plan.post_only or variant.post_only),
        created_at=seen.now,
        expires_at=seen.now + variant.entry_ttl_ms,
        leverage=variant.leverage,
        exits=variant.exits,
    )
