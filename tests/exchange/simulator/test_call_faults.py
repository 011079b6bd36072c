"""Faults of REST calls, over real sockets: what the client sees, what the venue did, and what is left in the log."""

from typing import Any

import aiohttp
import pytest
from binance_common.errors import NetworkError, RateLimitBanError, ServerError, TooManyRequestsError

from bot.exchange.simulator.call_faults import BAD_GATEWAY
from tests.exchange.simulator.struck import ALGO_PATH, ORDER_PATH, entry, inject, known, pass_seconds, strikes
from tests.exchange.simulator.test_sdk_contract import ENTRY

pytestmark = pytest.mark.anyio
LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@pytest.mark.parametrize(("kind", "executed"), [("lost_after", True), ("lost_before", False)])
@pytest.mark.parametrize("form", ["dropped", "no_answer"])
async def test_a_connection_breaks_before_or_after_the_execution(
    running: Any, kind: str, executed: bool, form: str
) -> None:
    async with running() as exchange:
        soon = {"seconds": 0.05} if form == "no_answer" else {}
        await inject(exchange, kind, on=f"POST {ORDER_PATH}", nth=2, form=form, **soon)
        assert (await entry(exchange, "one"))[0] == 200
        with pytest.raises(LOST):
            await entry(exchange, "two")
        assert await known(exchange, "two") == executed
        assert (await entry(exchange, "three"))[0] == 200
        assert await strikes(exchange) == [(kind, 2)]


@pytest.mark.parametrize(("kind", "executed"), [("lost_after", True), ("lost_before", False)])
@pytest.mark.parametrize(("form", "status", "code"), [("503", 503, -1000), ("408", 408, -1007)])
async def test_the_venue_says_that_it_does_not_know(
    running: Any, kind: str, executed: bool, form: str, status: int, code: int
) -> None:
    async with running() as exchange:
        await inject(exchange, kind, on=f"POST {ORDER_PATH}", form=form, times=1)
        found, answer = await entry(exchange, "one")
        assert (found, answer["code"]) == (status, code)
        assert await known(exchange, "one") == executed


async def test_a_gateway_answers_in_html_for_a_venue_that_has_executed(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "lost_after", on="GET /fapi/v1/time", form="502")
        async with exchange.http.get(f"{exchange.addresses.rest_url}/fapi/v1/time") as answer:
            assert (answer.status, answer.content_type, await answer.text()) == (502, "text/html", BAD_GATEWAY)


async def test_an_answer_that_never_comes_runs_into_the_clients_own_time_out(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        sdk.client.rest_api.configuration.timeout = 200
        await inject(exchange, "lost_after", on=f"POST {ORDER_PATH}", form="no_answer", seconds=1)
        with pytest.raises(NetworkError):
            await sdk("new_order", **ENTRY, price=str(exchange.last("BTCUSDT")))
        assert await known(exchange, ENTRY["new_client_order_id"])


async def test_the_sdk_reads_overload_and_bans_as_its_own_errors(trading: Any) -> None:
    async with trading() as (sdk, exchange):
        await inject(exchange, "unavailable", on="GET /fapi/v1/ping", nth=1)
        await inject(exchange, "too_many", on="GET /fapi/v1/ping", nth=2, seconds=7)
        await inject(exchange, "banned", on="GET /fapi/v1/ping", nth=3, seconds=60)
        for expected in (ServerError, TooManyRequestsError, RateLimitBanError, RateLimitBanError):
            with pytest.raises(expected):
                await sdk("test_connectivity")
        world = exchange.simulator.world
        world.advance(world.now + 60_000)
        await sdk("test_connectivity")
        assert [kind for kind, _ in await strikes(exchange)] == ["unavailable", "too_many", "banned"]


@pytest.mark.parametrize(
    ("form", "code", "said"), [("busy", 0, "Service Unavailable."), ("internal", -1001, "Internal")]
)
async def test_a_venue_that_is_not_there_has_not_executed(running: Any, form: str, code: int, said: str) -> None:
    async with running() as exchange:
        await inject(exchange, "unavailable", on=f"POST {ORDER_PATH}", form=form)
        status, answer = await entry(exchange, "one")
        assert (status, answer["code"]) == (503, code)
        assert answer["msg"].startswith(said)
        assert not await known(exchange, "one")


async def test_overload_refuses_entries_and_lets_what_reduces_pass(running: Any) -> None:
    async with running() as exchange:
        await exchange.market("BTCUSDT", "BUY", "0.010")
        await entry(exchange, "before")
        await inject(exchange, "throttled")
        assert (await entry(exchange, "one"))[1]["code"] == -1008
        await exchange.market("BTCUSDT", "SELL", "0.005", reduceOnly="true")
        status, _ = await exchange.signed("DELETE", ORDER_PATH, symbol="BTCUSDT", origClientOrderId="before")
        assert status == 200
        assert await strikes(exchange) == [("throttled", 1)]


@pytest.mark.parametrize(("seconds", "header"), [(30, "30"), (None, None)])
async def test_too_many_requests_come_with_or_without_a_time_to_wait(
    running: Any, seconds: int | None, header: str | None
) -> None:
    async with running() as exchange:
        table = {} if seconds is None else {"seconds": seconds}
        await inject(exchange, "too_many", on="GET /fapi/v1/time", **table)
        status, answer, headers = await exchange.get("/fapi/v1/time")
        assert (status, answer["code"], headers.get("Retry-After")) == (429, -1003, header)


async def test_a_ban_says_until_when_and_holds_for_every_call(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "banned", on=f"POST {ORDER_PATH}", seconds=120)
        until = exchange.simulator.world.now + 120_000
        status, answer = await entry(exchange, "one")
        assert (status, answer["code"]) == (418, -1003)
        assert f"IP banned until {until}" in answer["msg"]
        assert (await exchange.get("/fapi/v1/time"))[0] == 418
        await pass_seconds(exchange, 120)
        assert (await exchange.get("/fapi/v1/time"))[0] == 200


async def test_a_new_order_is_not_found_for_a_while_in_either_book(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "lag", seconds=3)
        await entry(exchange, "one")
        await exchange.stop("BTCUSDT", "SELL", "0.010", exchange.last("BTCUSDT") / 2, clientAlgoId="two")
        order, algo = {"symbol": "BTCUSDT", "origClientOrderId": "one"}, {"clientAlgoId": "two"}
        for path, params in ((ORDER_PATH, order), (ALGO_PATH, algo)):
            for method, code in (("GET", -2013), ("DELETE", -2011)):
                status, answer = await exchange.signed(method, path, **params)
                assert (status, answer["code"]) == (400, code)
        for path in ("/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders"):
            assert await exchange.signed("GET", path) == (200, [])
        await pass_seconds(exchange, 3)
        assert (await exchange.signed("GET", ORDER_PATH, **order))[1]["clientOrderId"] == "one"
        assert (await exchange.signed("GET", ALGO_PATH, **algo))[1]["clientAlgoId"] == "two"
        assert len((await exchange.signed("GET", "/fapi/v1/openOrders"))[1]) == 1


async def test_a_position_is_told_as_it_was_for_a_while(running: Any) -> None:
    async def told(exchange: Any) -> list[str]:
        _, rows = await exchange.signed("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")
        return [row["positionAmt"] for row in rows]

    async with running() as exchange:
        await inject(exchange, "lag", on="GET /fapi/v3/positionRisk", seconds=5)
        await exchange.market("BTCUSDT", "BUY", "0.010")
        assert await told(exchange) == []
        await pass_seconds(exchange, 5)
        assert await told(exchange) == ["0.010"]
        await exchange.market("BTCUSDT", "SELL", "0.010")
        assert await told(exchange) == ["0.010"]
        await pass_seconds(exchange, 5)
        assert await told(exchange) == []


async def test_a_fault_strikes_the_symbol_and_the_client_id_that_were_asked_for(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "unavailable", on=f"GET {ORDER_PATH}", client_id="bot-*")
        await inject(exchange, "unavailable", on=f"POST {ORDER_PATH}", symbol="ETHUSDT")
        for client_id, status in (("bot-1", 503), ("person-1", 200)):
            assert (await entry(exchange, client_id))[0] == 200
            asked = {"symbol": "BTCUSDT", "origClientOrderId": client_id}
            assert (await exchange.signed("GET", ORDER_PATH, **asked))[0] == status


async def test_payloads_drift_as_they_were_told_to(running: Any) -> None:
    async with running() as exchange:
        await entry(exchange, "one")
        asked = {"symbol": "BTCUSDT", "origClientOrderId": "one"}
        await inject(exchange, "extra_keys", on=f"GET {ORDER_PATH}", nth=1)
        await inject(exchange, "missing_field", on=f"GET {ORDER_PATH}", nth=2, key="avgPrice")
        await inject(exchange, "number_as_text", on=f"GET {ORDER_PATH}", nth=3, key="orderId")
        await inject(exchange, "text_as_number", on=f"GET {ORDER_PATH}", nth=4)
        await inject(exchange, "unknown_enum", on=f"GET {ORDER_PATH}", nth=5, key="status")
        rows = [(await exchange.signed("GET", ORDER_PATH, **asked))[1] for _ in range(6)]
        plain = rows.pop()
        more, less, text, number, word = rows
        assert {key: more[key] for key in plain} == plain
        assert more.keys() - plain.keys() == {"addedLater", "addedTable"}
        assert plain.keys() - less.keys() == {"avgPrice"}
        assert text == plain | {"orderId": str(plain["orderId"])}
        assert (number["origQty"], number["clientOrderId"]) == (0.01, "one")
        assert word == plain | {"status": "ADDED_LATER"}
        assert len(await strikes(exchange)) == 5


async def test_the_listing_is_as_large_as_the_real_one(running: Any) -> None:
    async with running() as exchange:
        await inject(exchange, "slow_info", seconds=0.01)
        _, info, _ = await exchange.get("/fapi/v1/exchangeInfo")
        names = [row["symbol"] for row in info["symbols"]]
        assert len(set(names)) == len(names) == 919
        assert names[:3] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


async def test_the_venues_clock_steps_and_drifts(running: Any) -> None:
    async def told(exchange: Any) -> int:
        _, answer, _ = await exchange.get("/fapi/v1/time")
        return int(answer["serverTime"]) - int(exchange.simulator.world.now)

    async with running() as exchange:
        await inject(exchange, "clock_step", seconds=-2)
        assert await told(exchange) == -2_000
        status, answer = await entry(exchange, "one")
        assert (status, answer["code"]) == (400, -1021)
        await inject(exchange, "clock_step", seconds=8.64, form="drift")
        await pass_seconds(exchange, 100)
        assert await told(exchange) == -1_990


async def test_the_same_seed_strikes_the_same_calls(running: Any) -> None:
    async def struck(seed: int) -> list[tuple[str, int]]:
        async with running(seed=seed) as exchange:
            await inject(exchange, "unavailable", on="GET /fapi/v1/ping", probability=0.5)
            for _ in range(20):
                await exchange.get("/fapi/v1/ping")
            return await strikes(exchange)

    assert await struck(3) == await struck(3)
    assert await struck(3) != await struck(4)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "lost"}, "fault: key kind: 'lost' is not allowed; expected one of \"lost_after\""),
        ({"kind": "lag"}, "lag needs seconds"),
        ({"kind": "hedge_mode", "symbol": "NOSUCHUSDT"}, "symbol NOSUCHUSDT is not played; expected one of BTCUSDT"),
    ],
)
async def test_a_fault_that_cannot_be_is_refused_over_the_control_plane(
    running: Any, table: dict[str, Any], said: str
) -> None:
    async with running() as exchange:
        async with exchange.http.post(f"{exchange.addresses.rest_url}/_sim/fault", json=table) as answer:
            assert answer.status == 400
            assert said in await answer.text()
        assert await exchange.control("faults") == []


async def test_faults_are_listed_as_they_were_written_and_taken_away(running: Any) -> None:
    async with running() as exchange:
        table = {"kind": "unavailable", "on": "GET /fapi/v1/ping", "times": 1}
        assert await exchange.control("fault", table) == {"number": 0}
        assert await exchange.control("fault", {"kind": "lag", "seconds": 2.0}) == {"number": 1}
        assert (await exchange.get("/fapi/v1/ping"))[0] == 503
        assert await exchange.control("faults") == [
            {"number": 0, "struck": 1, "fault": table},
            {"number": 1, "struck": 0, "fault": {"kind": "lag", "seconds": 2.0}},
        ]
        async with exchange.http.delete(f"{exchange.addresses.rest_url}/_sim/faults") as answer:
            assert answer.status == 200
        assert await exchange.control("faults") == []
