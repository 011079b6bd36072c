"""Resting entries end with us: the venue cancels a symbol's regular orders unless it hears of us in time."""

from bot.clock import Clock
from bot.errors import OutcomeUnknown, VenueRejected, VenueUnavailable
from bot.exchange.port import TradingPort
from bot.messages import Severity
from bot.orders.book import PositionBook
from bot.orders.news import News
from bot.orders.sender import DEAD_MAN, Sender
from bot.venue import Leg


class DeadMan:
    """Arms the venue's countdown where an entry rests, renews it at a third of its time, clears it where none does."""

    def __init__(
        self, port: TradingPort, book: PositionBook, sender: Sender, news: News, clock: Clock, countdown_ms: int
    ) -> None:
        self._port = port
        self._book = book
        self._sender = sender
        self._news = news
        self._clock = clock
        self._countdown_ms = countdown_ms
        self._renew_at: dict[str, int] = {}  # by symbol on which a countdown runs
        self._failing: set[str] = set()

    async def tend(self) -> None:
        """Do what is due; called after everything that may have changed what rests."""
        if not self._countdown_ms:
            return
        now = self._clock.now()
        resting = {row.request.symbol for row in self._book.live_orders() if row.leg is Leg.ENTRY}
        for symbol in sorted(self._renew_at.keys() - resting):
            if await self._set(symbol, 0):
                del self._renew_at[symbol]
        for symbol in sorted(resting):
            if self._renew_at.get(symbol, now) <= now:
                await self._set(symbol, self._countdown_ms)
                self._renew_at[symbol] = now + self._countdown_ms // 3
        if self._renew_at:
            due = min(self._renew_at.values())
            self._sender.recheck(DEAD_MAN, max(due - now, self._countdown_ms // 9))
        else:
            self._sender.recheck_at.pop(DEAD_MAN, None)

    async def _set(self, symbol: str, ms: int) -> bool:
        try:
            await self._port.set_countdown(symbol, ms)
        except (VenueRejected, VenueUnavailable, OutcomeUnknown) as error:
            if symbol not in self._failing:
                self._failing.add(symbol)
                self._news.tell("countdown_not_set", Severity.WARNING, symbol=symbol, error=str(error))
            return False
        self._failing.discard(symbol)
        return True
