"""Payload structs and frames against recorded payloads, and against anything else that JSON can say."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import VenueDisagrees
from bot.exchange import wire
from bot.exchange.frames import (
    Acknowledged,
    ListenKeyExpired,
    MarginCall,
    Skipped,
    Unknown,
    read_market_frame,
    read_user_frame,
)
from bot.messages import Bar, MarkChanged, PriceChanged
from bot.venue import Book, Fill, FundingDue, OrderReport, VenueStatus

ORDER_EVENT: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE",
    "T": 1742585119595,
    "E": 1742585119596,
    "o": {
        "s": "BTCUSDT",
        "c": "tsb-1",
        "S": "BUY",
        "q": "0.100",
        "x": "TRADE",
        "X": "FILLED",
        "i": 4129479931,
        "l": "0.100",
        "z": "0.100",
        "L": "84146.50",
        "n": "3.36586000",
        "N": "USDT",
        "T": 1742585119595,
        "t": 310194316,
        "m": False,
        "rp": "0",
    },
}
ALGO_EVENT: dict[str, Any] = {
    "e": "ALGO_UPDATE",
    "T": 1,
    "o": {"caid": "tsb-2", "aid": 4000001910701524, "s": "BTCUSDT", "S": "SELL", "q": "5", "X": "NEW", "ai": ""},
}
KLINE: dict[str, Any] = {
    "e": "kline",
    "E": 1638747660000,
    "s": "BTCUSDT",
    "k": {"t": 1638747600000, "i": "1m", "o": "1.0", "c": "2.0", "h": "2.5", "l": "1.0", "v": "1000", "x": True},
}
MARK: dict[str, Any] = {"e": "markPriceUpdate", "E": 5, "s": "BTCUSDT", "p": "11794.15", "r": "0.00038", "T": 9}


def dump(value: object) -> str:
    return json.dumps(value)


def recorded(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text().splitlines():
        row = json.loads(line)
        yield row["provenance"], row["event"]


@pytest.mark.parametrize("odd", ["5", '{"symbol": 5}', '{"symbol": "A\\u0000B"}', "null", "[]"])
def test_a_row_that_is_no_symbol_at_all_keeps_no_other_from_trading(odd: str) -> None:
    sound = """{"symbol": "BTCUSDT", "status": "TRADING", "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"}, {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": "120"}]}"""
    found, faults = wire.instruments(f'{{"symbols": [{odd}, {sound}]}}'.encode())
    assert list(found) == ["BTCUSDT"]
    assert len(faults) == 1


def test_every_recorded_user_event_reads_as_what_it_is(shared_data: Path) -> None:
    seen = set()
    for provenance, event in recorded(shared_data / "payloads" / "user_stream_recorded.jsonl"):
        for enveloped in (event, {"stream": "key", "data": event}):
            events = read_user_frame(dump(enveloped))
            match event["e"]:
                case "ORDER_TRADE_UPDATE":
                    report = events[-1]
                    assert isinstance(report, OrderReport), provenance
                    assert (report.client_id, report.venue_id) == (event["o"]["c"], event["o"]["i"])
                    assert report.status == event["o"]["X"]
                    assert len(events) == (2 if event["o"]["t"] else 1)
                case "ALGO_UPDATE":
                    (report,) = events
                    assert isinstance(report, OrderReport), provenance
                    assert report.book is Book.ALGO
                    assert report.quantity == Decimal(event["o"]["q"])
                case other:
                    assert all(isinstance(e, Skipped | MarginCall) for e in events), other
            seen.add(event["e"])
    assert {"ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE"} <= seen


def test_every_recorded_market_message_reads_or_is_skipped_by_name(shared_data: Path) -> None:
    path = shared_data / "payloads" / "market_stream_recorded.jsonl"
    kinds = {event["data"]["e"]: read_market_frame(dump(event)) for _, event in recorded(path)}
    (mark,) = kinds.pop("markPriceUpdate")
    assert mark == MarkChanged(
        "BTCUSDT", Decimal("68005.80802899"), Decimal("-0.00004435"), 1771286400000, 1771263510000
    )
    assert {name: events for name, events in kinds.items() if events != (Skipped(name),)} == {}


def test_ten_thousand_raw_market_lines_are_all_skipped_by_name(shared_data: Path) -> None:
    with gzip.open(shared_data / "payloads" / "ws_usdm_btcusdt_20240809_raw.gz", "rt") as lines:
        for _, line in zip(range(10_000), lines, strict=False):
            raw = line.split(" ", 1)[1]
            if raw.startswith('{"lastUpdateId"'):  # a REST answer between the lines
                continue
            (event,) = read_market_frame(raw)
            assert isinstance(event, Skipped)


def test_the_recorded_rest_bodies_read_as_what_they_are(shared_data: Path) -> None:
    bodies = json.loads((shared_data / "payloads" / "rest_recorded_2026-09-15.json").read_text())
    time = wire.decode(dump(bodies["/fapi/v1/time"]), wire.ServerTime)
    assert time.server_time == 1789478299014
    btc = wire.instrument(dump(bodies["/fapi/v1/exchangeInfo symbols[] BTCUSDT"]))
    assert (btc.tick_size, btc.step_size, btc.min_notional) == (Decimal("0.10"), Decimal("0.001"), Decimal(50))
    assert (btc.max_quantity, btc.max_market_quantity, btc.trading) == (Decimal(1000), Decimal(120), True)
    rows = wire.decode(dump(bodies["/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=3"]), list[wire.KlineRow])
    bars = [row.bar("BTCUSDT", 60_000) for row in rows]
    assert bars[0] == Bar("BTCUSDT", 60_000, 1789478160000, 76936.2, 76965.5, 76936.1, 76965.4, 20.68)


FIXTURES: dict[str, Callable[[bytes], object]] = {
    "http_json__order_response": lambda raw: wire.decode(raw, wire.OrderAnswer).report(),
    "http_responses__http_futures_account_orders": lambda raw: [
        row.report() for row in wire.decode(raw, list[wire.OrderAnswer])
    ],
    "http_json__open_algo_orders": lambda raw: wire.open_algo_orders(msgspec.Raw(raw)),
    "http_json__position_risk": lambda raw: [row.position() for row in wire.decode(raw, list[wire.PositionRisk])],
    "http_json__balance": lambda raw: wire.decode(raw, list[wire.Balance]),
    "http_responses__http_futures_account_trades": lambda raw: [
        row.fill() for row in wire.decode(raw, list[wire.UserTrade])
    ],
    "http_responses__http_futures_market_klines": lambda raw: [
        row.bar("BTCUSDT", 604_800_000) for row in wire.decode(raw, list[wire.KlineRow])
    ],
    "http_responses__http_futures_market_exchange_info": wire.instruments,
}


@pytest.mark.parametrize("name", FIXTURES)
def test_modelled_rest_answers_read(name: str, shared_data: Path) -> None:
    assert FIXTURES[name]((shared_data / "payloads" / "nautilus_fixtures" / f"{name}.json").read_bytes())


def test_modelled_frames_all_read_without_a_disagreement(shared_data: Path) -> None:
    folder = shared_data / "payloads" / "nautilus_fixtures"
    user = [*folder.glob("user_data_json__*.json"), *folder.glob("ws_messages__ws_futures_*_update_*.json")]
    user = [path for path in user if "depth" not in path.name]
    assert len(user) > 15
    for path in user:
        assert read_user_frame(path.read_bytes()), path.name
    for path in folder.glob("market_data_json__*_stream*.json"):
        assert read_market_frame(path.read_bytes()), path.name


def test_an_execution_is_a_fill_and_then_the_report_that_counts_it() -> None:
    fill, report = read_user_frame(dump(ORDER_EVENT))
    assert isinstance(report, OrderReport)
    assert (report.status, report.filled, report.at) == (VenueStatus.FILLED, Decimal("0.100"), 1742585119595)
    assert fill == Fill(
        symbol="BTCUSDT",
        trade_id=310194316,
        venue_id=4129479931,
        client_id="tsb-1",
        buy=True,
        price=Decimal("84146.50"),
        quantity=Decimal("0.100"),
        fee=Decimal("3.36586000"),
        fee_asset="USDT",
        realized_pnl=Decimal(0),
        maker=False,
        at=1742585119595,
    )


def without(event: dict[str, Any], *keys: str) -> dict[str, Any]:
    return event | {"o": {k: v for k, v in event["o"].items() if k not in keys}}


def with_order(event: dict[str, Any], **changes: object) -> dict[str, Any]:
    return event | {"o": event["o"] | changes}


def test_a_trade_without_commission_costs_nothing_and_half_a_commission_is_a_fault() -> None:
    fill, _ = read_user_frame(dump(without(ORDER_EVENT, "n", "N")))
    assert isinstance(fill, Fill)
    assert fill.fee == 0
    with pytest.raises(VenueDisagrees):
        read_user_frame(dump(without(ORDER_EVENT, "n")))


@pytest.mark.parametrize("key", ["s", "c", "S", "q", "X", "i", "l", "z", "L", "t", "m", "rp"])
def test_no_part_of_an_execution_may_be_missing(key: str) -> None:
    with pytest.raises(VenueDisagrees):
        read_user_frame(dump(without(ORDER_EVENT, key)))


@pytest.mark.parametrize(
    "change",
    [{"X": "ODD"}, {"S": "LONG"}, {"q": "NaN"}, {"L": "Infinity"}, {"L": "0"}, {"l": "-1"}, {"t": "1"}, {"z": None}],
    ids=str,
)
def test_an_unknown_word_or_an_odd_amount_is_named(change: dict[str, object]) -> None:
    with pytest.raises(VenueDisagrees):
        read_user_frame(dump(with_order(ORDER_EVENT, **change)))


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("EXPIRED_IN_MATCH", "0", VenueStatus.EXPIRED),
        ("NEW_ADL", "0", VenueStatus.NEW),
        ("NEW_ADL", "0.05", VenueStatus.PARTIALLY_FILLED),
        ("NEW_INSURANCE", "0.1", VenueStatus.FILLED),
    ],
)
def test_the_venues_own_words_for_its_own_orders_are_told_by_their_amounts(
    word: str, filled: str, status: VenueStatus
) -> None:
    *_, report = read_user_frame(dump(with_order(ORDER_EVENT, X=word, z=filled)))
    assert isinstance(report, OrderReport)
    assert report.status is status


def test_a_stop_that_triggers_and_is_refused_tells_why() -> None:
    for word in ("NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "EXPIRED"):
        (report,) = read_user_frame(dump(with_order(ALGO_EVENT, X=word, aq="")))
        assert isinstance(report, OrderReport)
        assert report.status == word
    (report,) = read_user_frame(dump(with_order(ALGO_EVENT, X="REJECTED", rm="Reduce Only reject", aq="0.0")))
    assert isinstance(report, OrderReport)
    assert (report.reason, report.filled) == ("Reduce Only reject", Decimal(0))
    for change in ({"X": "FILLED"}, {"aq": "x"}, {"aq": "NaN"}):
        with pytest.raises(VenueDisagrees):
            read_user_frame(dump(with_order(ALGO_EVENT, **change)))


MARGIN_CALL = {"e": "MARGIN_CALL", "E": 1, "cw": "3.1", "p": [{"s": "ETHUSDT", "ps": "BOTH", "pa": "1"}]}


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ({"e": "SOMETHING_NEW", "E": "3"}, Unknown("event type 'SOMETHING_NEW'")),
        ({"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ai": {"j": True}}, Unknown("multi-assets mode is on")),
        ({"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "ac": {"s": "BTCUSDT", "l": 25}}, Skipped("ACCOUNT_CONFIG_UPDATE")),
        (MARGIN_CALL, MarginCall(("ETHUSDT",))),
    ],
)
def test_what_the_account_says_besides_orders_is_told_by_what_it_is(event: dict[str, Any], meaning: object) -> None:
    assert read_user_frame(dump(event)) == (meaning,)


def test_funding_and_an_expired_key_are_events_and_the_rest_is_skipped_by_name() -> None:
    account = {"e": "ACCOUNT_UPDATE", "T": 7, "E": 8, "a": {"m": "FUNDING_FEE", "B": []}}
    assert read_user_frame(dump(account)) == (FundingDue(7),)
    assert read_user_frame(dump({"e": "listenKeyExpired", "E": 3, "listenKey": "k"})) == (ListenKeyExpired(3),)
    assert read_user_frame(dump({"e": "TRADE_LITE", "E": 3})) == (Skipped("TRADE_LITE"),)
    with pytest.raises(VenueDisagrees):
        read_user_frame("{}")


def test_a_closed_kline_is_a_price_and_a_bar_and_an_open_one_a_price() -> None:
    price = PriceChanged("BTCUSDT", Decimal("2.0"), 1638747660000)
    bar = Bar("BTCUSDT", 60_000, 1638747600000, 1.0, 2.5, 1.0, 2.0, 1000.0)
    assert read_market_frame(dump(KLINE)) == (price, bar)
    assert read_market_frame(dump(KLINE | {"k": KLINE["k"] | {"x": False}})) == (price,)
    for change in ({"i": "7m"}, {"h": "1.5"}, {"l": "0"}, {"v": "-1"}, {"v": "1E400"}, {"c": ""}):
        with pytest.raises(VenueDisagrees):
            read_market_frame(dump(KLINE | {"k": KLINE["k"] | change}))


def test_marks_of_the_coin_margined_market_are_left_out() -> None:
    assert len(read_market_frame(dump(MARK))) == 1
    assert len(read_market_frame(dump(MARK | {"st": 1}))) == 1
    assert read_market_frame(dump(MARK | {"st": 2})) == ()


def test_the_answers_to_a_subscription_are_told_from_events() -> None:
    assert read_market_frame('{"result":null,"id":3}') == (Acknowledged(3),)
    for refused in ('{"error":{"code":2,"msg":"x"},"id":3}', '{"code":2,"msg":"x","id":3}', '{"result":null}', "[]"):
        with pytest.raises(VenueDisagrees):
            read_market_frame(refused)


def test_one_odd_symbol_does_not_keep_the_others_from_trading() -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "10"},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": "5"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ]
    info = {
        "symbols": [
            {"symbol": "AUSDT", "status": "TRADING", "filters": filters},
            {"symbol": "BUSDT", "status": "SETTLING", "filters": filters},
            {"symbol": "CUSDT", "status": "TRADING", "filters": filters[:2]},
        ]
    }
    sound, faults = wire.instruments(dump(info).encode())
    assert {name: instrument.trading for name, instrument in sound.items()} == {"AUSDT": True, "BUSDT": False}
    assert list(faults) == ["CUSDT"]


def test_an_algo_order_without_a_quantity_must_be_one_that_closes_the_position() -> None:
    row = {
        "symbol": "BTCUSDT",
        "clientAlgoId": "a",
        "algoId": 1,
        "algoStatus": "NEW",
        "side": "SELL",
        "updateTime": 1,
    }
    assert wire.decode(dump(row | {"closePosition": True}), wire.AlgoAnswer).report().quantity == 0
    with pytest.raises(VenueDisagrees):
        wire.decode(dump(row), wire.AlgoAnswer).report()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0", "1.5", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real payload with one of its values, at any depth, replaced by anything."""
    event = json.loads(dump(draw(st.sampled_from([ORDER_EVENT, ALGO_EVENT, KLINE, MARK]))))
    target = event
    for key in ("o", "k"):
        if key in event and draw(st.booleans()):
            target = event[key]
    target[draw(st.sampled_from(sorted(target)))] = draw(JSON)
    return dump({"stream": "s", "data": event} if draw(st.booleans()) else event)


@pytest.mark.parametrize("read", [read_user_frame, read_market_frame])
@given(frame=mutated() | JSON.map(dump) | st.text() | st.binary())
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_or_named(read: Callable[[str | bytes], tuple[object, ...]], frame: str | bytes) -> None:
    with suppress(VenueDisagrees):
        assert isinstance(read(frame), tuple)


READERS: list[Callable[[bytes], object]] = [
    lambda raw: wire.decode(raw, wire.OrderAnswer).report(),
    lambda raw: wire.open_algo_orders(wire.decode(raw, msgspec.Raw)),
    lambda raw: wire.decode(raw, wire.UserTrade).fill(),
    lambda raw: wire.decode(raw, wire.Income).funding_paid(),
    lambda raw: wire.decode(raw, wire.KlineRow).bar("A", 60_000),
    wire.instruments,
]


@pytest.mark.parametrize("read", READERS)
@given(raw=JSON.map(lambda value: dump(value).encode()) | st.binary())
@settings(max_examples=100, deadline=None)
def test_whatever_rest_answers_is_read_or_named(read: Callable[[bytes], object], raw: bytes) -> None:
    with suppress(VenueDisagrees):
        read(raw)


def test_a_frame_nested_without_end_is_named_too() -> None:
    with pytest.raises(VenueDisagrees):
        read_user_frame('{"data":' * 100_000)


def test_margin_brackets_are_ordered_by_the_notional_they_reach_to() -> None:
    row = (
        b'{"symbol":"BTCUSDT","notionalCoef":1.0,"brackets":['
        b'{"bracket":2,"initialLeverage":100,"notionalCap":600000,"notionalFloor":50000,"maintMarginRatio":0.005,"cum":50.0},'
        b'{"bracket":1,"initialLeverage":125,"notionalCap":50000,"notionalFloor":0,"maintMarginRatio":0.004,"cum":0.0}]}'
    )
    first, second = wire.decode(row, wire.LeverageBrackets).margin_brackets()
    assert (first.notional_cap, first.maintenance_rate, first.amount) == (Decimal(50_000), Decimal("0.004"), Decimal(0))
    assert (second.amount, second.max_leverage) == (Decimal(50), 100)
