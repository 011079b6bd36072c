"""The exchange's matching engine: pure, deterministic, shared by the simulator, paper trading and the backtest."""

from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import (
    AccountUpdated,
    Algo,
    AlgoUpdated,
    Amendment,
    EngineEvent,
    Execution,
    Income,
    MarginCalled,
    NetPosition,
    NewAlgo,
    NewOrder,
    Order,
    OrderUpdated,
    Rejection,
    Settings,
)
from bot.exchange.matching.switches import Switches

__all__ = [
    "AccountUpdated",
    "Algo",
    "AlgoUpdated",
    "Amendment",
    "EngineEvent",
    "Engine",
    "Execution",
    "Income",
    "MarginCalled",
    "NetPosition",
    "NewAlgo",
    "NewOrder",
    "Order",
    "OrderUpdated",
    "Rejection",
    "Settings",
    "Switches",
]
