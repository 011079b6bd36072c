"""Everything that can go wrong at the venue, by name: when each kind strikes, and what may be said about it."""

import enum

import msgspec


class Moment(enum.StrEnum):
    """What a fault waits for."""

    CALL = "call"  # a REST request arrives
    ANSWER = "answer"  # a REST answer leaves, or an event of the user stream
    WS_CALL = "ws_call"  # a request on the WebSocket API arrives
    EVENT = "event"  # an event of the user stream leaves
    TRIGGER = "trigger"  # a conditional order triggers
    KLINE = "kline"  # the last frame of a bar leaves
    TIME = "time"  # a moment of simulated time, or of what the fault's `upon` names


class FaultKind(enum.StrEnum):
    LOST_AFTER = "lost_after"
    LOST_BEFORE = "lost_before"
    UNAVAILABLE = "unavailable"
    THROTTLED = "throttled"
    TOO_MANY = "too_many"
    BANNED = "banned"
    LAG = "lag"
    BATCH_PARTIAL = "batch_partial"
    CLOCK_STEP = "clock_step"
    TRIGGER_STUCK = "trigger_stuck"
    TRIGGER_REJECTED = "trigger_rejected"
    TRIGGER_LATE = "trigger_late"
    CHILD_PARTIAL = "child_partial"
    STOP_VANISHES = "stop_vanishes"
    EVENT_DELAYED = "event_delayed"
    EVENT_LOST = "event_lost"
    EVENT_REPEATED = "event_repeated"
    EVENT_REORDERED = "event_reordered"
    LISTEN_KEY_EXPIRES = "listen_key_expires"
    SOCKET_SILENT = "socket_silent"
    SOCKET_RESET = "socket_reset"
    SOCKET_CLOSED = "socket_closed"
    DAY_CUT = "day_cut"
    NO_PONG = "no_pong"
    KLINE_LATE = "kline_late"
    KLINE_MISSING = "kline_missing"
    KLINE_REPEATED = "kline_repeated"
    KLINE_REVISED = "kline_revised"
    KLINE_GAP = "kline_gap"
    MARKET_SILENT = "market_silent"
    WS_NO_REPLY = "ws_no_reply"
    WS_LATE_REPLY = "ws_late_reply"
    WS_DROPPED = "ws_dropped"
    WS_ID_NULL = "ws_id_null"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    FUNDING_INTERVAL = "funding_interval"
    SETTLING = "settling"
    FILTER_CHANGE = "filter_change"
    LEVERAGE_LOWERED = "leverage_lowered"
    MARGIN_TYPE = "margin_type"
    FOREIGN_ORDER = "foreign_order"
    FOREIGN_POSITION = "foreign_position"
    HEDGE_MODE = "hedge_mode"
    EXTRA_KEYS = "extra_keys"
    MISSING_FIELD = "missing_field"
    NUMBER_AS_TEXT = "number_as_text"
    TEXT_AS_NUMBER = "text_as_number"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_ENUM = "unknown_enum"
    SLOW_INFO = "slow_info"


LOST_FORMS = ("dropped", "no_answer", "503", "408", "502")


class KindRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind does, and which parameters it takes; an empty text: it takes none of that name."""

    at: Moment
    says: str
    on: str = ""  # what it strikes where the fault does not say
    forms: tuple[str, ...] = ()  # the first where the fault does not say
    seconds: str = ""
    value: str = ""
    key: str = ""
    keys: tuple[str, ...] = ()  # those that may be named; empty: any
    least: float = 0.0  # of `value`
    most: float = 1e9
    needs: frozenset[str] = frozenset()
    spares_reducing: bool = False  # not for reduce-only orders and cancels
    negative: bool = False  # `seconds` may be below zero


_SECONDS = frozenset({"seconds"})
_ORDERS = "* /fapi/v1/order"
_READS = "* /fapi/*"
_FINAL = "*@kline_*"
_K = FaultKind

RULES: dict[FaultKind, KindRule] = {
    _K.LOST_AFTER: KindRule(
        at=Moment.CALL, on=_ORDERS, forms=LOST_FORMS, seconds="real time without an answer (no_answer)",
        says="the call is executed, and its answer is lost",
    ),
    _K.LOST_BEFORE: KindRule(
        at=Moment.CALL, on=_ORDERS, forms=LOST_FORMS, seconds="real time without an answer (no_answer)",
        says="the call is not executed, and looks the same as one whose answer was lost",
    ),
    _K.UNAVAILABLE: KindRule(
        at=Moment.CALL, on=_READS, forms=("busy", "internal"),
        says="503 Service Unavailable or -1001: not executed, and the venue says so",
    ),
    _K.THROTTLED: KindRule(
        at=Moment.CALL, on=_ORDERS, spares_reducing=True,
        says="503 -1008: overloaded, not executed; reduce-only orders and cancels pass",
    ),
    _K.TOO_MANY: KindRule(
        at=Moment.CALL, on=_READS, seconds="Retry-After; none where not given", says="429 -1003, not executed",
    ),
    _K.BANNED: KindRule(
        at=Moment.CALL, on=_READS, seconds="how long", needs=_SECONDS,
        says='418 "banned until", for this call and every other until then',
    ),
    _K.LAG: KindRule(
        at=Moment.CALL, on=_READS, seconds="how long after the write", needs=_SECONDS,
        says="reads do not see a write yet: -2013 or -2011 for an order, the old row for a position",
    ),
    _K.BATCH_PARTIAL: KindRule(
        at=Moment.CALL, on="* /fapi/v1/batchOrders", value="which of the batch is refused, 1 for the first",
        least=1, most=10,
        says="one order of a batch is refused with -2019, the others are executed",
    ),
    _K.CLOCK_STEP: KindRule(
        at=Moment.TIME, forms=("step", "drift"), seconds="ahead, or behind below 0; drift: per day", needs=_SECONDS,
        negative=True, says="the venue's clock is wrong from now on: -1021 for who does not follow it",
    ),
    _K.TRIGGER_STUCK: KindRule(
        at=Moment.TRIGGER, on="*", says="a conditional order stays TRIGGERING: no child order, and no cancel finds it",
    ),
    _K.TRIGGER_REJECTED: KindRule(at=Moment.TRIGGER, on="*", says="a conditional order is REJECTED when it triggers"),
    _K.TRIGGER_LATE: KindRule(
        at=Moment.TRIGGER, on="*", seconds="how late", needs=_SECONDS,
        says="a conditional order stays TRIGGERING for a while, then goes on at the price of that time",
    ),
    _K.CHILD_PARTIAL: KindRule(
        at=Moment.TRIGGER, on="*", value="the share that is filled, 0.5 where not given", most=1,
        says="the child order of a conditional order fills a share and expires",
    ),
    _K.STOP_VANISHES: KindRule(
        at=Moment.TIME, forms=("silent", "expired"),
        says="waiting conditional orders are gone, without a word or with an EXPIRED event",
    ),
    _K.EVENT_DELAYED: KindRule(
        at=Moment.EVENT, on="*", seconds="how late", needs=_SECONDS, says="an event of the user stream comes late",
    ),
    _K.EVENT_LOST: KindRule(at=Moment.EVENT, on="*", says="an event of the user stream never comes"),
    _K.EVENT_REPEATED: KindRule(at=Moment.EVENT, on="*", says="an event of the user stream comes twice"),
    _K.EVENT_REORDERED: KindRule(at=Moment.EVENT, on="*", says="an event comes after the one that followed it"),
    _K.LISTEN_KEY_EXPIRES: KindRule(at=Moment.TIME, says="the listen key ends: told once, then the socket is silent"),
    _K.SOCKET_SILENT: KindRule(
        at=Moment.TIME, on="*", says="connections of a route stay open and carry nothing any more, pongs neither",
    ),
    _K.SOCKET_RESET: KindRule(at=Moment.TIME, on="*", says="connections of a route are reset"),
    _K.SOCKET_CLOSED: KindRule(
        at=Moment.TIME, on="*", value="the close code, 1001 where not given; 1006 sends none", least=1000, most=4999,
        says="connections of a route are closed by the venue",
    ),
    _K.DAY_CUT: KindRule(at=Moment.TIME, on="*", says="connections of a route reach their 24 hours and are closed"),
    _K.NO_PONG: KindRule(
        at=Moment.TIME, on="*", says="connections of a route answer no ping any more and are cut by who minds",
    ),
    _K.KLINE_LATE: KindRule(
        at=Moment.KLINE, on=_FINAL, seconds="how late", needs=_SECONDS, says="a bar's last frame comes late",
    ),
    _K.KLINE_MISSING: KindRule(at=Moment.KLINE, on=_FINAL, says="a bar's last frame never comes; REST has the bar"),
    _K.KLINE_REPEATED: KindRule(at=Moment.KLINE, on=_FINAL, says="a bar's last frame comes twice"),
    _K.KLINE_REVISED: KindRule(
        at=Moment.KLINE, on=_FINAL, value="by what share of the close, 0.001 where not given", least=-0.5, most=0.5,
        says="REST later tells another close than the stream did",
    ),
    _K.KLINE_GAP: KindRule(at=Moment.KLINE, on=_FINAL, says="a bar does not exist: no last frame, no row over REST"),
    _K.MARKET_SILENT: KindRule(
        at=Moment.TIME, on="*", seconds="how long; for good where not given",
        says="streams are acknowledged and silent, on a healthy connection",
    ),
    _K.WS_NO_REPLY: KindRule(
        at=Moment.WS_CALL, on="*", forms=("after", "before"),
        says="a request on the WebSocket API gets no reply; executed (after) or not (before)",
    ),
    _K.WS_LATE_REPLY: KindRule(
        at=Moment.WS_CALL, on="*", seconds="real time", needs=_SECONDS, says="the reply comes late",
    ),
    _K.WS_DROPPED: KindRule(
        at=Moment.WS_CALL, on="*", forms=("after", "before"),
        says="the connection drops before the reply; executed (after) or not (before)",
    ),
    _K.WS_ID_NULL: KindRule(at=Moment.WS_CALL, on="*", says="401 with a null id; not executed"),
    _K.LIQUIDATION: KindRule(
        at=Moment.TIME, says="the mark price jumps until the position of a symbol is liquidated",
    ),
    _K.ADL: KindRule(
        at=Moment.TIME, value="the share that is closed, all where not given", most=1,
        says="the position of a symbol is auto-deleveraged",
    ),
    _K.FUNDING_INTERVAL: KindRule(
        at=Moment.TIME, needs=frozenset({"value"}), value="hours: 1, 2, 4 or 8", least=1, most=8,
        says="the funding interval of a symbol changes",
    ),
    _K.SETTLING: KindRule(
        at=Moment.TIME, seconds="how long; for good where not given",
        says="a symbol goes to SETTLING: nothing may be opened",
    ),
    _K.FILTER_CHANGE: KindRule(
        at=Moment.TIME, needs=frozenset({"key", "value"}), key="the filter",
        keys=("tick_size", "step_size", "min_notional"), value="the new one", least=1e-9,
        says="an order filter of a symbol changes",
    ),
    _K.LEVERAGE_LOWERED: KindRule(
        at=Moment.TIME, needs=frozenset({"value"}), value="the new leverage", least=1, most=125,
        says="the venue lowers the leverage of a symbol",
    ),
    _K.MARGIN_TYPE: KindRule(at=Moment.TIME, says="the margin type of a symbol is ISOLATED"),
    _K.FOREIGN_ORDER: KindRule(
        at=Moment.TIME, needs=frozenset({"value"}), value="USDT, below 0 to sell", least=-1e9,
        says="a person places a limit order far from the market",
    ),
    _K.FOREIGN_POSITION: KindRule(
        at=Moment.TIME, needs=frozenset({"value"}), value="USDT, below 0 to sell", least=-1e9,
        says="a person trades at market by hand",
    ),
    _K.HEDGE_MODE: KindRule(at=Moment.TIME, says="the account is switched to hedge mode; every order gets -4061"),
    _K.EXTRA_KEYS: KindRule(at=Moment.ANSWER, on="*", says="the payload has keys that nobody knows"),
    _K.MISSING_FIELD: KindRule(
        at=Moment.ANSWER, on="*", key="the key, at any depth", needs=frozenset({"key"}), says="a key is gone",
    ),
    _K.NUMBER_AS_TEXT: KindRule(
        at=Moment.ANSWER, on="*", key="the key; all where not given", says="numbers come as texts",
    ),
    _K.TEXT_AS_NUMBER: KindRule(
        at=Moment.ANSWER, on="*", key="the key; all where not given", says="texts that are numbers come as numbers",
    ),
    _K.UNKNOWN_EVENT: KindRule(
        at=Moment.EVENT, on="*", says="an event of a name that nobody knows comes before the one that was due",
    ),
    _K.UNKNOWN_ENUM: KindRule(
        at=Moment.ANSWER, on="*", key="the key whose text is replaced", needs=frozenset({"key"}),
        says="a field has a word that nobody knows",
    ),
    _K.SLOW_INFO: KindRule(
        at=Moment.ANSWER, on="GET /fapi/v1/exchangeInfo", value="so many symbols, 919 where not given", most=10_000,
        seconds="real time that it takes", says="exchangeInfo is huge, and slow",
    ),
}  # fmt: skip
