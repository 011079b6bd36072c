"""A signal's story in sentences, pure: what was seen, what each filter said, what was done, what came of it."""

from collections.abc import Iterator

from bot.clock import MINUTE_MS
from bot.commands.output import moment
from bot.journal.queries import BookedFill
from bot.journal.stories import Story
from bot.messages import FilterVerdict, Position, Signal
from bot.strategy.counterfactual import CF_EXPIRED, CF_FILLED, CF_REJECTED, pursuit_of
from bot.strategy.recheck import disagreements
from bot.strategy.verdicts import CHECKS, DATA, ENTRY
from bot.venue import Leg, OrderRow

CATEGORIES = ("trend", "momentum", "strength", "volume", "volatility")
TIMES = ("_at", "_until", "now")  # how the names of values end that are times
DURATIONS = "_ms"


def tell(story: Story) -> list[str]:
    """One sentence for each step, in their order."""
    signal = story.signal
    sentences = [*_seen(signal), *_forecast(signal), *_verdicts(signal), _decision(signal)]
    if signal.decision == "enter":
        sentences += [*_orders(story), *_end(story)]
    else:
        sentences.append(_instead(signal))
    sentences += [*_came(signal), *_honest(signal)]
    return sentences


def _seen(signal: Signal) -> Iterator[str]:
    yield (
        f"Signal {signal.signal_id}: variant {signal.variant} of tier {signal.tier} looked at {signal.symbol} "
        f"in its cycle of {moment(signal.cycle_at)} UTC."
    )
    if signal.bar_close_at is None:
        yield "There was no window of bars."
        return
    mark = "no mark price" if signal.mark_price is None else f"a mark price of {signal.mark_price.normalize():f}"
    yield (
        f"It saw bars up to {moment(signal.bar_close_at)} and {mark}; RSI(14) {_number(signal.rsi)}, "
        f"ATR(14) {_number(signal.atr)}."
    )
    scores = {name: getattr(signal, f"cat_{name}") for name in CATEGORIES}
    yield "Categories, from -1 (down) to 1 (up): " + ", ".join(f"{k} {_number(v)}" for k, v in scores.items()) + "."


def _forecast(signal: Signal) -> Iterator[str]:
    if signal.predicted_return is None:
        yield f"There was no forecast; {signal.checkpoint or 'nothing'} serves the tier."
        return
    spread = ""
    if signal.predicted_q10 is not None and signal.predicted_q90 is not None:
        spread = f" (eight times in ten between {signal.predicted_q10:+.3%} and {signal.predicted_q90:+.3%})"
    reached = signal.predicted_return != 0 and abs(signal.predicted_return) >= signal.threshold
    yield (
        f"{signal.checkpoint} predicted {signal.predicted_return:+.3%}{spread}, which "
        f"{'reaches' if reached else 'does not reach'} the threshold of {signal.threshold:.3%}"
        f"{f': {signal.side}' if reached else ''}."
    )


def _verdicts(signal: Signal) -> Iterator[str]:
    for verdict in signal.filter_verdicts:
        if verdict.filter == DATA and verdict.allow:
            continue
        kind = "Check" if verdict.filter in CHECKS else "Filter"
        said = "allowed it" if verdict.allow else "refused it" if kind == "Check" else "vetoed it"
        reason = "" if verdict.reason == "allowed" else f": {verdict.reason}"
        size = f" and shrank the size to {verdict.scale:.0%}" if verdict.scale < 1 else ""
        shadow = ", in shadow: its word did not count" if verdict.shadow else ""
        yield f"{kind} {verdict.filter} {said}{reason}{size}{shadow}{_values(verdict)}."


def _values(verdict: FilterVerdict) -> str:
    shown = [_shown(name, value) for name, value in verdict.values.items() if value is not None]
    return f" ({', '.join(shown)})" if shown else ""


def _shown(name: str, value: object) -> str:
    if name.endswith(DURATIONS) and type(value) is int:
        return f"{name.removesuffix(DURATIONS)} {value / MINUTE_MS:.4g} min"
    return f"{name} {_value(name, value)}"


def _value(name: str, value: object) -> str:
    if name.endswith(TIMES) and type(value) is int:
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, float) else str(value) or "none"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _decision(signal: Signal) -> str:
    if signal.decision != "enter":
        return f"Decision: refused, for {signal.decision_reason}."
    price = "at market" if signal.entry_price is None else f"with a limit at {signal.entry_price.normalize():f}"
    return f"Decision: enter {signal.side} {_plain(signal.quantity)} {price} ({signal.entry_method})."


def _orders(story: Story) -> Iterator[str]:
    if story.position is None:
        yield f"The desk did not take it up: {story.signal.exit_reason or 'nothing is known'}."
        return
    for row in story.orders:
        if row.leg is Leg.ENTRY:
            yield _order("entry", row)
    for fill in story.fills:
        if fill.leg is Leg.ENTRY:
            role = "maker" if fill.maker else "taker"
            yield f"{moment(fill.at)}: filled {_traded(fill)} as {role}, fee {fill.fee:.4f}."
    yield from _protection(story.orders)


def _protection(orders: list[OrderRow]) -> Iterator[str]:
    before: OrderRow | None = None
    for row in (row for row in orders if row.leg in (Leg.STOP, Leg.TARGET)):
        if row.leg is Leg.TARGET:
            asked = f"{_plain(row.request.quantity)} at {_plain(row.request.trigger_price)}"
            yield f"{moment(row.created_at)}: target of {asked}, {row.state}."
            continue
        moved = before is not None and before.request.trigger_price != row.request.trigger_price
        what = "stop moved to" if moved else "stop of" if before is None else "stop covers"
        at = f"{_plain(row.request.quantity)} at " if not moved else ""
        yield f"{moment(row.created_at)}: {what} {at}{_plain(row.request.trigger_price)}, {row.state}."
        before = row


def _order(name: str, row: OrderRow) -> str:
    wanted = row.request
    price = "" if wanted.price is None else f" at {_plain(wanted.price)}"
    only = ", post-only" if wanted.post_only else ""
    word = f" ({row.reason})" if row.reason else ""
    return (
        f"{moment(row.created_at)}: {name} order {row.client_id}, {wanted.kind.lower()} "
        f"{'buy' if wanted.buy else 'sell'} {_plain(wanted.quantity)}{price}{only}: {row.state}{word}."
    )


def _end(story: Story) -> Iterator[str]:
    signal, position = story.signal, story.position
    if position is None:
        return
    for fill in story.fills:
        if fill.leg is not None and fill.leg is not Leg.ENTRY:
            yield f"{moment(fill.at)}: {fill.leg.name.lower()} filled {_traded(fill)}, fee {fill.fee:.4f}."
    yield _result(signal, position)


def _result(signal: Signal, position: Position) -> str:
    if position.closed_at is None:
        if not position.filled:
            return "The entry rests; nothing has filled yet."
        return f"It is open: {_plain(position.open_quantity)}, stop at {_plain(position.stop_price)}."
    if not position.filled:
        return f"{moment(position.closed_at)}: it ended without a fill: {position.exit_reason}."
    return (
        f"{moment(position.closed_at)}: it ended by {position.exit_reason}, net {position.net_pnl:+.4f} USDT "
        f"(gross {position.gross_pnl:+.4f}, fees {position.fees:.4f}, funding {position.funding:+.4f})."
    )


def _instead(signal: Signal) -> str:
    match signal.fill_status:
        case status if status == CF_FILLED:
            return (
                f"Had it been entered: filled at {_plain(signal.fill_price)}, ended by {signal.exit_reason} at "
                f"{_plain(signal.exit_price)}, net {signal.net_pnl:+.4f} USDT, on recorded bars."
            )
        case status if status == CF_EXPIRED:
            return "Had it been entered: the price would not have come to its limit in time."
        case status if status == CF_REJECTED:
            return "Had it been entered: the venue would have refused the post-only limit, which the price had passed."
    if all(verdict.filter != ENTRY for verdict in signal.filter_verdicts):
        return "It was no candidate: no filter was asked, and no entry was looked for."
    if pursuit_of(signal) is None:
        return "What it would have come to cannot be told: it had no entry or no size."
    return "What it would have come to is not known yet."


def _came(signal: Signal) -> Iterator[str]:
    if signal.actual_return is not None:
        yield f"At the forecast's horizon the price had come to {signal.actual_return:+.3%}."


def _honest(signal: Signal) -> Iterator[str]:
    wrong = disagreements(signal)
    if not wrong:
        yield "The row agrees with itself: its decision follows from its own numbers."
    for one in wrong:
        yield f"THE ROW DISAGREES WITH ITSELF: {one}."


def _traded(fill: BookedFill) -> str:
    return f"{_plain(fill.quantity)} at {_plain(fill.price)}"


def _plain(value: object) -> str:
    return "nothing" if value is None else f"{value:f}"
