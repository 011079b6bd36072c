"""The budget of requests: what is counted, what is kept back for protective calls, and what a silence means."""

import pytest

from bot.clock import MINUTE_MS
from bot.errors import VenueUnavailable
from bot.exchange.budget import HEAD_START_MS, Cost, Kind, RequestBudget, cost_of_klines, limits_of

NOW = 1_760_000_010_000
NEXT_MINUTE = NOW - NOW % MINUTE_MS + MINUTE_MS


def drained(budget: RequestBudget, cost: Cost, *, protective: bool = False) -> int:
    """Spend until the budget says no; how many calls left."""
    for calls in range(10_000):
        try:
            budget.spend(NOW, cost, protective=protective)
        except VenueUnavailable:
            return calls
    raise AssertionError("the budget never says no")


def test_ordinary_calls_stop_before_the_limit_and_protective_ones_at_it() -> None:
    budget = RequestBudget()
    assert drained(budget, Cost(40)) == 48  # 1920 of 2400
    assert drained(budget, Cost(40), protective=True) == 12


def test_a_call_that_may_not_leave_is_told_when_it_may_and_counts_nothing() -> None:
    budget = RequestBudget()
    drained(budget, Cost(40))
    with pytest.raises(VenueUnavailable, match="kept for stops") as refused:
        budget.spend(NOW, Cost(40))
    assert refused.value.retry_at == NEXT_MINUTE
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) == 1_920
    budget.spend(NEXT_MINUTE, Cost(40))


def test_orders_are_counted_by_ten_seconds_and_by_the_minute() -> None:
    budget = RequestBudget()
    assert drained(budget, Cost(0, orders=1)) == 240
    assert drained(budget, Cost(0, orders=1), protective=True) == 60
    later = NOW + 10_000
    budget.spend(later, Cost(0, orders=1))
    assert budget.windows[Kind.ORDERS_10S].spent(later) == 1
    assert budget.windows[Kind.ORDERS_1M].spent(later) == 301


def test_a_call_without_orders_is_not_held_up_by_the_limit_of_orders() -> None:
    budget = RequestBudget()
    budget.out_of_orders(NOW)
    budget.spend(NOW, Cost(1))
    with pytest.raises(VenueUnavailable):
        budget.spend(NOW, Cost(0, orders=1), protective=True)


def test_the_venues_count_is_taken_where_it_is_higher_than_ours() -> None:
    budget = RequestBudget()
    budget.spend(NOW, Cost(100))
    budget.note([("X-MBX-USED-WEIGHT-1M", "40"), ("Date", "now")], NOW)
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) == 100, "an answer does not know what is on its way"
    budget.note([("x-mbx-used-weight-1m", "900"), ("x-mbx-order-count-10s", "many")], NOW)
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) == 900


def test_in_a_silence_nothing_leaves_and_after_it_what_protects_goes_first() -> None:
    heard: list[int] = []
    budget = RequestBudget(on_closed=heard.append)
    budget.close(NOW + 5_000)
    budget.close(NOW + 1_000)
    assert heard == [NOW + 5_000], "a silence gets longer, not shorter"
    for protective in (False, True):
        with pytest.raises(VenueUnavailable):
            budget.spend(NOW + 4_999, Cost(), protective=protective)
    budget.spend(NOW + 5_000, Cost(), protective=True)
    with pytest.raises(VenueUnavailable):
        budget.spend(NOW + 5_000, Cost())
    budget.spend(NOW + 5_000 + HEAD_START_MS, Cost())


def test_a_silence_that_an_earlier_process_was_told_of_counts() -> None:
    with pytest.raises(VenueUnavailable):
        RequestBudget(closed_until=NOW + 1).spend(NOW, Cost(), protective=True)


def test_the_limits_are_the_venues_own_where_it_tells_them() -> None:
    told = (
        b'{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000},'
        b'{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":100},'
        b'{"rateLimitType":"RAW","interval":"DAY","intervalNum":1,"limit":5}]}'
    )
    budget = RequestBudget()
    budget.adopt(limits_of(told))
    assert {kind: window.limit for kind, window in budget.windows.items()} == {
        Kind.WEIGHT_1M: 6_000,
        Kind.ORDERS_1M: 1_200,
        Kind.ORDERS_10S: 100,
    }


@pytest.mark.parametrize("odd", [b"{}", b"<html>", b'{"rateLimits":[{"limit":"many"}]}', b'{"rateLimits":[]}'])
def test_limits_that_cannot_be_read_leave_ours(odd: bytes) -> None:
    assert limits_of(odd) == {}


def test_bars_cost_by_their_number() -> None:
    assert [cost_of_klines(rows).weight for rows in (1, 99, 100, 499, 500, 1_000, 1_500)] == [1, 1, 2, 2, 5, 5, 10]
