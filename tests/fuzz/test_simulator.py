"""Whatever a client sends, the simulator answers as Binance would: a result, or an error with a code; never a 500."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.clock import MINUTE_MS
from bot.exchange.simulator.account_routes import ACCOUNT_ROUTES
from bot.exchange.simulator.limits import Limits
from bot.exchange.simulator.market_routes import market_routes
from bot.exchange.simulator.trading_routes import TRADING_ROUTES
from tests.fuzz.effort import tried
from tests.fuzz.exchanges import Asked, asked, encoded
from tests.fuzz.mutations import NUMBERS, TEXTS, spoiled

ROUTES = sorted(TRADING_ROUTES | ACCOUNT_ROUTES | market_routes(Limits()))
TYPICAL = {
    "symbol": ["BTCUSDT", "ETHUSDT"],
    "side": ["BUY", "SELL"],
    "type": ["LIMIT", "MARKET", "STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TRAILING_STOP_MARKET"],
    "quantity": ["0.01", "1", "0.001"],
    "price": ["90000", "3000.1", "100000.0"],
    "triggerPrice": ["90000", "3000.1", "120000.0"],
    "stopPrice": ["90000"],
    "activationPrice": ["90000"],
    "callbackRate": ["1.0"],
    "timeInForce": ["GTC", "GTX", "IOC", "FOK", "GTD"],
    "goodTillDate": ["1735700000000"],
    "reduceOnly": ["true", "false"],
    "closePosition": ["true", "false"],
    "algoType": ["CONDITIONAL"],
    "workingType": ["MARK_PRICE", "CONTRACT_PRICE"],
    "newClientOrderId": ["a-1-e0", "a-2-e0"],
    "origClientOrderId": ["a-1-e0"],
    "clientAlgoId": ["a-1-s0", "a-2-s0"],
    "orderId": ["1", "2"],
    "algoId": ["1", "2"],
    "newOrderRespType": ["RESULT", "ACK"],
    "positionSide": ["BOTH", "LONG"],
    "dualSidePosition": ["false"],
    "multiAssetsMargin": ["false"],
    "leverage": ["1", "20", "125"],
    "marginType": ["CROSSED", "ISOLATED"],
    "limit": ["1", "10", "500"],
    "interval": ["1m", "1h"],
    "startTime": ["1735689600000"],
    "endTime": ["1735689600000"],
    "fromId": ["1"],
    "incomeType": ["FUNDING_FEE"],
    "countdownTime": ["0", "60000"],
    "recvWindow": ["5000"],
    "batchOrders": ['[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.01"}]', "[]", "[1]", "{}"],
    "orderIdList": ["[1]"],
    "origClientOrderIdList": ['["a-1-e0"]'],
}
LONGEST_LINE = 6_000  # bytes; a longer request never gets beyond the HTTP server
ODD = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.sampled_from(["\udc80", "[" * 3_000, "1" * 5_000]),
    st.text(max_size=20),
)  # fmt: skip


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asked]:
    with asked() as exchange:
        yield exchange


PLACED = ["symbol", "side", "type", "quantity"]
COMPLETE = {  # what a call needs, so that most of them get beyond the first check
    ("POST", "/fapi/v1/order"): [*PLACED, "price", "timeInForce", "newClientOrderId"],
    ("POST", "/fapi/v1/order/test"): [*PLACED, "price", "timeInForce"],
    ("PUT", "/fapi/v1/order"): ["symbol", "side", "quantity", "price", "origClientOrderId"],
    ("POST", "/fapi/v1/algoOrder"): [*PLACED, "algoType", "triggerPrice", "reduceOnly", "clientAlgoId"],
    ("DELETE", "/fapi/v1/algoOrder"): ["clientAlgoId"],
    ("GET", "/fapi/v1/algoOrder"): ["clientAlgoId"],
    ("GET", "/fapi/v1/klines"): ["symbol", "interval", "limit", "startTime"],
    ("POST", "/fapi/v1/leverage"): ["symbol", "leverage"],
    ("POST", "/fapi/v1/countdownCancelAll"): ["symbol", "countdownTime"],
    ("POST", "/fapi/v1/batchOrders"): ["batchOrders"],
    ("PUT", "/fapi/v1/batchOrders"): ["batchOrders"],
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """A call with sensible parameters, of which up to three are not."""
    route = draw(st.one_of(st.sampled_from(ROUTES), st.sampled_from([one for one in COMPLETE if one in ROUTES])))
    names = [*COMPLETE.get(route, ["symbol"]), *draw(st.lists(st.sampled_from(sorted(TYPICAL)), max_size=2))]
    params = [(name, draw(st.sampled_from(TYPICAL[name]))) for name in dict.fromkeys(names)]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(params) - 1))
        match draw(st.sampled_from(("value", "value", "value", "name", "drop", "new"))):
            case "value":
                params[at] = (params[at][0], draw(ODD))
            case "name":
                params[at] = (draw(ODD), params[at][1])
            case "drop" if len(params) > 1:
                del params[at]
            case _:
                params.append(
                    (draw(st.sampled_from([*sorted(TYPICAL), "timestamp", "recvWindow", "signature"])), draw(ODD))
                )
    return route, params


def check_answered(answer: Any, what: Any) -> None:
    assert answer.status < 500, (what, answer.body[:300])
    said = answer.json
    if answer.status != 200:
        assert isinstance(said["code"], int), what
        assert said["code"] < 0, what
        assert said["msg"], what


@tried(400)
@given(call=calls(), in_body=st.booleans())
def test_a_signed_request_is_answered_or_refused_with_a_code(
    exchange: Asked, call: tuple[tuple[str, str], list[tuple[str, str]]], in_body: bool
) -> None:
    (method, path), params = call
    assume(in_body or sum(len(encoded(name + value)) for name, value in params) < LONGEST_LINE)
    check_answered(exchange.signed(method, path, params, in_body=in_body), call)
    exchange.advance(100)


@tried(200)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.one_of(st.sampled_from([path for _, path in ROUTES]), st.just("/fapi/v1/nothing"), st.just("/fapi/")),
    query=st.sampled_from(
        ["", "symbol=%ff%fe", "a=%", "&&&", "limit=%C2%B2", "=&=", "timestamp=%C2%B2&signature=", "%00=%00"]
    ),
    body=st.one_of(st.just(b""), st.binary(max_size=60), st.just(b"a=1&" * 20_000)),
    kind=st.sampled_from(["", "application/x-www-form-urlencoded", "text/plain; charset=utf-16", "a; charset=nothing",
                          "application/json", "application/json; charset=utf-8"]),
    key=st.sampled_from(["", "sim-key", "other", "\xff"]),
)  # fmt: skip
def test_a_request_of_any_shape_is_answered_or_refused_with_a_code(
    exchange: Asked, method: str, path: str, query: str, body: bytes, kind: str, key: str
) -> None:
    headers = {name: value for name, value in (("Content-Type", kind), ("X-MBX-APIKEY", key)) if value}
    target = f"{path}?{query}" if query else path
    check_answered(exchange.request(method, target, body, headers), (method, target, body[:40], kind, key))


@tried(100)
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=30))
def test_a_query_of_raw_bytes_is_refused_and_nothing_breaks(exchange: Asked, query: str) -> None:
    target = f"/fapi/v1/ticker/price?{query}"
    sent = "".join(f"%{ord(one):02x}" if ord(one) > 255 else one for one in target)
    with contextlib.suppress(UnicodeEncodeError):  # of the client that asks
        assert exchange.request("GET", sent).status < 500


CONTROL: dict[str, list[Any]] = {
    "price": [{"symbol": "BTCUSDT", "price": "90000.1"}],
    "transfer": [{"amount": "10"}],
    "disconnect": [{"route": "market"}],
    "mute": [{"stream": "btcusdt@kline_1h", "muted": True}],
    "faults": [{"kind": "lost_after", "on": "POST /fapi/v1/order", "nth": 3}],
    "intervene": [{"type": "close", "symbol": "BTCUSDT"}],
}


@pytest.mark.parametrize("what", CONTROL)
@tried(60)
@given(data=st.data())
def test_the_control_plane_takes_or_refuses_with_a_reason(exchange: Asked, what: str, data: st.DataObject) -> None:
    body = data.draw(spoiled(CONTROL[what]))
    answer = exchange.request("POST", f"/_sim/{what}", body)
    assert answer.status in (200, 400, 404, 405), (body, answer.body[:300])
    if answer.status == 400:
        assert answer.body


@pytest.mark.parametrize("after", ["", "-", "--5", "²", "9" * 5_000, "1.5", "-1", "abc", "\x00"])
def test_the_log_is_told_from_any_number_on_and_from_nothing_else(exchange: Asked, after: str) -> None:
    assert exchange.request("GET", f"/_sim/log?after={encoded(after)}").status in (200, 400)


def test_the_world_goes_on_and_can_be_told_after_all_that(exchange: Asked) -> None:
    exchange.request("DELETE", "/_sim/faults")
    exchange.advance(30 * MINUTE_MS)
    for what in ("report", "ledger", "log"):
        answer = exchange.request("GET", f"/_sim/{what}")
        assert answer.status == 200
        json.loads(answer.body)
