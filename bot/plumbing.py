"""Every stream between the actors: its capacity, and what it does when it is full."""

from bot.account.guards import GuardsMessage
from bot.audit.auditor import AuditMessage
from bot.exits.guard import GuardMessage
from bot.messages import (
    BarClosed,
    CheckpointServed,
    ForecastsDue,
    GuardsChanged,
    JournalEntry,
    MarkChanged,
    PositionChanged,
    PriceChanged,
)
from bot.orders.desk import DeskMessage
from bot.streams import Activity, Overflow, Stream
from bot.variants.runner import VariantsMessage
from bot.venue import InstrumentsChanged


class Streams:
    """Every stream between actors, its capacity and its overflow rule. `docs/ARCHITECTURE.md` says why."""

    def __init__(self, activity: Activity) -> None:
        self.variants = Stream[VariantsMessage]("variants", 20_000, Overflow.REPLACE, activity, newest_for_variants)
        self.forecasts = Stream[ForecastsDue]("forecasts", 256, Overflow.BLOCK, activity)
        self.desk = Stream[DeskMessage]("desk", 10_000, Overflow.HALT, activity)
        self.guard = Stream[GuardMessage]("guard", 5_000, Overflow.REPLACE, activity, newest_for_guard)
        self.account = Stream[GuardsMessage]("account", 1_000, Overflow.REPLACE, activity, newest_for_account)
        self.audit = Stream[AuditMessage]("audit", 16, Overflow.HALT, activity)
        self.journal = Stream[JournalEntry]("journal", 50_000, Overflow.HALT, activity)
        self.history = Stream[BarClosed]("history", 50_000, Overflow.BLOCK, activity)


def newest_for_variants(message: VariantsMessage) -> object:
    """Marks and positions are states: the newest word counts. Everything else is an event and has its own key."""
    match message:
        case MarkChanged(symbol):
            return "mark", symbol
        case PositionChanged(position):
            return "position", position.position_id
        case BarClosed(bar):
            return "bar", bar.symbol, bar.open_time
        case CheckpointServed(tier):
            return "checkpoint", tier
        case GuardsChanged():
            return "guards"
        case InstrumentsChanged():
            return "instruments"
    return object()


def newest_for_guard(message: GuardMessage) -> object:
    match message:
        case PriceChanged(symbol):
            return "price", symbol
        case PositionChanged(position):
            return "position", position.position_id
    return object()


def newest_for_account(message: GuardsMessage) -> object:
    return message.position.position_id if isinstance(message, PositionChanged) else object()
