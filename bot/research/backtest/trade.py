"""One accepted entry, walked to its end: fills, fees, funding, and the exit, in the venue's decimals."""

import math
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from bot.config import CostsTable
from bot.config import money as as_money
from bot.exchange.matching import Settings
from bot.messages import EntryIntent, Position, PositionStatus, Side
from bot.research.backtest.market import SymbolMarket
from bot.strategy.exits import OFF, STILL_OPEN, scalars
from bot.strategy.follow import EXPIRED, FILLED, Path
from bot.strategy.liquidation import bracket_of, liquidation_price
from bot.strategy.walk import ENDS, NEVER, bar_at, first_stop, first_target, hold, wait, worsened

CENT = Decimal("0.00000001")  # what the venue rounds fees and payments to
NOT_FILLED, REJECTED, NO_BARS = "not_filled", "rejected", "no_bars"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What trading costs, and how a bar is walked. Fees are fractions of the notional."""

    maker_fee: Decimal
    taker_fee: Decimal
    slippage_bps: float
    latency_ms: int = 0  # from a decision to its order at the venue
    path: Path = Path.PESSIMISTIC
    arms: bool = True  # a limit gets its stop before it is sent, and is not sent where that would trigger
    liquidates: bool = True  # positions end at the liquidation price of isolated margin


def terms_of(costs: CostsTable, path: Path, latency_ms: int, *, arms: bool) -> Terms:
    """What the operator says that trading costs; along a played path nothing that the simulator does not do."""
    return Terms(
        maker_fee=as_money(costs.maker_fee_pct) / 100,
        taker_fee=as_money(costs.taker_fee_pct) / 100,
        slippage_bps=costs.slippage_bps,
        latency_ms=0 if path is Path.PLAYED else latency_ms,
        path=path,
        arms=arms,
        liquidates=path is not Path.PLAYED,
    )


def simulators_terms() -> Terms:
    """What the exchange simulator charges, and how it plays a bar."""
    settings = Settings()
    return Terms(
        maker_fee=settings.maker_fee,
        taker_fee=settings.taker_fee,
        slippage_bps=float(settings.market_slippage_bps),
        path=Path.PLAYED,
        liquidates=False,
    )


class Trade(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What came of an entry. `position` is as the desk would have left it."""

    intent: EntryIntent
    position: Position
    predicted: float
    maker: bool = False
    entry_fee: float = 0.0  # a fraction of the notional
    ends_at: int  # NEVER: the path ends before it does
    by_bot: bool = False  # what ended it was the bot's own order, whose fill is heard of after that moment's decisions
    torn: bool = False  # a bar was missing on its way

    @property
    def filled_at(self) -> int:
        return NEVER if self.position.opened_at is None else self.position.opened_at


class _Entered(msgspec.Struct, frozen=True):
    """A fill in ticks, and from where on the position is walked."""

    price: float
    at: int
    index: int
    first_at: int
    last: float
    maker: bool


def money(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_EVEN)


def walk(intent: EntryIntent, market: SymbolMarket, terms: Terms, predicted: float) -> Trade:
    """Send `intent` into the recorded market and follow it to its end."""
    entered = _enter(intent, market, terms)
    if not isinstance(entered, _Entered):
        reason, ends_at = entered
        return _unfilled(intent, predicted, reason, ends_at)
    sign, plan, path = intent.side.sign, intent.exits, market.path
    rules = scalars(plan)
    target_pct = OFF if plan.target_pct is None else plan.target_pct
    ended, found, at, index, by_bot = hold(
        path.at,
        path.span,
        path.ticks,
        entered.index,
        sign,
        entered.price,
        entered.at,
        entered.first_at,
        entered.last,
        first_stop(entered.price, sign, plan.stop_pct),
        first_target(entered.price, sign, target_pct),
        _liquidation(intent, market, entered.price) if terms.liquidates else math.nan,
        rules,
        int(terms.path),
        entered.maker,
        terms.latency_ms,
    )
    position, fee = _opened(intent, entered, market, terms), terms.maker_fee if entered.maker else terms.taker_fee
    if ended <= STILL_OPEN:
        return Trade(
            intent=intent,
            position=position,
            predicted=predicted,
            maker=entered.maker,
            entry_fee=float(fee),
            ends_at=NEVER if ended == STILL_OPEN or not index else int(path.at[index - 1] + path.span[index - 1]),
            torn=ended < STILL_OPEN,
        )
    price = int(worsened(found, sign < 0, terms.slippage_bps)) * market.instrument.tick_size
    _close(position, entered.at, price, at, ENDS[ended], market, terms)
    return Trade(
        intent=intent,
        position=position,
        predicted=predicted,
        maker=entered.maker,
        entry_fee=float(fee),
        ends_at=at,
        by_bot=by_bot,
    )


def _enter(intent: EntryIntent, market: SymbolMarket, terms: Terms) -> _Entered | tuple[str, int]:
    """The entry's fill; or why there is none, and when it is over."""
    path, sign = market.path, intent.side.sign
    arrives = intent.created_at + terms.latency_ms
    start = bar_at(path, arrives)
    if start is None:
        return NO_BARS, intent.created_at
    last = market.ticks_in(start, arrives)
    taken = worsened(last, sign > 0, terms.slippage_bps)
    if intent.limit_price is None:
        return _Entered(taken, arrives, start, arrives + 1, last, False)
    limit = float(intent.limit_price / market.instrument.tick_size)
    if terms.arms and sign * (last - first_stop(limit, sign, intent.exits.stop_pct)) <= 0:
        return REJECTED, arrives
    if sign * (limit - last) > 0:
        if intent.post_only:
            return REJECTED, arrives
        price = min(taken, limit) if sign > 0 else max(taken, limit)
        return _Entered(price, arrives, start, arrives + 1, last, False)
    found, index, at = wait(
        path.at, path.span, path.ticks, start, sign, limit, arrives, intent.expires_at, int(terms.path)
    )
    if found == FILLED:
        return _Entered(limit, at, index, at, limit, True)
    if found == EXPIRED:
        return NOT_FILLED, at
    return NO_BARS, intent.expires_at if index < len(path) else NEVER


def _liquidation(intent: EntryIntent, market: SymbolMarket, entry: float) -> float:
    """In ticks, as if the margin was isolated; NaN where no brackets are known."""
    brackets = market.instrument.brackets
    if not brackets:
        return math.nan
    price = Decimal(int(entry)) * market.instrument.tick_size
    notional = price * intent.quantity
    bracket = bracket_of(brackets, notional)
    level = liquidation_price(
        price, intent.side, intent.quantity, notional / intent.leverage, bracket.maintenance_rate, bracket.amount
    )
    return float(level / market.instrument.tick_size)


def _opened(intent: EntryIntent, entered: _Entered, market: SymbolMarket, terms: Terms) -> Position:
    position = Position.of(intent)
    position.status, position.filled, position.opened_at = PositionStatus.OPEN, intent.quantity, entered.at
    position.entry_price = int(entered.price) * market.instrument.tick_size
    fee = terms.maker_fee if entered.maker else terms.taker_fee
    position.fees = money(position.entry_price * intent.quantity * fee)
    return position


def refused(intent: EntryIntent, predicted: float, reason: str) -> Trade:
    """An entry that the venue does not take."""
    return _unfilled(intent, predicted, reason, intent.created_at)


def _unfilled(intent: EntryIntent, predicted: float, reason: str, ends_at: int) -> Trade:
    position = Position.of(intent)
    if ends_at != NEVER:
        position.status, position.closed_at, position.exit_reason = PositionStatus.CLOSED, ends_at, reason
    return Trade(
        intent=intent,
        position=position,
        predicted=predicted,
        ends_at=ends_at,
        by_bot=reason == REJECTED,
        torn=reason == NO_BARS,
    )


def _close(
    position: Position, opened_at: int, price: Decimal, at: int, reason: str, market: SymbolMarket, terms: Terms
) -> None:
    quantity = position.filled
    position.status, position.closed, position.closed_at = PositionStatus.CLOSED, quantity, at
    position.exit_price, position.exit_reason = price, reason
    position.fees += money(price * quantity * terms.taker_fee)
    position.gross_pnl = (price - (position.entry_price or price)) * quantity * position.side.sign
    position.funding = funding_paid(market, position.side, quantity, opened_at, at)


def funding_paid(market: SymbolMarket, side: Side, quantity: Decimal, opened_at: int, until: int) -> Decimal:
    """What payments after `opened_at`, up to `until`, came to on the notional at the price that stood before each."""
    total, due = Decimal(0), market.funding.at
    for number in range(int(due.searchsorted(opened_at, side="right")), int(due.searchsorted(until, side="right"))):
        mark = market.ticks_at(int(market.funding.at[number]) - 1)
        if mark is not None:
            price = int(mark) * market.instrument.tick_size
            total += money(-side.sign * quantity * price * market.funding.rate[number])
    return total
