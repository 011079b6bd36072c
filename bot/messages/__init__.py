"""Every struct that crosses a stream or a room's edge, in flow order.

Times are integer milliseconds UTC. Prices, quantities and money are Decimal from the venue's edge on; bars,
forecasts and indicators are float, because they are estimates.
"""

from bot.messages.forecast import (
    CheckpointServed,
    Forecast,
    ForecastRefused,
    ForecastRequest,
    ForecastsDue,
    ForecastsReady,
    Refusal,
    Window,
)
from bot.messages.market import (
    Bar,
    BarClosed,
    Bars,
    Floats,
    MarkChanged,
    PriceChanged,
)
from bot.messages.operation import (
    BotEvent,
    GuardsChanged,
    GuardState,
    GuardTrip,
    JournalEntry,
    Progress,
    Severity,
)
from bot.messages.orders import (
    BalanceChanged,
    ExitIntent,
    Position,
    PositionChanged,
    PositionStatus,
    StopMove,
    TradingState,
    TradingStateChanged,
)
from bot.messages.signals import (
    EntryIntent,
    ExitPlan,
    FilterVerdict,
    ReturnKnown,
    Side,
    Signal,
    SignalOutcome,
)

__all__ = [
    "BalanceChanged",
    "Bar",
    "BarClosed",
    "Bars",
    "BotEvent",
    "CheckpointServed",
    "EntryIntent",
    "ExitIntent",
    "ExitPlan",
    "FilterVerdict",
    "Floats",
    "Forecast",
    "ForecastRefused",
    "ForecastRequest",
    "ForecastsDue",
    "ForecastsReady",
    "GuardState",
    "GuardTrip",
    "GuardsChanged",
    "JournalEntry",
    "MarkChanged",
    "Position",
    "PositionChanged",
    "PositionStatus",
    "PriceChanged",
    "Progress",
    "Refusal",
    "ReturnKnown",
    "Severity",
    "Side",
    "Signal",
    "SignalOutcome",
    "StopMove",
    "TradingState",
    "TradingStateChanged",
    "Window",
]
