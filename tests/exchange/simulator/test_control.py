"""The control plane: a hand on prices, and input that it refuses."""

from decimal import Decimal
from typing import Any

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("price", {"symbol": "NOSUCHUSDT", "price": "1"}),
        ("price", {"symbol": "BTCUSDT", "price": "0"}),
        ("price", {"symbol": "BTCUSDT", "price": "NaN"}),
        ("price", {"symbol": "BTCUSDT", "price": "much"}),
        ("price", {"symbol": "BTCUSDT"}),
        ("transfer", {"amount": "0"}),
        ("transfer", {"amount": "0.000000001"}),
        ("transfer", {"amount": "1e300"}),
        ("transfer", {"amount": "NaN"}),
        ("disconnect", {"route": "elsewhere"}),
        ("mute", {"name": "btcusdt@kline_1h"}),
    ],
)
async def test_a_wrong_order_is_refused_and_changes_nothing(running: Any, path: str, body: dict[str, str]) -> None:
    async with running() as exchange:
        before = exchange.last("BTCUSDT")
        async with exchange.http.post(f"{exchange.addresses.rest_url}/_sim/{path}", json=body) as answer:
            assert answer.status == 400
        assert exchange.last("BTCUSDT") == before
        async with exchange.http.get(f"{exchange.addresses.rest_url}/_sim/log?after=x") as answer:
            assert answer.status == 400


async def test_the_log_is_append_only_and_told_from_any_number_on(running: Any) -> None:
    async with running() as exchange:
        await exchange.market("BTCUSDT", "BUY", "0.010")
        log = await exchange.control("log")
        assert [entry["n"] for entry in log] == list(range(len(log)))
        assert [entry["what"] for entry in log] == ["order", "fill"]
        assert await exchange.control("log?after=0") == log[1:]
        assert await exchange.control("log?after=99") == []


async def test_a_fall_below_the_peak_is_reported_as_drawdown(running: Any) -> None:
    async with running() as exchange:
        await exchange.market("BTCUSDT", "BUY", "0.100")
        last = exchange.last("BTCUSDT")
        await exchange.control("price", {"symbol": "BTCUSDT", "price": str((last / 2).quantize(Decimal("0.1")))})
        report = await exchange.control("report")
        assert report["max_drawdown"] == pytest.approx(float(last * Decimal("0.1005") / 2 / 10_000), rel=0.02)


async def test_a_transfer_moves_the_wallet_and_is_told_as_income_and_on_the_accounts_stream(running: Any) -> None:
    async with running() as exchange:
        await exchange.market("BTCUSDT", "BUY", "0.010")
        before = (await exchange.control("ledger"))["wallet"]
        for amount in ("500.25", "-200"):
            await exchange.control("transfer", {"amount": amount})
        ledger = await exchange.control("ledger")
        assert Decimal(ledger["wallet"]) - Decimal(before) == Decimal(ledger["transfers"]) == Decimal("300.25")
        _, income = await exchange.signed("GET", "/fapi/v1/income", incomeType="TRANSFER")
        assert [(row["symbol"], row["income"], row["asset"]) for row in income] == [
            ("", "500.25", "USDT"),
            ("", "-200", "USDT"),
        ]
        assert [entry["amount"] for entry in await exchange.control("log") if entry["what"] == "transfer"] == [
            "500.25",
            "-200",
        ]


async def test_hedge_mode_can_be_met_and_trades_nothing(running: Any) -> None:
    async with running() as exchange:
        status, _ = await exchange.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        assert status == 200
        assert (await exchange.signed("GET", "/fapi/v1/positionSide/dual"))[1] == {"dualSidePosition": True}
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        status, answer = await exchange.signed("POST", "/fapi/v1/order", **order)
        assert (status, answer["code"]) == (400, -4061)
        status, answer = await exchange.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        assert (status, answer["code"]) == (400, -4059)
