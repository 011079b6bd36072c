"""Weights, order counts, bans and signatures, as pure rules and as HTTP answers."""

import hashlib
import hmac
from typing import Any

import pytest

from bot.clock import MINUTE_MS
from bot.exchange.simulator.limits import FIRST_BAN_MS, PATIENCE, Credentials, Limits, Refusal

NOW = 1_735_689_600_000
ACCOUNT = "/fapi/v3/balance"


def refused(limits: Limits, now: int, weight: int) -> Refusal:
    with pytest.raises(Refusal) as caught:
        limits.charge(now, weight)
    return caught.value


def test_weight_is_counted_in_full_minutes_of_virtual_time() -> None:
    limits = Limits(weight=10)
    limits.charge(NOW + 59_999, 10)
    assert refused(limits, NOW + 59_999, 1).status == 429
    limits.charge(NOW + 60_000, 10)
    assert limits.headers(NOW + 60_000, ordering=False) == {"X-MBX-USED-WEIGHT-1M": "10"}


def test_going_on_after_429_ends_in_a_ban_and_the_next_ban_is_longer() -> None:
    limits = Limits(weight=10)
    limits.charge(NOW, 10)
    answers = [refused(limits, NOW, 1) for _ in range(PATIENCE + 1)]
    assert [answer.status for answer in answers] == [429] * PATIENCE + [418]
    assert str(NOW + FIRST_BAN_MS) in answers[-1].message
    assert refused(limits, NOW + FIRST_BAN_MS - 1, 0).status == 418
    later = NOW + FIRST_BAN_MS
    limits.charge(later, 10)
    for _ in range(PATIENCE + 1):
        refused(limits, later, 1)
    assert limits.banned_until == later + 2 * FIRST_BAN_MS


def test_the_backfill_of_forty_symbols_fits_into_one_minute() -> None:
    limits = Limits()
    for _ in range(40):
        limits.charge(NOW, 10)
    assert limits.weight.used(NOW) == 400


def test_both_order_limits_hold_and_a_refused_order_is_not_counted() -> None:
    limits = Limits(orders_minute=3, orders_ten_seconds=2)
    limits.charge_order(NOW)
    limits.charge_order(NOW)
    with pytest.raises(Refusal, match="-1015"):
        limits.charge_order(NOW)
    limits.charge_order(NOW + 10_000)
    with pytest.raises(Refusal, match="-1015"):
        limits.charge_order(NOW + 20_000)
    headers = limits.headers(NOW + 20_000, ordering=True)
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("0", "3")
    limits.charge_order(NOW + MINUTE_MS)


def test_a_signature_covers_query_and_body_as_they_were_sent() -> None:
    # the example of Binance's own documentation for HMAC keys
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    query = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        "&timestamp=1591702613943"
    )
    signature = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    credentials = Credentials("key", secret)
    credentials.check_signature(f"{query}&signature={signature}", "")
    credentials.check_signature("", f"{query}&signature={signature}")
    for damaged in (f"{query}&signature={signature[:-1]}0", query, f"{query}0&signature={signature}", ""):
        with pytest.raises(Refusal, match="-1022"):
            credentials.check_signature(damaged, "")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, -1102),
        ({"timestamp": "soon"}, -1102),
        ({"timestamp": str(NOW + 1_000)}, -1021),
        ({"timestamp": str(NOW - 5_001)}, -1021),
        ({"timestamp": str(NOW - 101), "recvWindow": "100"}, -1021),
        ({"timestamp": str(NOW), "recvWindow": "60001"}, -1131),
    ],
)
def test_a_timestamp_outside_of_its_window_is_refused(params: dict[str, str], code: int) -> None:
    with pytest.raises(Refusal, match=str(code)):
        Credentials("key", "secret").check_time(params, NOW)


def test_the_window_can_be_switched_off_for_clients_with_a_clock_of_their_own() -> None:
    Credentials("key", "secret", clock_window="off").check_time({"timestamp": "1"}, NOW)


@pytest.mark.anyio
async def test_limits_and_faults_are_told_as_the_exchange_tells_them(running: Any) -> None:
    async with running(weight_per_minute=3) as exchange:
        status, answer, headers = await exchange.get("/fapi/v1/nothing")
        assert (status, answer["code"]) == (404, -5000)
        status, _, headers = await exchange.get("/fapi/v1/ping")
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "1")
        status, answer = await exchange.signed("GET", ACCOUNT)
        assert (status, answer["code"]) == (429, -1003)
        for _ in range(PATIENCE):
            status, answer, _ = await exchange.get("/fapi/v1/ping")
        assert (status, answer["code"]) == (418, -1003)
        exchange.simulator.world.advance(exchange.simulator.limits.banned_until)
        assert (await exchange.get("/fapi/v1/ping"))[0] == 200


@pytest.mark.anyio
async def test_parameters_may_come_in_the_body(running: Any) -> None:
    async with running() as exchange:
        body = "symbol=BTCUSDT&leverage=9&timestamp=" + str(exchange.simulator.world.now)
        signature = hmac.new(b"sim-secret", body.encode(), hashlib.sha256).hexdigest()
        headers = {"X-MBX-APIKEY": "sim-key", "Content-Type": "application/x-www-form-urlencoded"}
        url = f"{exchange.addresses.rest_url}/fapi/v1/leverage"
        async with exchange.http.post(url, data=f"{body}&signature={signature}", headers=headers) as response:
            assert (await response.json())["leverage"] == 9


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["", "ten", "NaN", "Infinity", "1" * 41])
async def test_an_amount_that_is_no_number_is_malformed(running: Any, amount: str) -> None:
    async with running() as exchange:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": amount}
        status, answer = await exchange.signed("POST", "/fapi/v1/order", **order)
        assert (status, answer["code"]) == (400, -1102)
        report = await exchange.control("report")
        assert (report["orders"], report["rejections"]) == (0, 1)


@pytest.mark.anyio
async def test_an_order_that_was_refused_is_in_the_log_without_its_signature(running: Any) -> None:
    async with running() as exchange:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.0001"}
        await exchange.signed("POST", "/fapi/v1/order", **order)
        (entry,) = [row for row in await exchange.control("log?after=-1") if row["what"] == "refused"]
        assert (entry["code"], entry["params"]) == (-1111, order)


def test_the_funding_endpoints_have_a_pool_of_their_own() -> None:
    limits = Limits()
    for _ in range(500):
        limits.charge_funding(NOW)
    with pytest.raises(Refusal, match="-1003"):
        limits.charge_funding(NOW)
    assert limits.weight.used(NOW) == 0
    limits.charge_funding(NOW + 5 * MINUTE_MS)
