"""The exchange's matching engine: pure, deterministic, shared by the simulator, paper trading and the backtest."""

from bot.exchange.matching.engine import Engine
from bot.exchange.matching.records import (
    AccountUpdated,
    Algo,
    AlgoUpdated,
    EngineEvent,
    Execution,
    Income,
    NetPosition,
    NewAlgo,
    NewOrder,
    Order,
    OrderUpdated,
    Rejection,
    Settings,
)

__all__ = [
    "AccountUpdated",
    "Algo",
    "AlgoUpdated",
    "EngineEvent",
    "Engine",
    "Execution",
    "Income",
    "NetPosition",
    "NewAlgo",
    "NewOrder",
    "Order",
    "OrderUpdated",
    "Rejection",
    "Settings",
]
