"""Who may call and how often: keys, signatures, the timestamp window, request weights, order counts and bans."""

import enum
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from bot.clock import MINUTE_MS, SECOND_MS

TEN_SECONDS_MS = 10 * SECOND_MS
DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000
FUNDING_MS = 5 * MINUTE_MS
FUNDING_CALLS = 500  # of the two funding endpoints together
PATIENCE = 20  # refused calls of one minute before the ban
FIRST_BAN_MS = 2 * MINUTE_MS
LONGEST_BAN_MS = 3 * 24 * 60 * MINUTE_MS

WHOLE = re.compile(r"[0-9]{1,40}")

ClockWindow = Literal["virtual", "off"]


def as_sent(text: str) -> bytes:
    """The bytes of a request's text, also where they were no UTF-8."""
    return text.encode("utf-8", errors="surrogateescape")


class Security(enum.Enum):
    """What a request must show."""

    NONE = enum.auto()
    KEY = enum.auto()
    SIGNED = enum.auto()


class Refusal(Exception):
    """The exchange says no before a request is executed."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class Credentials(msgspec.Struct, frozen=True):
    """The one account's key, and how a signed request proves that it knows the secret."""

    api_key: str
    api_secret: str
    clock_window: ClockWindow = "virtual"

    def check_key(self, sent: str) -> None:
        """Refuse an absent key with -2014 and a foreign one with -2015."""
        if not sent:
            raise Refusal(401, -2014, "API-key format invalid.")
        if sent != self.api_key:
            raise Refusal(401, -2015, "Invalid API-key, IP, or permissions for action.")

    def check_signature(self, query: str, body: str) -> None:
        """HMAC-SHA256 over query and body as they were sent, without the signature parameter. Refuses with -1022."""
        signed, _, signature = (query + body).partition("signature=")
        wanted = hmac.new(self.api_secret.encode(), as_sent(signed.removesuffix("&")), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted.encode(), as_sent(signature)):
            raise Refusal(400, -1022, "Signature for this request is not valid.")

    def check_time(self, params: Mapping[str, str], now: int) -> None:
        """Refuse a missing timestamp with -1102 and one outside of the window with -1021."""
        sent = params.get("timestamp", "")
        if not WHOLE.fullmatch(sent):
            message = "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."
            raise Refusal(400, -1102, message)
        window = params.get("recvWindow", str(DEFAULT_WINDOW_MS))
        if not WHOLE.fullmatch(window) or not 0 < int(window) <= MAX_WINDOW_MS:
            raise Refusal(400, -1131, "recvWindow must be less than 60000.")
        if self.clock_window == "off":
            return
        if int(sent) >= now + AHEAD_MS:
            message = "Timestamp for this request was 1000ms ahead of the server's time."
            raise Refusal(400, -1021, message)
        if now - int(sent) > int(window):
            raise Refusal(400, -1021, "Timestamp for this request is outside of the recvWindow.")


class Window:
    """A counter that starts again at every full multiple of its length."""

    def __init__(self, length_ms: int, limit: int) -> None:
        self.length_ms = length_ms
        self.limit = limit
        self._number = -1
        self._used = 0

    def used(self, now: int) -> int:
        if now // self.length_ms != self._number:
            self._number = now // self.length_ms
            self._used = 0
        return self._used

    def add(self, now: int, amount: int) -> int:
        self._used = self.used(now) + amount
        return self._used


class Limits:
    """Weights and order counts of the one address and account, in windows of virtual time.

    At replay pace thousands of calls fall into one virtual minute, as they would if the bot were that fast live:
    the limits stay the exchange's own.
    """

    def __init__(self, weight: int = 2400, orders_minute: int = 1200, orders_ten_seconds: int = 300) -> None:
        self.weight = Window(MINUTE_MS, weight)
        self.orders_minute = Window(MINUTE_MS, orders_minute)
        self.orders_ten_seconds = Window(TEN_SECONDS_MS, orders_ten_seconds)
        self.funding = Window(FUNDING_MS, FUNDING_CALLS)
        self._impatience = Window(MINUTE_MS, PATIENCE)
        self._ban_ms = FIRST_BAN_MS
        self.banned_until = 0

    def charge(self, now: int, weight: int) -> None:
        """Book a request. Raises Refusal 429 above the limit, 418 while banned (each ban twice as long)."""
        if now < self.banned_until:
            raise self._banned()
        if self.weight.add(now, weight) <= self.weight.limit:
            return
        if self._impatience.add(now, 1) > self._impatience.limit:
            self.banned_until = now + self._ban_ms
            self._ban_ms = min(2 * self._ban_ms, LONGEST_BAN_MS)
            raise self._banned()
        raise Refusal(
            429,
            -1003,
            f"Too many requests; current limit is {self.weight.limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API.",
        )

    def charge_funding(self, now: int) -> None:
        """Book a call of a funding endpoint, which have a pool of their own and no header."""
        if self.funding.add(now, 1) > self.funding.limit:
            message = f"Too many requests; current limit is {self.funding.limit} requests per 5 minutes."
            raise Refusal(429, -1003, message)

    def ban(self, until: int) -> None:
        """Refuse everything with 418 until then."""
        self.banned_until = max(self.banned_until, until)

    def charge_order(self, now: int, ten_seconds: int = 1, minute: int = 1) -> None:
        """Book new orders. Raises Refusal -1015 above either order limit."""
        booked = ((self.orders_ten_seconds, ten_seconds, "10 SECOND"), (self.orders_minute, minute, "MINUTE"))
        for window, orders, length in booked:
            if window.used(now) + orders > window.limit:
                message = f"Too many new orders; current limit is {window.limit} orders per {length}."
                raise Refusal(429, -1015, message)
        self.orders_ten_seconds.add(now, ten_seconds)
        self.orders_minute.add(now, minute)

    def headers(self, now: int, ordering: bool) -> dict[str, str]:
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.weight.used(now))}
        if ordering:
            headers["X-MBX-ORDER-COUNT-10S"] = str(self.orders_ten_seconds.used(now))
            headers["X-MBX-ORDER-COUNT-1M"] = str(self.orders_minute.used(now))
        return headers

    def _banned(self) -> Refusal:
        message = (
            f"Way too many requests; IP banned until {self.banned_until}. Please use the websocket for live updates."
        )
        return Refusal(418, -1003, message)
