import hashlib
from decimal import Decimal
from statistics import median
from time import perf_counter

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import OurFault
from bot.journal.records import Records
from bot.journal.store import Store
from bot.messages import PositionStatus
from bot.venue import Fill, Leg, OrderState
from tests.journal.rows import AT, fill, funding, order, position, signal

pytestmark = pytest.mark.anyio

money = st.decimals(allow_nan=False, allow_infinity=False, places=None).map(
    lambda value: value + Decimal(0)
) | st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**24), 10**24), st.integers(-6, 18)
)
amounts = money.map(abs).filter(lambda value: value > 0 and -60 < value.adjusted() < 60)
signed = money.filter(lambda value: value == 0 or -60 < value.adjusted() < 60)


async def test_an_order_comes_back_as_it_was_committed(store: Store) -> None:
    await store.commit_orders([order()], [position()])
    assert await store.find_order("tsb-1-e0") == order()
    assert await store.load_orders(["tsb-1-e0"]) == [order()]
    assert await store.load_position("p1") == position()
    assert await store.find_order("tsb-1-e1") is None
    assert await store.load_position("p2") is None


async def test_a_repeated_commit_leaves_what_has_happened_since(store: Store) -> None:
    await store.commit_orders([order()])
    await store.save([order(state=OrderState.WORKING, venue_id=7)])
    await store.commit_orders([order()])
    found = await store.find_order("tsb-1-e0")
    assert found is not None
    assert (found.state, found.venue_id) == (OrderState.WORKING, 7)


async def test_a_client_id_cannot_be_taken_by_another_order_and_nothing_of_the_commit_stays(store: Store) -> None:
    await store.commit_orders([order()])
    with pytest.raises(OurFault, match="tsb-1-e0"):
        await store.commit_orders([order("tsb-2-e0"), order(price=Decimal("84350.2"))], [position("p2")])
    assert await store.find_order("tsb-2-e0") is None
    assert await store.load_position("p2") is None


async def test_a_save_changes_only_what_may_change_of_an_order(store: Store) -> None:
    await store.commit_orders([order()])
    await store.save([order(price=Decimal(1), state=OrderState.FILLED, filled=Decimal("0.020"), reason="x")])
    assert await store.find_order("tsb-1-e0") == order(state=OrderState.FILLED, filled=Decimal("0.020"), reason="x")


async def test_of_one_order_given_twice_the_last_counts(store: Store) -> None:
    await store.save([order(), order(state=OrderState.WORKING)], [position(), position(status=PositionStatus.CLOSED)])
    assert await store.find_order("tsb-1-e0") == order(state=OrderState.WORKING)
    assert await store.load_open_positions() == []


async def test_fills_are_booked_once_however_often_they_come(store: Store) -> None:
    assert await store.save(fills=[(fill(1), "p1", Leg.ENTRY), (fill(2), None, None)]) == [fill(1), fill(2)]
    again = [(fill(1, client_id=""), None, None), (fill(3), "p1", Leg.STOP), (fill(3), "p1", Leg.STOP)]
    assert await store.save(fills=again) == [fill(3)]
    assert await store.save(fills=[(fill(1, symbol="ETHUSDT"), "p1", Leg.ENTRY)]) == [fill(1, symbol="ETHUSDT")]
    assert (await store.ledger()).fills == 4
    assert await store.fill_ids({"BTCUSDT": 2}) == {("BTCUSDT", 2), ("BTCUSDT", 3), ("ETHUSDT", 1)}


async def test_a_funding_payment_is_booked_once(store: Store) -> None:
    await store.save(funding=[funding(1), funding(2, at=AT + 1)])
    await store.save(funding=[funding(1, amount=Decimal(-5))])
    ledger = await store.ledger()
    assert (ledger.funding, ledger.last_funding_at) == (Decimal("-0.3374004"), AT + 1)
    assert await store.income_ids(AT + 1) == {2}


async def test_a_save_that_breaks_a_rule_leaves_nothing(store: Store) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await store.save([order()], [position()], [(fill(quantity=Decimal(0)), None, None)])
    with pytest.raises(asyncpg.CheckViolationError):
        await store.save([order()], [position(fees=Decimal("NaN"))])
    assert await store.find_order("tsb-1-e0") is None
    assert await store.load_open_positions() == []


async def test_only_positions_that_are_not_closed_are_open(store: Store) -> None:
    rows = [position(status.value, status=status) for status in PositionStatus]
    await store.save(positions=rows)
    assert {row.status for row in await store.load_open_positions()} == set(PositionStatus) - {PositionStatus.CLOSED}


async def test_an_outcome_that_nobody_lived_to_tell_is_found_by_the_signals_row(
    store: Store, pool: asyncpg.Pool
) -> None:
    over = {"status": PositionStatus.CLOSED, "filled": Decimal(1), "closed": Decimal(1), "gross_pnl": Decimal(3)}
    unfilled = {"status": PositionStatus.CLOSED, "exit_reason": "not_filled"}
    await store.save(
        positions=[
            position("told", **over),
            position("untold", **over),
            position("expired", **unfilled),
            position("untold-expired", **unfilled),
            position("open", status=PositionStatus.OPEN, filled=Decimal(1)),
        ]
    )
    await Records(pool).write(
        [
            signal("told", fill_status="filled", net_pnl=Decimal(3)),
            signal("untold", fill_status="filled"),
            signal("expired", fill_status="expired"),
            signal("untold-expired"),
            signal("open"),
            signal("lost"),
            signal("refused", decision="refuse", fill_status=None),
        ]
    )
    assert {found.position_id for found in await store.load_untold()} == {"untold", "untold-expired"}
    assert await store.load_lost_intents() == ["lost"]


async def test_live_orders_are_those_whose_end_is_not_known(store: Store) -> None:
    await store.save([order(f"tsb-{state}", state=state) for state in OrderState] + [order("other-1")])
    live = {OrderState.INTENDED, OrderState.UNRESOLVED, OrderState.WORKING, OrderState.TRIGGERED}
    assert {row.state for row in await store.load_live_orders()} == live
    assert len(await store.find_orders_with_prefix("tsb-")) == len(OrderState)


async def test_the_ledger_of_an_empty_journal_is_zero_without_a_wallet(store: Store) -> None:
    ledger = await store.ledger()
    assert (ledger.realized_pnl, ledger.fees, ledger.fills, ledger.net, ledger.last_funding_at) == (0, 0, 0, {}, None)
    with pytest.raises(OurFault):
        _ = ledger.wallet


async def test_the_ledger_adds_up_by_symbol_and_counts_fees_in_usdt_alone(store: Store) -> None:
    await store.set_fact("starting_wallet", Decimal(10000))
    await store.save(
        fills=[
            (fill(5), None, None),
            (fill(6, buy=False, realized_pnl=Decimal("-1.5"), fee=Decimal(1), fee_asset="BNB"), None, None),
            (fill(2, symbol="ETHUSDT", buy=False, quantity=Decimal(100), fee=Decimal("0.1")), None, None),
        ],
        funding=[funding()],
    )
    ledger = await store.ledger()
    assert ledger.net == {"BTCUSDT": Decimal(0), "ETHUSDT": Decimal(-100)}
    assert str(ledger.net["ETHUSDT"]) == "-100"
    assert ledger.last_trade_id == {"BTCUSDT": 6, "ETHUSDT": 2}
    assert ledger.fees == Decimal("0.4374004")
    assert ledger.wallet == Decimal(10000) - Decimal("1.5") - Decimal("0.4374004") - Decimal("0.1687002")


def expected_digest(fills: list[Fill]) -> str:
    lines = [
        "|".join(
            [item.symbol, str(item.trade_id), "BUY" if item.buy else "SELL"]
            + [format(value.normalize(), "f") for value in (item.price, item.quantity, item.fee, item.realized_pnl)]
        )
        for item in sorted(fills, key=lambda item: (item.symbol, item.trade_id))
    ]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


async def test_the_digest_is_that_of_the_lockstep_protocol(store: Store) -> None:
    fills = [
        fill(10, symbol="1000SHIBUSDT", quantity=Decimal(1200), price=Decimal("0.0123400")),
        fill(9, buy=False, realized_pnl=Decimal("-12.5000"), fee=Decimal("-0.00001")),
        fill(100),
        fill(11, symbol="ETHUSDT", fee=Decimal("0E-8")),
    ]
    assert await store.fills_digest() == expected_digest([])
    await store.save(fills=[(item, None, None) for item in fills])
    assert await store.fills_digest() == expected_digest(fills)


async def test_facts_are_json_and_the_last_one_stands(store: Store) -> None:
    assert await store.get_fact("restarts") is None
    for value in ({"a": [1, 2.5, None]}, 3, "text"):
        await store.set_fact("restarts", value)
        assert await store.get_fact("restarts") == value


@given(price=amounts, quantity=amounts, fee=signed, realized=signed)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_decimal_comes_back_exactly_and_without_an_exponent(
    store: Store, price: Decimal, quantity: Decimal, fee: Decimal, realized: Decimal
) -> None:
    name = hashlib.sha256(repr((price, quantity, fee, realized)).encode()).hexdigest()[:20]
    row = order(name, price=price, quantity=quantity, filled=quantity)
    place = position(name, intended=price, filled=quantity, entry_price=price, fees=fee, gross_pnl=realized)
    await store.save([row], [place])
    found = await store.find_order(name)
    assert found == row
    assert await store.load_position(name) == place
    assert found is not None
    for value in (found.request.quantity, found.request.price, found.filled):
        assert "E+" not in str(value)


async def test_trailing_zeros_of_a_number_survive(store: Store) -> None:
    await store.save([order(price=Decimal("84350.10"), quantity=Decimal(100))])
    found = await store.find_order("tsb-1-e0")
    assert found is not None
    assert (str(found.request.price), str(found.request.quantity)) == ("84350.10", "100")


async def test_the_columns_of_a_position_are_those_of_the_struct(pool: asyncpg.Pool) -> None:
    rows = await pool.fetch(
        """SELECT attname FROM pg_attribute WHERE attrelid = 'bot.positions'::regclass AND attnum > 0 ORDER BY attnum"""
    )
    *fields, naked_seconds = msgspec.structs.asdict(position())
    assert [row[0] for row in rows] == [*fields, "net_pnl", naked_seconds]


async def test_a_save_takes_milliseconds(store: Store) -> None:
    seconds = []
    for number in range(50):
        begun = perf_counter()
        await store.save([order(f"o{number}")], [position(f"p{number}")], [(fill(number), f"p{number}", Leg.ENTRY)])
        seconds.append(perf_counter() - begun)
    assert median(seconds) < 0.1
