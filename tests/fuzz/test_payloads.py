"""Whatever the venue says, a reader gives a usable value, skips by name, or says what it does not understand."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import OutcomeUnknown, VenueDisagrees, VenueError, VenueRejected, VenueUnavailable
from bot.exchange import account_wire, wire
from bot.exchange.answers import READ, SPARED_WRITE, WRITE, Answer, fault, read_answer, unclear
from bot.exchange.budget import Kind, RequestBudget
from bot.exchange.frames import read_market_frame, read_user_frame
from bot.exchange.lockstep import Tick
from bot.exchange.payload import decode
from tests.fuzz import payloads
from tests.fuzz.effort import tried
from tests.fuzz.mutations import TEXTS, spoiled

LAST_MS = 253_402_300_799_999  # of the year 9999: what a timestamp of the database can hold
NOW = 1_789_000_000_000
Reader = Callable[[bytes], Any]


def rows(kind: Any, translate: Callable[[Any], Any]) -> Reader:
    return lambda raw: [translate(row) for row in decode(raw, list[kind])]


REST: dict[str, tuple[list[Any], Reader]] = {
    "order": ([payloads.ORDER], lambda raw: decode(raw, wire.OrderAnswer).report()),
    "open orders": ([[payloads.ORDER, payloads.ORDER]], rows(wire.OrderAnswer, wire.OrderAnswer.report)),
    "algo order": ([payloads.ALGO], lambda raw: decode(raw, wire.AlgoAnswer).report()),
    "open algo orders": (
        [[payloads.ALGO], {"total": 1, "orders": [payloads.ALGO]}],
        lambda raw: wire.open_algo_orders(decode(raw, msgspec.Raw)),
    ),
    "cancelled algo order": ([payloads.ALGO], lambda raw: decode(raw, wire.AlgoCancelled)),
    "trades": ([[payloads.TRADE]], rows(wire.UserTrade, wire.UserTrade.fill)),
    "funding": ([[payloads.INCOME]], rows(wire.Income, wire.Income.funding_paid)),
    "transfers": (
        [[payloads.INCOME | {"incomeType": "TRANSFER"}]],
        lambda raw: account_wire.transfers(decode(raw, list[wire.Income])),
    ),
    "positions": ([[payloads.POSITION]], rows(wire.PositionRisk, wire.PositionRisk.position)),
    "balance": ([[payloads.BALANCE]], rows(wire.Balance, lambda row: row)),
    "account": ([payloads.ACCOUNT], lambda raw: decode(raw, account_wire.AccountInformation).worth()),
    "configuration": ([payloads.ACCOUNT_CONFIG], lambda raw: decode(raw, wire.AccountConfig)),
    "leverage": ([{"symbol": "BTCUSDT", "leverage": 21}], lambda raw: decode(raw, wire.LeverageAnswer)),
    "listen key": ([{"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8"}], lambda raw: decode(raw, wire.ListenKey)),
    "brackets": ([[payloads.BRACKETS]], rows(wire.LeverageBrackets, wire.LeverageBrackets.margin_brackets)),
    "time": ([{"serverTime": 1499827319559}], lambda raw: decode(raw, wire.ServerTime)),
    "klines": ([payloads.KLINES], rows(wire.KlineRow, lambda row: row.bar("BTCUSDT", 60_000))),
    "symbols": ([payloads.EXCHANGE_INFO], wire.instruments),
}


def values(value: Any) -> Any:
    """Every number and text in what was read, with the name of its field."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inside = getattr(value, name)
            yield from ((name, inside),) if type(inside) in (int, float, Decimal, str) else values(inside)
    elif isinstance(value, dict):
        for inside in value.values():
            yield from values(inside)
    elif isinstance(value, list | tuple):
        for inside in value:
            yield from values(inside)


def check_usable(value: Any) -> None:
    """What is read goes into sums and into the database: it may be nothing at which these fail."""
    for name, one in values(value):
        if isinstance(one, str):
            assert "\x00" not in one, name
        elif isinstance(one, Decimal):
            assert one.is_finite(), name
            assert len(format(one, "f")) < 100, name
        elif isinstance(one, float):
            assert abs(one) < 1e300, name
        else:
            assert -(2**63) <= one < 2**63, name
            if name in ("at", "time", "open_time", "close_time", "server_time", "update_time", "next_funding_at"):
                assert 0 <= one <= LAST_MS, name


def read(reader: Callable[[Any], Any], raw: Any) -> None:
    try:
        value = reader(raw)
    except VenueDisagrees as fault:
        said = str(fault)
    else:
        said = "usable"
        check_usable(value)
    assert said


@pytest.mark.parametrize("name", REST)
@tried(30)
@given(st.data())
def test_a_rest_answer_is_usable_or_understood_to_be_wrong(name: str, data: st.DataObject) -> None:
    samples, reader = REST[name]
    read(reader, data.draw(spoiled(samples)))


@pytest.mark.parametrize("name", REST)
def test_the_unspoiled_answer_is_read(name: str) -> None:
    samples, reader = REST[name]
    for sample in samples:
        check_usable(reader(json.dumps(sample).encode()))


@tried(150)
@given(spoiled(payloads.MARKET_FRAMES))
def test_a_market_frame_is_usable_skipped_or_understood_to_be_wrong(frame: bytes) -> None:
    read(read_market_frame, frame)


@tried(150)
@given(spoiled(payloads.USER_FRAMES))
def test_a_user_frame_is_usable_skipped_or_understood_to_be_wrong(frame: bytes) -> None:
    read(read_user_frame, frame)


TICK = {
    "type": "tick", "now": 1735689600000, "frames": 12, "done": False, "progress": 0.5, "more": False,
    "ledger": {"wallet": "9990.5", "positions": {"BTCUSDT": "0.1"}, "fills": 3, "realized_pnl": "1", "fees": "0.5",
               "funding": "0", "transfers": "0", "fills_digest": ""},
}  # fmt: skip


@tried(80)
@given(spoiled([TICK, TICK | {"ledger": None}]))
def test_a_tick_of_the_simulator_is_read_or_understood_to_be_wrong(message: bytes) -> None:
    try:
        assert 0 <= decode(message, Tick).now <= LAST_MS
        said = "read"
    except VenueDisagrees as fault:
        said = str(fault)
    assert said


@tried(60)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_bytes_that_are_no_payload_at_all_are_understood_to_be_wrong(raw: bytes | str) -> None:
    for reader in (read_market_frame, read_user_frame):
        read(reader, raw)


BODIES = st.one_of(spoiled([payloads.ERROR, payloads.ORDER, [payloads.ORDER]]), st.binary(max_size=60))
HEADERS = st.one_of(st.none(), st.sampled_from(["1", "0", "30", *TEXTS]), st.text(max_size=8))


@tried(150)
@given(
    st.sampled_from([200, 204, 301, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 599, 999]),
    BODIES,
    HEADERS,
    st.sampled_from([READ, WRITE, SPARED_WRITE]),
)
def test_an_http_answer_is_a_payload_or_an_error_with_a_name(status: int, body: bytes, after: str, ask: Any) -> None:
    answer = Answer(status, body, after)
    try:
        check_usable(read_answer(answer, wire.OrderAnswer, ask, NOW))
        return
    except VenueDisagrees as unreadable:  # the clients make an unclear answer of it, after telling of the surprise
        means: VenueError = unclear(str(unreadable), ask)
    except VenueError as error:
        means = error
    assert type(means) in (OutcomeUnknown, VenueRejected, VenueUnavailable)
    assert str(means)
    assert "\x00" not in str(means)
    if isinstance(means, VenueUnavailable):
        assert means.retry_at is None or 0 <= means.retry_at <= LAST_MS
    if ask.write and 200 <= status < 300:
        assert isinstance(means, OutcomeUnknown)  # something was accepted, and nobody knows what


@tried(60)
@given(st.sampled_from([400, 418, 429, 503]), BODIES, HEADERS)
def test_a_refusal_of_any_shape_has_a_meaning(status: int, body: bytes, after: str) -> None:
    assert isinstance(fault(Answer(status, body, after), READ, NOW), VenueError)


@tried(80)
@given(
    st.sampled_from(["X-MBX-USED-WEIGHT-1M", "x-mbx-order-count-10s", "X-MBX-ORDER-COUNT-1m", "Date"]),
    st.one_of(st.sampled_from(["12", *TEXTS]), st.text(max_size=8)),
)
def test_a_header_that_is_no_number_does_not_cost_the_answer(header: str, value: str) -> None:
    budget = RequestBudget()
    budget.note([("X-MBX-USED-WEIGHT-1M", "7"), (header, value)], NOW)
    assert budget.windows[Kind.WEIGHT_1M].spent(NOW) >= 7
