"""The exchange's state in time: the clock, the market that is played, the account, and what the streams are told."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from bot.clock import DAY_MS, HOUR_MS, SECOND_MS
from bot.exchange.faults import Fault, FaultPlan
from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import (
    AccountUpdated,
    AlgoUpdated,
    EngineEvent,
    MarginCalled,
    OrderUpdated,
    Rejection,
    Settings,
)
from bot.exchange.simulator import market_payloads, user_events
from bot.exchange.simulator.candles import Candles
from bot.exchange.simulator.faults import Faults
from bot.exchange.simulator.market import Market, PriceStep
from bot.exchange.simulator.market_payloads import Digits, Quote
from bot.exchange.simulator.sockets import Hub, ListenKeys, encoder
from bot.exchange.simulator.truth import Cover, Equity, Ledger, TruthLog, plain
from bot.exchange.wire import INTERVAL_MS
from bot.venue import Instrument

FUNDING_MS = 8 * HOUR_MS
MARK_SUFFIXES = ("@markPrice@1s", "@markPrice")
ALL_MARKS = ("!markPrice@arr@1s", "!markPrice@arr")


class SymbolStreams:
    """The names under which one symbol is published."""

    def __init__(self, symbol: str) -> None:
        lower = symbol.lower()
        self.marks = [lower + suffix for suffix in MARK_SUFFIXES]
        self.klines = [(f"{lower}@kline_{name}", name, length) for name, length in INTERVAL_MS.items()]
        self.book = lower + "@bookTicker"
        self.trades = lower + "@aggTrade"


class World:
    """Everything below the protocol. Time moves by `advance` alone; nothing here waits."""

    def __init__(
        self,
        market: Market,
        hub: Hub,
        *,
        wallet: Decimal,
        settings: Settings,
        seed: int = 0,
    ) -> None:
        self.market = market
        self.hub = hub
        self.hub.private_events_needed = settings.switches.private_events_needed
        self.settings = settings
        self.engine = Engine(market.instruments, wallet, settings)
        self.candles = Candles(market)
        self.keys = ListenKeys(seed)
        self.log = TruthLog()
        self.ledger = Ledger(self.engine)
        self.cover = Cover(self.engine)
        self.equity = Equity(wallet)
        self.quotes: dict[str, Quote] = {}
        self.funding_paid: list[tuple[str, int, Decimal, Decimal]] = []  # symbol, time, rate, mark
        self.funding_ms = dict.fromkeys(market.symbols, FUNDING_MS)
        self.countdowns: dict[str, int] = {}
        self.premiums: dict[str, Decimal] = {}  # how far the mark price is set apart from the last
        self.regridded: set[str] = set()  # whose tick is no longer the one that is played
        self.dual_side = False
        self.multi_assets = False
        self.margin_types = dict.fromkeys(market.symbols, user_events.CROSSED)  # a word alone: margin is always cross
        self.starting_wallet = wallet
        self.accepted = 0
        self.rejected = 0
        self.sequence = 0
        self.now = market.start
        self._streams = {symbol: SymbolStreams(symbol) for symbol in market.symbols}
        self._digits = {symbol: Digits.of(market.instruments[symbol]) for symbol in market.symbols}
        self._steps = market.steps()
        self._next = next(self._steps, None)
        self._happen: Callable[[Fault], None] | None = None
        self.faults = self._at_work(FaultPlan())
        self._pass_time(market.start)
        self.advance(market.start)

    def use(self, plan: FaultPlan, happen: Callable[[Fault], None]) -> None:
        """From now on `plan` says what goes wrong; `happen` does what is due at a time."""
        self.faults = self._at_work(plan)
        self._happen = happen

    @property
    def venue_time(self) -> int:
        """The time as the venue's own clock has it."""
        return self.now + self.faults.clock_offset(self.now)

    @property
    def ended(self) -> bool:
        return self.now >= self.market.end

    @property
    def progress(self) -> float:
        return (self.now - self.market.start) / (self.market.end - self.market.start)

    def next_moment(self, wake_at: int | None = None) -> int:
        """When something happens next: a price, a deadline, the end, or the time that the bot asked for."""
        moments = [self.market.end, *self.countdowns.values()]
        moments += [at for at in (self.faults.next_at, self.engine.next_deadline) if at is not None]
        if self._next is not None:
            moments.append(self._next.at)
        if self.keys.current is not None:
            moments.append(self.keys.expires_at)
        if wake_at is not None and wake_at > self.now:
            moments.append(wake_at)
        return min(max(min(moments), self.now + 1), self.market.end)

    def advance(self, until: int) -> None:
        """Play everything up to and including `until`."""
        while self._next is not None and self._next.at <= until:
            step, self._next = self._next, next(self._steps, None)
            self._play(step)
        self._pass_time(until)

    def settle(self) -> None:
        """Tell the log and the user stream what the engine did since the last time."""
        events = self.settle_unheard()
        if self.keys.current is not None:
            for name, shape in user_events.told(events, self.settings.switches, self.margin_types):
                self.publish_user(name, shape)
        self._do_what_is_due()

    def settle_unheard(self) -> list[EngineEvent]:
        """Write down what the engine did since the last time, and tell nobody."""
        events = self.engine.take_events()
        for event in events:
            self.log.note(event)
            if symbol := _symbol_of(event):
                self.cover.measure(symbol)
            if isinstance(event, AccountUpdated):
                self.faults.note(event)
        return events

    def publish_user(self, event: str, shape: dict[str, Any]) -> None:
        """Hand one event to the user stream; what becomes of it on the way is the faults' business."""
        if self.keys.current is not None:
            self.faults.put_user(event, shape, self.now)

    def expire_listen_key(self) -> None:
        """The key ends before its time."""
        if self.keys.current is not None:
            self.keys.expires_at = self.now
            self._end_lapsed_key()

    def set_price(self, symbol: str, price: Decimal) -> None:
        """Move one price by hand, with a gap, and tell the streams."""
        self._print(symbol, price, gap=True)
        self.settle()
        self.equity.see(self.now, self.engine.wallet + self.engine.unrealized_pnl())
        self._publish_market((symbol,))
        self.log.add(self.now, "price_set", symbol=symbol, price=plain(price))

    def set_mark(self, symbol: str, mark: Decimal | None) -> None:
        """Move the mark price apart from the last price, by which it stays from then on; None: it follows again."""
        last = self.engine.last_price(symbol)
        if last is None:
            raise Rejection(-1122, "Invalid symbol status.")
        if mark is None:
            self.premiums.pop(symbol, None)
            mark = last
        else:
            self.premiums[symbol] = mark - last
        self.engine.on_mark(symbol, mark)
        self.quotes[symbol].mark = mark
        self.settle()
        self._publish_market((symbol,))

    def change_instrument(self, instrument: Instrument) -> None:
        """Other filters from now on; prices that are played are rounded to them."""
        self.engine.change_instrument(instrument)
        self.market.instruments[instrument.symbol] = instrument
        self._digits[instrument.symbol] = Digits.of(instrument)
        self.regridded.add(instrument.symbol)

    def transfer(self, amount: Decimal) -> None:
        """Deposit, or withdraw where `amount` is below zero, and tell the account's stream."""
        self.engine.transfer(amount)
        self.settle()

    def publish_marks(self) -> None:
        """Repeat the mark prices, as the real exchange does each second: nobody need wait for the next price."""
        for symbol in self.quotes:
            self._publish_mark(symbol)

    def report(self) -> dict[str, Any]:
        engine = self.engine
        return {
            "started_at": self.market.start,
            "now": self.now,
            "ended": self.ended,
            "simulated_days": (self.now - self.market.start) / DAY_MS,
            "naked_seconds": self.cover.naked_ms / SECOND_MS,
            "naked_seconds_connected": self.cover.naked_attended_ms / SECOND_MS,
            "orders": self.accepted,
            "fills": len(engine.fills),
            "rejections": self.rejected,
            "wallet": plain(engine.wallet),
            "positions": {position.symbol: plain(position.quantity) for position in engine.positions()},
            "starting_wallet": plain(self.starting_wallet),
            "realized_pnl": plain(engine.realized_pnl),
            "fees": plain(engine.fees),
            "funding": plain(engine.funding),
            "max_drawdown": self.equity.deepest,
            "equity": [(at, plain(equity)) for at, equity in self.equity.points()],
        }

    def _play(self, step: PriceStep) -> None:
        self._pass_time(step.at)
        for symbol, rate in step.funding:
            self._pay_funding(symbol, rate)
        for symbol, price, gap in step.prices:
            self._print(symbol, price, gap=gap)
        for bar in step.closed:
            self.candles.close(bar)
        self.settle()
        self.equity.see(self.now, self.engine.wallet + self.engine.unrealized_pnl())
        self._publish_market([symbol for symbol, _, _ in step.prices])

    def _pass_time(self, now: int) -> None:
        """Move the clock, never back, and do what is due."""
        if now > self.now:
            self.cover.pass_time(now - self.now)
            self.now = now
        self.engine.step(self.now)
        self.hub.pass_time(self.now)
        self.faults.pass_time(self.now)
        self._end_lapsed_key()
        for symbol in [symbol for symbol, at in self.countdowns.items() if at <= self.now]:
            del self.countdowns[symbol]
            self.engine.cancel_all(symbol)
            if self.settings.switches.countdown_cancels_algos:
                self.engine.cancel_all_algos(symbol)
        self.settle()

    def _end_lapsed_key(self) -> None:
        lapsed = self.keys.lapsed(self.now)
        if lapsed is not None:
            self._send_to(lapsed, "listenKeyExpired", user_events.listen_key_event(lapsed, self.now))
            self.log.add(self.now, "listen_key_expired")

    def _at_work(self, plan: FaultPlan) -> Faults:
        faults = Faults(plan, self.log, self._send_user, self._send_kline, self._bend_bar)
        self.engine.fate_of = lambda algo: faults.fate_of(algo, self.now)
        return faults

    def _send_user(self, event: str, shape: dict[str, Any]) -> None:
        if self.keys.current is not None:
            self._send_to(self.keys.current, event, shape)

    def _send_to(self, key: str, event: str, shape: dict[str, Any]) -> None:
        self.hub.publish(key, encoder.encode(shape), event, self.settings.switches.user_stream_name)

    def _send_kline(self, stream: str, shape: dict[str, Any]) -> None:
        self.hub.publish(stream, encoder.encode(shape))

    def _bend_bar(self, symbol: str, interval: str, open_time: int, factor: float | None) -> None:
        self.candles.bend(symbol, INTERVAL_MS[interval], open_time, factor)

    def _do_what_is_due(self) -> None:
        """Let happen what is due now; what that causes is settled here too, and causes nothing further."""
        faults = self.faults
        if faults.happening or faults.plan.empty:
            return
        faults.happening = True
        for fault in faults.plan.due(self.now):
            faults.tell()
            if self._happen is not None:
                self._happen(fault)
            self.settle()
        faults.happening = False
        faults.tell()

    def _print(self, symbol: str, price: Decimal, *, gap: bool) -> None:
        self.sequence += 1
        if symbol in self.regridded:
            price = _on_tick(price, self.engine.instrument(symbol).tick_size)
        mark = price
        if symbol in self.premiums:
            mark = max(self.engine.instrument(symbol).tick_size, price + self.premiums[symbol])
        self.engine.on_price(symbol, price, gap)
        self.engine.on_mark(symbol, mark)
        self.candles.print(symbol, price, self.now)
        quote = self.quotes.get(symbol)
        if quote is None:
            due = self.now - self.now % FUNDING_MS + FUNDING_MS
            self.quotes[symbol] = Quote(price, mark, Decimal("0.0001"), due)
        else:
            quote.last, quote.mark = price, mark

    def _pay_funding(self, symbol: str, rate: Decimal) -> None:
        quote = self.quotes.get(symbol)
        if quote is None:
            return
        paid = [at for name, at, _, _ in self.funding_paid if name == symbol]
        if paid and self.now > paid[-1]:
            self.funding_ms[symbol] = self.now - paid[-1]
        self.funding_paid.append((symbol, self.now, rate, quote.mark))
        quote.funding_rate = rate
        quote.next_funding_at = self.now + self.funding_ms[symbol]
        self.engine.pay_funding(symbol, rate)

    def _publish_market(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self._publish_klines(symbol)
            self._publish_mark(symbol)
            self._publish_trades(symbol)
        for stream in ALL_MARKS:
            if self.hub.heard(stream):
                self.hub.publish(stream, encoder.encode(market_payloads.all_marks(self.quotes, self.now)))

    def _publish_klines(self, symbol: str) -> None:
        for stream, name, length in self._streams[symbol].klines:
            if not self.hub.heard(stream):
                continue
            self.candles.track(symbol, length)
            candle = self.candles.open_candle(symbol, length)
            if candle is None:
                continue
            closed = candle.close_at == self.now + 1
            shape = market_payloads.kline_event(symbol, name, candle, self._digits[symbol], closed=closed, at=self.now)
            self.faults.put_kline(stream, shape, self.now)

    def _publish_mark(self, symbol: str) -> None:
        for stream in self._streams[symbol].marks:
            if self.hub.heard(stream):
                shape = market_payloads.mark_price_event(symbol, self.quotes[symbol], self.now)
                self.hub.publish(stream, encoder.encode(shape))

    def _publish_trades(self, symbol: str) -> None:
        streams, instrument, last = self._streams[symbol], self.market.instruments[symbol], self.quotes[symbol].last
        if self.hub.heard(streams.book):
            shape = market_payloads.book_ticker_event(instrument, last, self.sequence, self.now)
            self.hub.publish(streams.book, encoder.encode(shape))
        if self.hub.heard(streams.trades):
            shape = market_payloads.agg_trade_event(instrument, last, self.sequence, self.now)
            self.hub.publish(streams.trades, encoder.encode(shape))


def _on_tick(price: Decimal, tick: Decimal) -> Decimal:
    return max(tick, (price / tick).to_integral_value() * tick)


def _symbol_of(event: EngineEvent) -> str:
    """Empty for what concerns the whole account."""
    match event:
        case OrderUpdated():
            return event.order.symbol
        case AlgoUpdated():
            return event.algo.symbol
        case AccountUpdated():
            return event.symbol
        case MarginCalled():
            return ""
