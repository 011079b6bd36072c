"""What must hold whatever is asked of the engine and wherever the prices go."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.exchange.matching import (
    AccountUpdated,
    Amendment,
    Engine,
    Execution,
    NewAlgo,
    NewOrder,
    OrderUpdated,
    Rejection,
    Settings,
)
from bot.venue import Instrument, VenueStatus

D = Decimal
START = D(500)
SYMBOLS = ("AUSDT", "BUSDT")
INSTRUMENTS = {
    symbol: Instrument(
        symbol=symbol,
        tick_size=tick,
        step_size=D("0.001"),
        min_quantity=D("0.001"),
        max_quantity=D(1000),
        max_market_quantity=D(1000),
        min_notional=D(5),
    )
    for symbol, tick in zip(SYMBOLS, (D("0.1"), D("0.0001")), strict=True)
}
repeatable = settings(deadline=None, derandomize=True, max_examples=60)
Step = Callable[[Engine], object]

symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(["BUY", "SELL"])
prices = st.integers(95, 105).map(D) | st.integers(950, 1050).map(lambda tenths: D(tenths) / 10)
quantities = st.integers(1, 60).map(D) | st.integers(60, 20_000).map(lambda thousandths: D(thousandths) / 1000)
orders = st.builds(
    NewOrder,
    symbol=symbols,
    side=sides,
    type=st.just("LIMIT"),
    time_in_force=st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK", "GTX"]),
    quantity=quantities,
    price=prices,
    reduce_only=st.booleans(),
) | st.builds(
    NewOrder, symbol=symbols, side=sides, type=st.just("MARKET"), quantity=quantities, reduce_only=st.booleans()
)
algos = st.builds(
    NewAlgo,
    symbol=symbols,
    side=sides,
    type=st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET"]),
    quantity=quantities,
    trigger_price=prices,
    reduce_only=st.booleans(),
    working_type=st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"]),
) | st.builds(
    NewAlgo,
    symbol=symbols,
    side=sides,
    type=st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET"]),
    trigger_price=prices,
    close_position=st.just(True),
)
other_algos = st.builds(
    NewAlgo,
    symbol=symbols,
    side=sides,
    type=st.sampled_from(["STOP", "TAKE_PROFIT"]),
    quantity=quantities,
    trigger_price=prices,
    price=prices,
    time_in_force=st.sampled_from(["GTC", "IOC", "GTX"]),
    reduce_only=st.booleans(),
    price_protect=st.booleans(),
) | st.builds(
    NewAlgo,
    symbol=symbols,
    side=sides,
    type=st.just("TRAILING_STOP_MARKET"),
    quantity=quantities,
    callback_rate=st.sampled_from([D("0.1"), D(1), D(3)]),
    activate_price=st.none() | prices,
    reduce_only=st.booleans(),
    working_type=st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"]),
)


def amend_nth(nth: int, quantity: Decimal, price: Decimal) -> Step:
    def amend(engine: Engine) -> None:
        resting = engine.open_orders()
        if resting:
            order = resting[nth % len(resting)]
            engine.modify(
                Amendment(symbol=order.symbol, side=order.side, order_id=order.order_id, quantity=quantity, price=price)
            )

    return amend


def cancel_nth(nth: int) -> Step:
    def cancel(engine: Engine) -> None:
        resting = engine.open_orders()
        if resting:
            order = resting[nth % len(resting)]
            engine.cancel(order.symbol, order.order_id)

    return cancel


def steps() -> st.SearchStrategy[Step]:
    return st.one_of(
        orders.map(lambda new: lambda engine: engine.place(new)),
        algos.map(lambda new: lambda engine: engine.place_algo(new)),
        other_algos.map(lambda new: lambda engine: engine.place_algo(new)),
        st.tuples(st.integers(0, 20), quantities, prices).map(lambda change: amend_nth(*change)),
        st.tuples(symbols, quantities).map(lambda closed: lambda engine: engine.deleverage(*closed)),
        st.tuples(symbols, prices, st.booleans()).map(lambda move: lambda engine: engine.on_price(*move)),
        st.tuples(symbols, prices).map(lambda move: lambda engine: engine.on_mark(*move)),
        st.tuples(symbols, st.integers(-30, 30).map(lambda bps: D(bps) / 10_000)).map(
            lambda paid: lambda engine: engine.pay_funding(*paid)
        ),
        st.integers(0, 20).map(cancel_nth),
    )


plays = st.lists(steps(), min_size=25, max_size=60)


def venue(seed: int = 1, depth: int = 0) -> Engine:
    rules = Settings(
        partial_fill_probability=0.5,
        seed=seed,
        percent_price=D(1),
        maintenance_ratio=D("0.02"),
        depth_usdt=D(depth),
    )
    engine = Engine(INSTRUMENTS, START, rules)
    for symbol in SYMBOLS:
        engine.on_price(symbol, D(100))
        engine.on_mark(symbol, D(100))
    return engine


def run(engine: Engine, play: list[Step], after: Callable[[Engine], None] = lambda engine: None) -> Engine:
    for step in play:
        engine.step(engine.now + 1)
        with suppress(Rejection):
            step(engine)
        after(engine)
    return engine


@given(plays)
@repeatable
def test_money_is_conserved_to_the_last_digit(play: list[Step]) -> None:
    def books_agree(engine: Engine) -> None:
        assert engine.wallet == START + engine.realized_pnl - engine.fees + engine.funding
        assert engine.wallet == START + sum(row.amount for row in engine.income)
        assert engine.fees == sum(fill.fee for fill in engine.fills)
        assert engine.realized_pnl == sum(fill.realized_pnl for fill in engine.fills)

    engine = run(venue(), play, books_agree)
    for symbol in SYMBOLS:  # equity by cash flow equals equity by cost basis, exactly
        own = [fill for fill in engine.fills if fill.symbol == symbol]
        paid = sum((fill.price * fill.quantity * (1 if fill.buy else -1) for fill in own), D(0))
        position, mark = engine.position(symbol), engine.mark_price(symbol)
        assert mark is not None
        assert position.realized_pnl + position.unrealized_pnl == position.quantity * mark - paid


@given(plays)
@repeatable
def test_the_net_position_is_the_sum_of_the_signed_fills(play: list[Step]) -> None:
    engine = run(venue(), play)
    net: dict[str, Decimal] = defaultdict(Decimal)
    executed: dict[int, Decimal] = defaultdict(Decimal)
    for fill in engine.fills:
        net[fill.symbol] += fill.quantity if fill.buy else -fill.quantity
        executed[fill.venue_id] += fill.quantity
    assert {held.symbol: held.quantity for held in engine.positions()} == {s: q for s, q in net.items() if q}
    assert executed == {order.order_id: order.executed for order in engine.orders.values() if order.executed}
    for symbol in SYMBOLS:
        ids = [fill.trade_id for fill in engine.fills if fill.symbol == symbol]
        assert ids == list(range(1, len(ids) + 1))


@given(plays)
@repeatable
def test_reduce_only_never_adds_to_a_position_or_turns_it(play: list[Step]) -> None:
    engine = run(venue(), play)
    net: dict[str, Decimal] = defaultdict(Decimal)
    for fill in engine.fills:
        before = net[fill.symbol]
        after = before + (fill.quantity if fill.buy else -fill.quantity)
        net[fill.symbol] = after
        if engine.orders[fill.venue_id].reduce_only:
            assert abs(after) < abs(before)
            assert after * before >= 0


@given(plays, st.sampled_from([0, 500]))
@repeatable
def test_no_fill_is_worse_than_its_limit_off_the_grid_or_larger_than_its_order(play: list[Step], depth: int) -> None:
    engine = run(venue(depth=depth), play)
    for fill in engine.fills:
        order, instrument = engine.orders[fill.venue_id], INSTRUMENTS[fill.symbol]
        if order.type == "LIMIT" and not order.amendments:  # an amended one may have been filled at its price before
            assert fill.price <= order.price if order.buy else fill.price >= order.price
        if not order.client_id.startswith(("autoclose-", "adl_autoclose")):  # these are filled at the mark price
            assert fill.price % instrument.tick_size == 0
        assert fill.quantity > 0
        assert fill.quantity % instrument.step_size == 0
    for order in engine.orders.values():
        assert order.executed <= order.quantity
        assert (order.status is VenueStatus.FILLED) == (order.executed == order.quantity)


@given(plays, st.integers(0, 3))
@repeatable
def test_the_same_seed_tells_the_same_events(play: list[Step], seed: int) -> None:
    assert run(venue(seed), play).take_events() == run(venue(seed), play).take_events()


@given(plays)
@repeatable
def test_the_events_alone_rebuild_the_account(play: list[Step]) -> None:
    engine = run(venue(), play)
    wallet, net, fills = START, {}, []
    for event in engine.take_events():
        if isinstance(event, AccountUpdated):
            wallet = event.wallet
            net.update({held.symbol: held.quantity for held in event.positions})
        elif isinstance(event, OrderUpdated):
            assert (event.fill is not None) == (event.execution in (Execution.TRADE, Execution.CALCULATED))
            if event.fill is not None:
                fills.append(event.fill)
    assert wallet == engine.wallet
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {
        held.symbol: held.quantity for held in engine.positions()
    }
    assert fills == engine.fills


@given(plays)
@repeatable
def test_a_conditional_order_is_finished_when_and_only_when_its_child_is(play: list[Step]) -> None:
    engine = run(venue(), play)
    for algo in engine.algos.values():
        if algo.order_id is None:
            assert algo.status not in (VenueStatus.TRIGGERED, VenueStatus.FINISHED)
            continue
        child = engine.orders[algo.order_id]
        assert (algo.status is VenueStatus.FINISHED) == (not child.is_open)
        assert algo.actual_quantity in (child.executed, 0)
        assert child.client_id == algo.client_id


@given(plays)
@repeatable
def test_nothing_that_a_price_has_met_is_left_waiting(play: list[Step]) -> None:
    """After a move a level at or through the price holds only the rest of an order touched there, or a limit at it."""

    def settled(engine: Engine) -> None:
        for algo in engine.open_algos():
            if algo.type == "TRAILING_STOP_MARKET" or algo.price_protect:
                continue  # these wait at a level of their own, or in spite of the price
            price = (
                engine.mark_price(algo.symbol) if algo.working_type == "MARK_PRICE" else engine.last_price(algo.symbol)
            )
            assert price is not None
            assert price < algo.trigger_price if algo.triggers_upward else price > algo.trigger_price
        for order in engine.open_orders():
            last = engine.last_price(order.symbol)
            assert last is not None
            through = last < order.price if order.buy else last > order.price
            assert not through or order.executed

    run(venue(), play, settled)


@given(st.lists(st.tuples(prices, prices), min_size=1, max_size=6), st.lists(prices, min_size=1, max_size=6))
@repeatable
def test_a_move_in_small_steps_fills_what_one_long_move_fills(
    limits: list[tuple[Decimal, Decimal]], path: list[Decimal]
) -> None:
    """A continuous move trades every level between, so where its intermediate prices are told makes no difference."""

    def engine() -> Engine:
        made = Engine(INSTRUMENTS, D(10**6), Settings(partial_fill_probability=0, percent_price=D(1)))
        made.on_price("AUSDT", D(100))
        for low, high in limits:
            buy = NewOrder(symbol="AUSDT", side="BUY", type="LIMIT", quantity=D(1), price=low, time_in_force="GTX")
            sell = NewAlgo(symbol="AUSDT", side="SELL", type="STOP_MARKET", quantity=D(1), trigger_price=high)
            with suppress(Rejection):  # -5022, -2021: not on its side of the market
                made.place(buy)
            with suppress(Rejection):
                made.place_algo(sell)
        return made

    coarse, fine = engine(), engine()
    last = D(100)
    for price in path:
        coarse.on_price("AUSDT", price)
        tick = D("0.1") if price > last else D("-0.1")
        if price == last:
            fine.on_price("AUSDT", last)
        while last != price:
            last += tick
            fine.on_price("AUSDT", last)
    assert [(fill.client_id, fill.price, fill.fee) for fill in coarse.fills] == [
        (fill.client_id, fill.price, fill.fee) for fill in fine.fills
    ]
