"""What the venue lists, asked again and again; a symbol that is gone, suspended or under new rules is news."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from bot.clock import Clock
from bot.errors import VenueError
from bot.exchange.port import MarketPort
from bot.messages import BotEvent, Severity
from bot.venue import Instrument, InstrumentsChanged

GONE, SUSPENDED, OTHER_GRID, TRADING = "gone", "suspended", "other_grid", "trading"


def state_of(started_with: Instrument, told: Instrument | None) -> str:
    """On another grid than at the start nothing may be opened: stops and targets would be put on the first one."""
    if told is None:
        return GONE
    if (told.tick_size, told.step_size) != (started_with.tick_size, started_with.step_size):
        return OTHER_GRID
    return TRADING if told.trading else SUSPENDED


class Listing:
    """Asks every `every_ms` of domain time and sends on what has changed. An unanswered question changes nothing."""

    def __init__(
        self,
        market: MarketPort,
        clock: Clock,
        started_with: Mapping[str, Instrument],
        every_ms: int,
        send: Callable[[InstrumentsChanged], Awaitable[None]],
        report: Callable[[BotEvent], None],
    ) -> None:
        self._market = market
        self._clock = clock
        self._started_with = started_with
        self._every_ms = every_ms
        self._send, self._report = send, report
        self._states = dict.fromkeys(started_with, TRADING)
        self._listed = dict(started_with)

    async def run(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + self._every_ms)
            await self.ask()

    async def ask(self) -> None:
        try:
            told = await self._market.instruments()
        except VenueError as error:
            self._tell("listing_unanswered", Severity.WARNING, error=str(error))
            return
        listed = {}
        for symbol, known in self._started_with.items():
            new = told.get(symbol)
            state = state_of(known, new)
            if state != self._states[symbol]:
                self._states[symbol] = state
                severity = Severity.INFO if state == TRADING else Severity.ERROR
                self._tell("listing_changed", severity, symbol=symbol, state=state)
            if new is not None:
                listed[symbol] = msgspec.structs.replace(new, brackets=known.brackets, trading=state == TRADING)
        if listed != self._listed:
            self._listed = listed
            await self._send(InstrumentsChanged(listed))

    def _tell(self, name: str, severity: Severity, **detail: str) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
