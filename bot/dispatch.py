"""Where each actor's news goes: which streams get it, and what is shown of it."""

from collections.abc import Callable

from bot.account.guards import GuardsNews
from bot.audit.auditor import AuditNews
from bot.clock import Clock, ReplayClock
from bot.forecast.watch import HealthWatch
from bot.messages import (
    BotEvent,
    JournalEntry,
    MarkChanged,
    PositionChanged,
    PositionStatus,
    PriceChanged,
    ReturnKnown,
    Signal,
    SignalOutcome,
    TradingStateChanged,
)
from bot.orders.news import DeskNews
from bot.plumbing import Streams
from bot.terminal.board import TerminalMessage


class Dispatch:
    """Sends and shows; keeps nothing. `clock` is the venue's once there is one."""

    def __init__(self, streams: Streams, show: Callable[[TerminalMessage], None], watch: HealthWatch) -> None:
        self._streams = streams
        self._show = show
        self._watch = watch
        self.clock: Clock = ReplayClock()

    def keep_up(self, at: int) -> None:
        """In a replay the market's own times move the clock before the messages of that time are worked on."""
        if isinstance(self.clock, ReplayClock):
            self.clock.advance(at)

    async def price(self, price: PriceChanged) -> None:
        self.keep_up(price.at)
        await self._streams.guard.send(price)
        self._show(price)

    async def mark(self, mark: MarkChanged) -> None:
        self.keep_up(mark.at)
        await self._streams.variants.send(mark)

    async def journal(self, entry: JournalEntry) -> None:
        await self._streams.journal.send(entry)
        if isinstance(entry, Signal):
            for event in self._watch.seen(entry):
                self.event(event)
        if not isinstance(entry, ReturnKnown | SignalOutcome):
            self._show(entry)

    def event(self, event: BotEvent) -> None:
        self._streams.journal.send_nowait(event)
        self._show(event)

    def from_desk(self, news: DeskNews) -> None:
        """Never blocks: the desk has orders to mind."""
        match news:
            case PositionChanged():
                self._streams.variants.send_nowait(news)
                self._streams.guard.send_nowait(news)
                if news.position.status is PositionStatus.CLOSED:
                    self._streams.account.send_nowait(news)
                self._show(news)
            case SignalOutcome():
                self._streams.variants.send_nowait(news)
                self._streams.journal.send_nowait(news)
            case TradingStateChanged():
                self._streams.variants.send_nowait(news)
            case BotEvent():
                self.event(news)
            case _:
                self._show(news)

    def from_account(self, news: GuardsNews) -> None:
        if isinstance(news, BotEvent):
            self.event(news)
        else:
            self._streams.variants.send_nowait(news)

    def from_audit(self, news: AuditNews) -> None:
        if isinstance(news, BotEvent):
            self.event(news)
        else:
            self._streams.journal.send_nowait(news)
