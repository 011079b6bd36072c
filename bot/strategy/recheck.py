"""A signal's row held against itself: the decision computed again from nothing but the row.

The formulas stand here a second time on purpose, from docs/rules.md and docs/decisions.md: a mistake in the code that
decides then shows as a row that does not agree with itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from bot.errors import OurFault
from bot.messages import FilterVerdict, Side, Signal
from bot.strategy.reasons import Reason
from bot.strategy.verdicts import ALLOWED, CHECKS, FAULT

Values = Mapping[str, Any]
Judge = Callable[[Signal, FilterVerdict], bool]  # whether a filter allows, by its definition and its verdict's values
NO_JUDGES: Mapping[str, Judge] = {}

ENTER, REFUSE = "enter", "refuse"
COPIES = {"rsi", "atr", "predicted_return", "threshold"}  # values that are a column's, whoever's verdict they are in
GUARD_NAMES = ("day_drawdown", "drawdown", "daily_loss", "losing_streak")  # the first tripped one is the reason


def recheck(signal: Signal, judges: Mapping[str, Judge] = NO_JUDGES) -> tuple[str, str]:
    """(decision, reason) as they follow from the row's columns and its verdicts' values.

    Of a filter without one in `judges` its verdict's `allow` is taken. Where a check's verdict is missing the reason is
    `missing:NAME`: no decision can have been made without it.
    """
    reason = next(_reasons(signal, judges), None)
    return (ENTER, str(Reason.ALLOWED)) if reason is None else (REFUSE, reason)


def disagreements(signal: Signal, judges: Mapping[str, Judge] = NO_JUDGES) -> list[str]:
    """What in the row does not follow from the rest of it, in words; empty for an honest row."""
    try:
        decided, computed = (signal.decision, signal.decision_reason), recheck(signal, judges)
        if decided != computed:  # the rest was asked on other grounds
            return [f"decision: the row says {' '.join(decided)}, recomputed {' '.join(computed)}"]
        return [
            f"{what}: the row says {said}, recomputed {found}"
            for what, said, found in _compared(signal, judges)
            if not _same(said, found)
        ]
    except (OurFault, KeyError) as gap:
        return [f"the row lacks what it was decided on: {gap}"]


def _same(said: object, found: object) -> bool:
    if isinstance(said, float) and isinstance(found, float):
        return math.isclose(said, found, rel_tol=1e-9)
    return said == found


def _reasons(signal: Signal, judges: Mapping[str, Judge]) -> Iterator[str]:
    """Every reason against the signal, in the documented order."""
    verdicts = {verdict.filter: verdict for verdict in signal.filter_verdicts}
    data = _data(signal, verdicts)
    if data is not None:
        yield data
        return
    if abs(_known(signal.predicted_return)) < signal.threshold or signal.predicted_return == 0:
        yield str(Reason.BELOW_THRESHOLD)
        return
    for verdict in signal.filter_verdicts:
        if verdict.filter not in CHECKS and not verdict.shadow and not _allows(signal, verdict, judges):
            yield f"plugin:{verdict.filter}" if verdict.reason.startswith(FAULT) else f"filter:{verdict.filter}"
    for name, asked in _asked(verdicts):
        reason = f"missing:{name}" if asked is None else _CHECKS[name](signal, asked)
        if reason is not None:
            yield reason


def _asked(verdicts: Mapping[str, FilterVerdict]) -> Iterator[tuple[str, FilterVerdict | None]]:
    """The checks past the filters; None: its verdict is missing. Without entry or size none asks what depends on it."""
    refused = {name for name in ("entry", "size") if name in verdicts and not verdicts[name].allow}
    for name in _CHECKS:
        if name in verdicts or not refused & _NEEDS.get(name, set()):
            yield name, verdicts.get(name)


def _allows(signal: Signal, verdict: FilterVerdict, judges: Mapping[str, Judge]) -> bool:
    judge = judges.get(verdict.filter)
    return verdict.allow if judge is None or verdict.reason.startswith(FAULT) else judge(signal, verdict)


def _compared(signal: Signal, judges: Mapping[str, Judge]) -> Iterator[tuple[str, object, object]]:
    """(what, what the row says, what follows from the rest of the row) of everything that stands in it twice."""
    verdicts = {verdict.filter: verdict for verdict in signal.filter_verdicts}
    predicted = signal.predicted_return if verdicts["data"].allow else None
    side = None if not predicted else Side.LONG if predicted > 0 else Side.SHORT
    yield "side", signal.side, side
    for verdict in signal.filter_verdicts:
        for name in COPIES & set(verdict.values):
            yield f"{verdict.filter}'s {name}", verdict.values[name], getattr(signal, name)
    if "entry" not in verdicts:
        return
    for name, verdict in verdicts.items():
        if name not in CHECKS:
            yield f"{name} allows", verdict.allow, _allows(signal, verdict, judges)
        elif name in _CHECKS:
            reason = _CHECKS[name](signal, verdict)
            yield f"{name} allows", verdict.allow, reason is None
            if name != "entry" or reason is not None:
                yield f"{name} says", verdict.reason, reason or ALLOWED
    yield "entry_price", signal.entry_price, _on_tick(signal, verdicts["entry"])
    if "size" not in verdicts:
        yield "quantity", signal.quantity, None
        return
    yield from _sized(signal, verdicts)


def _sized(signal: Signal, verdicts: Mapping[str, FilterVerdict]) -> Iterator[tuple[str, object, object]]:
    size = verdicts["size"]
    scale = _scale(signal, size.values)
    quantity = None if scale is None else _quantity(signal, size.values, scale)
    yield "quantity", signal.quantity, quantity if size.allow else None
    yield "size's price", size.values["price"], float(_price(signal))
    yield "size's filter_scale", size.values["filter_scale"], _filter_scale(signal)
    if quantity is not None:
        notional = float(quantity * _price(signal))
        yield "size's quantity", size.values["quantity"], float(quantity)
        yield "size's notional", size.values["notional"], notional
        if "volume_cap" in verdicts:
            yield "volume_cap's notional", verdicts["volume_cap"].values["notional"], notional
    if "liquidation" in verdicts:
        values = verdicts["liquidation"].values
        yield "liquidation's entry", values["entry"], float(_price(signal))
        yield "liquidation's quantity", values["quantity"], float(_decimal(signal.quantity))
        yield "liquidation's leverage", values["leverage"], size.values["leverage"]
        yield "liquidation's positions", values["positions"], verdicts["caps"].values["symbol_cap"]
        yield "liquidation's stop_pct", values["stop_pct"], verdicts["entry"].values["stop_pct"]
        if "distance_pct" in values:
            yield "liquidation's distance_pct", values["distance_pct"], _distance_pct(signal, values)


def _data(signal: Signal, verdicts: Mapping[str, FilterVerdict]) -> str | None:
    if "data" not in verdicts:
        return "missing:data"
    values = verdicts["data"].values
    faults = (
        (values["forecast_refused"] is not None, values["forecast_refused"]),
        (signal.bar_close_at is None, Reason.BAR_MISSING),
        (signal.mark_price is None, Reason.MARK_MISSING),
        (not values["listed"], Reason.INSTRUMENT_MISSING),
        (not values["trading"], Reason.INSTRUMENT_NOT_TRADING),
        (signal.rsi is None or signal.atr is None, Reason.INDICATOR_MISSING),
        (values["forecast_close_at"] != signal.bar_close_at, Reason.FORECAST_STALE),
        (signal.predicted_return is None, Reason.FORECAST_NOT_FINITE),
    )
    return next((str(reason) for fault, reason in faults if fault), None)


def _state(signal: Signal, verdict: FilterVerdict) -> str | None:
    state = verdict.values["state"]
    return None if state == "active" else f"state_{state}"


def _guards(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    for name in GUARD_NAMES:
        if f"{name}_value" in values and values[f"{name}_value"] >= values[f"{name}_limit"]:
            return f"guard_{name}"
    age, limit = values["equity_age_ms"], values["unknown_after_ms"]
    unknown = limit is not None and (age is None or age > limit)
    return str(Reason.GUARD_EQUITY_UNKNOWN) if unknown else None


def _entry(signal: Signal, verdict: FilterVerdict) -> str | None:
    """Where the plugin proposed no price its own word is taken."""
    asked, last = verdict.values["asked_price"], verdict.values["last_price"]
    if asked is not None and _sign(signal) * (_known(asked) - _known(last)) > 0:
        return str(Reason.ENTRY_WRONG_SIDE)
    return None if verdict.allow else verdict.reason


def _on_tick(signal: Signal, entry: FilterVerdict) -> Decimal | None:
    """The limit, on the tick and away from the market; None at market or without an entry."""
    asked = entry.values["asked_price"]
    if asked is None or not entry.allow:
        return None
    tick = _decimal(entry.values["tick_size"])
    rounding = ROUND_FLOOR if signal.side is Side.LONG else ROUND_CEILING
    return (_decimal(asked) / tick).to_integral_value(rounding) * tick


def _size(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    scale = _scale(signal, values)
    if scale is None:
        return str(Reason.VOLATILITY_UNKNOWN)
    quantity = _quantity(signal, values, scale)
    if quantity < _decimal(values["min_quantity"]) or quantity <= 0:
        return str(Reason.QUANTITY_BELOW_MINIMUM)
    if quantity > _decimal(values["max_quantity"]):
        return str(Reason.QUANTITY_ABOVE_MAXIMUM)
    small = quantity * _price(signal) < _decimal(values["min_notional"])
    return str(Reason.NOTIONAL_BELOW_MINIMUM) if small else None


def _scale(signal: Signal, values: Values) -> float | None:
    """filter scales x clamp(target / realised x |predicted| / threshold); None: realised is not known."""
    scale = _filter_scale(signal)
    if "volatility_target" not in values:
        return scale
    realised = values["realised_volatility"]
    if realised is None:
        return None
    strength = abs(_known(signal.predicted_return)) / signal.threshold
    wanted = values["volatility_target"] / realised * strength if realised > 0 else values["volatility_scale_max"]
    return float(scale * min(values["volatility_scale_max"], max(values["volatility_scale_min"], wanted)))


def _filter_scale(signal: Signal) -> float:
    scale = 1.0
    for verdict in signal.filter_verdicts:
        if not verdict.shadow:
            scale *= verdict.scale
    return scale


def _quantity(signal: Signal, values: Values, scale: float) -> Decimal:
    money = _decimal(values["margin_usdt"]) * Decimal(f"{scale:.12g}") * int(values["leverage"])
    step = _decimal(values["step_size"])
    steps = (money / _price(signal) / step).to_integral_value(ROUND_FLOOR)
    return steps * step


def _volume(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    share = values["share_max"]
    notional = float(_decimal(signal.quantity) * _price(signal))
    return str(Reason.VOLUME_CAP) if share is not None and notional > share * values["day_volume_usdt"] else None


def _liquidation(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    if "maintenance_rate" not in values:
        return str(Reason.BRACKETS_MISSING)
    if values["leverage"] > values["bracket_leverage"]:
        return str(Reason.LEVERAGE_ABOVE_BRACKET)
    near = _distance_pct(signal, values) < values["stop_pct"] + values["buffer_pct"]
    return str(Reason.LIQUIDATION_NEAR) if near else None


def _distance_pct(signal: Signal, values: Values) -> float:
    """(entry - liquidation) / entry, the liquidation price being (margin + amount - s q E) / (q r - s q)."""
    entry, sign = _price(signal), _sign(signal)
    whole = _decimal(signal.quantity) * values["positions"]
    rate, amount = _decimal(values["maintenance_rate"]), _decimal(values["maintenance_amount"])
    price = (whole * entry / values["leverage"] + amount - sign * whole * entry) / (whole * rate - sign * whole)
    return float(sign * (entry - price) / entry * 100)


def _funding(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    share, rate, due = values["share_max"], values["funding_rate"], values["next_funding_at"]
    if share is None:
        return None
    if rate is None or due is None:
        return str(Reason.FUNDING_UNKNOWN)
    reached = values["held_until"] is None or due <= values["held_until"]
    dear = reached and _sign(signal) * rate > share * abs(_known(signal.predicted_return))
    return str(Reason.FUNDING_COST) if dear else None


def _caps(signal: Signal, verdict: FilterVerdict) -> str | None:
    values: Values = verdict.values
    if values["opposite"]:
        return str(Reason.OPPOSITE_POSITION)
    for name in ("symbol", "variant", "tier", "account"):
        cap = values[f"{name}_cap"]
        if cap is not None and values[f"{name}_held"] >= cap:
            return f"cap_{name}"
    return None


def _sign(signal: Signal) -> int:
    return 1 if _known(signal.predicted_return) > 0 else -1


def _price(signal: Signal) -> Decimal:
    """What the entry is sized at: its limit, or the mark price of one at market."""
    return _decimal(signal.mark_price if signal.entry_price is None else signal.entry_price)


def _known(value: Any) -> float:
    """A number that the row must have; OurFault where it has none."""
    if value is None:
        raise OurFault("the row lacks a number that its own verdicts were made on")
    return float(value)


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(_known(value)))


_NEEDS = {"size": {"entry"}, "volume_cap": {"entry", "size"}, "liquidation": {"entry", "size"}}
_CHECKS: Mapping[str, Callable[[Signal, FilterVerdict], str | None]] = {
    "state": _state,
    "guards": _guards,
    "entry": _entry,
    "size": _size,
    "volume_cap": _volume,
    "liquidation": _liquidation,
    "funding": _funding,
    "caps": _caps,
}
