"""Complete rows of every kind, for tests to change what they are about."""

from decimal import Decimal
from typing import Any

from bot.messages import ExitPlan, FilterVerdict, Position, PositionStatus, Side, Signal
from bot.venue import Fill, FundingPaid, Leg, OrderKind, OrderRequest, OrderRow, OrderState

AT = 1_740_787_380_123  # 2025-03-01 00:03:00.123


def order(client_id: str = "tsb-1-e0", **changes: Any) -> OrderRow:
    request = OrderRequest(
        client_id=client_id,
        symbol="BTCUSDT",
        kind=OrderKind.LIMIT,
        buy=True,
        quantity=changes.pop("quantity", Decimal("0.020")),
        price=changes.pop("price", Decimal("84350.10")),
        post_only=True,
    )
    row = {"position_id": client_id, "leg": Leg.ENTRY, "revision": 0, "state": OrderState.INTENDED} | changes
    return OrderRow(client_id=client_id, request=request, created_at=AT, updated_at=AT, **row)


def position(position_id: str = "p1", **changes: Any) -> Position:
    values = {
        "variant": "BTC",
        "tier": "t1",
        "symbol": "BTCUSDT",
        "side": Side.LONG,
        "status": PositionStatus.PENDING,
        "intended": Decimal("0.020"),
        "created_at": AT,
        "expires_at": AT + 3_600_000,
        "exits": ExitPlan(stop_pct=2.0, target_pct=1.1, trail_arm_pct=None, max_hold_ms=86_400_000),
    }
    return Position(position_id=position_id, **(values | changes))


def fill(trade_id: int = 1, **changes: Any) -> Fill:
    values = {
        "symbol": "BTCUSDT",
        "venue_id": 9_007_199_254_740_993,
        "client_id": "tsb-1-e0",
        "buy": True,
        "price": Decimal("84350.10"),
        "quantity": Decimal("0.020"),
        "fee": Decimal("0.33740040"),
        "fee_asset": "USDT",
        "realized_pnl": Decimal(0),
        "maker": True,
        "at": AT,
    }
    return Fill(trade_id=trade_id, **(values | changes))


def funding(income_id: int = 1, **changes: Any) -> FundingPaid:
    values = {"symbol": "BTCUSDT", "amount": Decimal("-0.16870020"), "at": AT}
    return FundingPaid(income_id=income_id, **(values | changes))


def signal(signal_id: str = "s1", **changes: Any) -> Signal:
    values = {
        "cycle_at": AT,
        "variant": "BTC",
        "tier": "t1",
        "symbol": "BTCUSDT",
        "bar_close_at": AT - AT % 3_600_000,
        "checkpoint": "nano-1",
        "mark_price": Decimal("84350.10"),
        "predicted_return": 0.0123,
        "predicted_q10": -0.01,
        "predicted_q90": 0.03,
        "threshold": 0.004,
        "side": Side.LONG,
        "rsi": 51.5,
        "filter_verdicts": (FilterVerdict("rsi", True, "51.5 <= 60", {"rsi": 51.5, "limit": 60, "skip": None}),),
        "decision": "enter",
        "decision_reason": "ok",
        "entry_method": "atr05",
        "entry_price": Decimal("84300.10"),
        "quantity": Decimal("0.020"),
        "fill_status": None if changes.get("decision") == "refuse" else "pending",
    }
    return Signal(signal_id=signal_id, **(values | changes))
