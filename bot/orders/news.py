"""What the desk's parts tell the rest of the bot."""

from collections.abc import Callable

from bot.clock import Clock
from bot.messages import (
    BalanceChanged,
    BotEvent,
    PositionChanged,
    Severity,
    SignalOutcome,
    TradingStateChanged,
)

DeskNews = PositionChanged | SignalOutcome | BalanceChanged | BotEvent | TradingStateChanged


class News:
    """`publish` never blocks."""

    def __init__(self, publish: Callable[[DeskNews], None], clock: Clock) -> None:
        self.publish = publish
        self._clock = clock

    def tell(self, name: str, severity: Severity = Severity.INFO, **detail: object) -> None:
        self.publish(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
