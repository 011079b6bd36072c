"""How often the venue may be asked: what was sent is counted here, what the venue says corrects it, some is kept back.

One budget is shared by all clients behind one IP address. Ordinary calls stop at a limit less its reserve, so that
stops, exits and cancels still go through. While the venue wants silence nothing is sent at all: asking on makes a ban
longer.
"""

import enum
import re
from collections.abc import Callable, Iterable

import msgspec

from bot.clock import MINUTE_MS, SECOND_MS
from bot.errors import VenueDisagrees, VenueUnavailable
from bot.exchange.payload import Payload, decode

RESERVE = 0.2  # of each limit, for protective calls alone
HEAD_START_MS = 2 * SECOND_MS  # after a silence protective calls go first
TEN_SECONDS_MS = 10 * SECOND_MS
_LENGTHS = {"SECOND": SECOND_MS, "MINUTE": MINUTE_MS}


class Cost(msgspec.Struct, frozen=True):
    """What one call takes of the limits."""

    weight: int = 1
    orders: int = 0


# Calls of the SDK by name, others by path (docs of /fapi, 2026-10). A call that is not here is a mistake of ours.
COSTS = {
    "new_order": Cost(weight=0, orders=1),
    "new_algo_order": Cost(weight=0, orders=1),
    "cancel_order": Cost(),
    "cancel_algo_order": Cost(),
    "query_order": Cost(),
    "query_algo_order": Cost(),
    "current_all_open_orders": Cost(40),
    "current_all_algo_open_orders": Cost(40),
    "position_information_v3": Cost(5),
    "account_trade_list": Cost(5),
    "get_income_history": Cost(30),
    "futures_account_balance_v3": Cost(5),
    "account_information_v3": Cost(5),
    "change_initial_leverage": Cost(),
    "notional_and_leverage_brackets": Cost(),
    "futures_account_configuration": Cost(5),
    "auto_cancel_all_open_orders": Cost(10),
    "/fapi/v1/time": Cost(),
    "/fapi/v1/exchangeInfo": Cost(),
    "/fapi/v1/listenKey": Cost(),
}
_KLINES = ((99, 1), (499, 2), (1_000, 5))  # (rows up to, weight)


def cost_of_klines(rows: int) -> Cost:
    return Cost(next((weight for most, weight in _KLINES if rows <= most), 10))


class Window:
    """What was spent of one limit since its window began; windows are aligned to the clock."""

    def __init__(self, length_ms: int, limit: int) -> None:
        self.length_ms = length_ms
        self.limit = limit
        self._began_at = 0
        self._spent = 0

    def spent(self, now: int) -> int:
        began_at = now - now % self.length_ms
        if began_at > self._began_at:
            self._began_at, self._spent = began_at, 0
        return self._spent

    def spend(self, now: int, count: int) -> None:
        self._spent = self.spent(now) + count

    def hear(self, now: int, count: int) -> None:
        """The venue's own count; it knows of other processes, and not of what is on its way."""
        self._spent = max(self.spent(now), count)

    def has_room(self, now: int, count: int, *, protective: bool) -> bool:
        limit = self.limit if protective else self.limit - int(self.limit * RESERVE)
        return count == 0 or self.spent(now) + count <= limit

    def ends_at(self, now: int) -> int:
        return now - now % self.length_ms + self.length_ms


class Kind(enum.StrEnum):
    """The limits, by the venue's words for them."""

    WEIGHT_1M = "REQUEST_WEIGHT"
    ORDERS_1M = "ORDERS_1M"
    ORDERS_10S = "ORDERS_10S"


_COUNT = re.compile(r"[0-9]{1,9}")
_HEADERS = {
    "x-mbx-used-weight-1m": Kind.WEIGHT_1M,
    "x-mbx-order-count-10s": Kind.ORDERS_10S,
    "x-mbx-order-count-1m": Kind.ORDERS_1M,
}


class RequestBudget:
    """`closed_until` is what an earlier process was told; `on_closed` is told of each later end of a silence."""

    def __init__(self, closed_until: int = 0, on_closed: Callable[[int], None] | None = None) -> None:
        self.windows = {
            Kind.WEIGHT_1M: Window(MINUTE_MS, 2_400),
            Kind.ORDERS_1M: Window(MINUTE_MS, 1_200),
            Kind.ORDERS_10S: Window(TEN_SECONDS_MS, 300),
        }
        self.closed_until = closed_until
        self._on_closed = on_closed

    def adopt(self, limits: dict[Kind, int]) -> None:
        """The venue's own limits, where it has told them."""
        for kind, limit in limits.items():
            self.windows[kind].limit = limit

    def spend(self, now: int, cost: Cost, *, protective: bool = False) -> None:
        """Count a call that is about to leave. Raises VenueUnavailable, and counts nothing, where it may not."""
        opens_at = self.closed_until + (0 if protective else HEAD_START_MS)
        if self.closed_until > 0 and now < opens_at:
            raise VenueUnavailable("the venue asked for silence", retry_at=opens_at)
        costs = {Kind.WEIGHT_1M: cost.weight, Kind.ORDERS_1M: cost.orders, Kind.ORDERS_10S: cost.orders}
        for kind, count in costs.items():
            window = self.windows[kind]
            if not window.has_room(now, count, protective=protective):
                kept = "" if protective else ", the rest is kept for stops and cancels"
                words = f"{kind}: {window.spent(now)} of {window.limit} are spent{kept}"
                raise VenueUnavailable(words, retry_at=window.ends_at(now))
        for kind, count in costs.items():
            self.windows[kind].spend(now, count)

    def note(self, counts: Iterable[tuple[str, str]], now: int) -> None:
        """Take in the headers of an answer; what is no count of ours, or no number, is passed over."""
        for header, value in counts:
            kind = _HEADERS.get(header.lower())
            if kind is not None and _COUNT.fullmatch(value):
                self.windows[kind].hear(now, int(value))

    def out_of_orders(self, now: int) -> None:
        """The venue counts more orders than we do; cancels and questions are not counted there and go on."""
        window = self.windows[Kind.ORDERS_10S]
        window.hear(now, window.limit)

    def close(self, until: int) -> None:
        if until > self.closed_until:
            self.closed_until = until
            if self._on_closed is not None:
                self._on_closed(until)


class _Limit(Payload, frozen=True, kw_only=True):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Limits(Payload, frozen=True, kw_only=True):
    rate_limits: list[_Limit] = []


def limits_of(raw: bytes) -> dict[Kind, int]:
    """The limits that exchangeInfo names; those that it does not, or in words of its own, stay what they are."""
    try:
        rows = decode(raw, _Limits).rate_limits
    except VenueDisagrees:
        return {}
    known = {
        ("REQUEST_WEIGHT", MINUTE_MS): Kind.WEIGHT_1M,
        ("ORDERS", MINUTE_MS): Kind.ORDERS_1M,
        ("ORDERS", TEN_SECONDS_MS): Kind.ORDERS_10S,
    }
    found = {(row.rate_limit_type, _LENGTHS.get(row.interval, 0) * row.interval_num): row.limit for row in rows}
    return {known[key]: limit for key, limit in found.items() if key in known and limit > 0}
