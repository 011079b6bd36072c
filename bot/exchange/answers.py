"""What an HTTP answer of the venue means: done, refused, not done, or nobody knows.

The rules of ambiguity (docs of /fapi, general info and error codes, 2026-10): 400, 401, 403 and 404 are refusals. 408,
every 5xx, -1000, -1006, -1007, a time-out and a broken connection say nothing about a write. Exempt are the few 503
bodies that Binance documents as failures, and what was provably never sent.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from bot.clock import DAY_MS, MINUTE_MS, SECOND_MS
from bot.errors import OutcomeUnknown, VenueDisagrees, VenueError, VenueRejected, VenueUnavailable
from bot.exchange.payload import Payload, decode

T = TypeVar("T")

TOO_MANY_REQUESTS = -1003
TOO_MANY_ORDERS = -1015
INTERNAL_FAILURE = -1001
THROTTLED = -1008
OUTCOME_UNKNOWN = (-1000, -1006, -1007)
CLOCK_IS_OFF = (-1021, -5028)  # our timestamp's fault and not the order's: done is nothing, and it may be sent again
# Refusals of a request's form: the rules are others than those that we were written by, or our grid is old.
OTHER_RULES = frozenset(
    {-1101, -1102, -1104, -1105, -1106, -1111, -1115, -1116, -1117, -1128, -1136} | {-4014, -4023, -4061, -4120, -4161}
)
NO_SUCH_OPEN_ORDER = -2011
NO_SUCH_ORDER = -2013
DUPLICATE_CLIENT_ID = -4116

_REFUSALS = (400, 401, 403, 404)
_FAILED_TEXTS = (
    "Service Unavailable.",
    "Internal error; unable to process your request. Please try again.",
)
_COUNT = re.compile(r"[0-9]{1,9}")
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})")
_LONGEST_BAN_MS = 3 * DAY_MS  # of the documents; a longer one is a misunderstanding, and is asked about again


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer whose body was read to its end."""

    status: int
    body: bytes
    retry_after: str | None = None  # the header, seconds
    counts: tuple[tuple[str, str], ...] = ()  # the headers X-MBX-..., which say what was spent


class NoAnswer(msgspec.Struct, frozen=True):
    reason: str
    sent: bool  # False: the connection was never made


class Ask(msgspec.Struct, frozen=True):
    """What kind of request an answer belongs to."""

    write: bool
    spared: bool = False  # cancels and reduce-only orders, which -1008 does not throttle: there it is no clear word
    protective: bool = False  # may use what the budget keeps back


READ = Ask(write=False)
LOOK = Ask(write=False, protective=True)  # what settles an order, and what says whether a position is covered
WRITE = Ask(write=True)
SPARED_WRITE = Ask(write=True, spared=True, protective=True)


def counts_of(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers.items() if name.lower().startswith("x-mbx-"))


def read_answer(answer: Answer | NoAnswer, kind: type[T], ask: Ask, now: int) -> T:
    """The answer's payload, or the error that it means; VenueDisagrees for a success that cannot be read."""
    if isinstance(answer, NoAnswer) or answer.status >= 300:
        raise fault(answer, ask, now)
    return decode(answer.body, kind)


def fault(answer: Answer | NoAnswer, ask: Ask, now: int) -> VenueError:
    """The error that an answer without a usable payload means. `now` in ms dates a ban."""
    if isinstance(answer, NoAnswer):
        return unclear(answer.reason, ask) if answer.sent else VenueUnavailable(answer.reason)
    code, message = _code_and_message(answer.body)
    words = f"HTTP {answer.status} {code}: {message}"
    if answer.status in (418, 429) or code == TOO_MANY_REQUESTS:
        return VenueUnavailable(words, retry_at=_retry_at(answer, message, now))
    if code == TOO_MANY_ORDERS:
        return VenueUnavailable(words, retry_at=now + 10 * SECOND_MS, code=code)
    if code in CLOCK_IS_OFF or code == THROTTLED and not ask.spared:
        return VenueUnavailable(words, code=code)
    if answer.status == 503 and (code == INTERNAL_FAILURE or message in _FAILED_TEXTS):
        return VenueUnavailable(words)
    if answer.status in _REFUSALS and code not in (*OUTCOME_UNKNOWN, INTERNAL_FAILURE, THROTTLED):
        return VenueRejected(code, message)
    return unclear(words, ask)


def unclear(reason: str, ask: Ask) -> VenueError:
    """The error of an answer that does not tell: a read may be repeated, a write has to be looked for."""
    return OutcomeUnknown(reason) if ask.write else VenueUnavailable(reason)


class _ErrorBody(Payload, frozen=True):
    code: int
    msg: str


def _code_and_message(body: bytes) -> tuple[int, str]:
    try:
        error = decode(body, _ErrorBody)
    except VenueDisagrees:
        return 0, body[:200].decode("utf-8", errors="replace").replace("\x00", "\ufffd").strip()
    return error.code, error.msg


def _retry_at(answer: Answer, message: str, now: int) -> int:
    latest = now + _LONGEST_BAN_MS
    if answer.retry_after is not None and _COUNT.fullmatch(answer.retry_after):
        return min(now + int(answer.retry_after) * SECOND_MS, latest)
    banned = _BANNED_UNTIL.search(message)
    if banned:
        return min(int(banned[1]), latest)
    return (now // MINUTE_MS + 1) * MINUTE_MS  # weights are counted by the minute
