"""What the venue lists, asked again and again; a symbol that is gone, suspended or under new rules is news.

New rules count at once for the orders of what is open. Whoever sized and priced by the old ones may have been wrong, so
nothing is opened until a person has looked.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from bot.clock import Clock
from bot.errors import OperatorError, VenueError
from bot.exchange.contract import REASON
from bot.exchange.port import MarketPort
from bot.messages import BotEvent, Severity, StandingOrder, TradingState
from bot.venue import Instrument, InstrumentsChanged, off_list

GONE, SUSPENDED, TRADING = "gone", "suspended", "trading"
RULES = ("tick_size", "step_size", "min_notional")


def state_of(told: Instrument | None) -> str:
    if told is None:
        return GONE
    return TRADING if told.trading else SUSPENDED


def new_rules(known: Instrument, told: Instrument) -> str:
    """What has changed of the rules that an order must keep, in words; empty where nothing has."""
    pairs = ((rule, getattr(known, rule), getattr(told, rule)) for rule in RULES)
    return ", ".join(f"{rule} {before} -> {after}" for rule, before, after in pairs if before != after)


def instruments_to_start_with(
    known: Mapping[str, Instrument], wanted: Mapping[str, Sequence[str]], held: Collection[str]
) -> dict[str, Instrument]:
    """By symbol, of all variants (`wanted`, by name); what is suspended, or gone from under a position, is not trading.

    It ends no start, for there may be positions to hold. OperatorError where it can only be a mistake.
    """
    found: dict[str, Instrument] = {}
    for variant, symbols in wanted.items():
        for symbol in symbols:
            if symbol not in known and symbol not in held:
                raise OperatorError(f"variant {variant}: {symbol} is not listed at the venue")
            found[symbol] = known.get(symbol, off_list(symbol))
    if not held and not any(instrument.trading for instrument in found.values()):
        raise OperatorError(f"none of {', '.join(found)} is traded at the venue now")
    return found


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
        stand: Callable[[StandingOrder], None],
    ) -> None:
        self._market = market
        self._clock = clock
        self._every_ms = every_ms
        self._send, self._report, self._stand = send, report, stand
        self._states = dict.fromkeys(started_with, TRADING)
        self._listed = dict(started_with)  # as last seen; a symbol that is gone may come back under other rules
        self._sent = dict(started_with)

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
        for symbol, known in self._listed.items():
            new = told.get(symbol)
            self._tell_state(symbol, state_of(new))
            if new is not None:
                self._tell_rules(known, new)
                listed[symbol] = msgspec.structs.replace(new, brackets=known.brackets)
        if listed != self._sent:
            self._listed |= listed
            self._sent = listed
            await self._send(InstrumentsChanged(listed))

    def _tell_state(self, symbol: str, state: str) -> None:
        if state != self._states[symbol]:
            self._states[symbol] = state
            severity = Severity.INFO if state == TRADING else Severity.ERROR
            self._tell("listing_changed", severity, symbol=symbol, state=state)

    def _tell_rules(self, known: Instrument, new: Instrument) -> None:
        changed = new_rules(known, new)
        if changed:
            found = f"{known.symbol}: {changed}"
            self._tell(REASON, Severity.ERROR, endpoint="/fapi/v1/exchangeInfo", found=found)
            self._stand(StandingOrder(state=TradingState.REDUCING, reason=REASON, by="listing", detail=found))

    def _tell(self, name: str, severity: Severity, **detail: str) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))
