"""What the bot needs of a venue. Implemented by `binance` (sockets) and, in process, by `paper`."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from decimal import Decimal
from typing import Protocol

from bot.errors import OutcomeUnknown, VenueError
from bot.messages import Bar, MarkChanged, PriceChanged
from bot.venue import (
    Book,
    Fill,
    FundingPaid,
    Instrument,
    MarginBracket,
    OrderReport,
    OrderRequest,
    Transfer,
    UserEvent,
    VenuePosition,
    Worth,
)

MarketEvent = Bar | PriceChanged | MarkChanged


class TradingPort(Protocol):
    """Signed calls. Each raises VenueRejected, OutcomeUnknown or VenueUnavailable, no other venue error."""

    async def place(self, request: OrderRequest) -> OrderReport: ...

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        """Cancel; None where the venue says that no such order is open (filled, triggered, or not seen yet)."""
        ...

    async def find(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        """One order by client id; None where the venue does not know it (which may be lag)."""
        ...

    async def find_by_id(self, symbol: str, venue_id: int) -> OrderReport | None:
        """One regular order by the venue's own id, whoever placed it; None where the venue does not know it."""
        ...

    async def open_orders(self) -> Sequence[OrderReport]:
        """All open orders of the account, both books."""
        ...

    async def positions(self) -> Sequence[VenuePosition]:
        """Positions with a quantity other than zero."""
        ...

    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        """Executions with trade_id >= from_trade_id, oldest first, all pages."""
        ...

    async def funding(self, since: int) -> Sequence[FundingPaid]:
        """Funding payments at or after `since`, oldest first."""
        ...

    async def wallet(self) -> Decimal:
        """The USDT wallet balance (without unrealised profit)."""
        ...

    async def worth(self) -> Worth:
        """Wallet and equity, read at one moment."""
        ...

    async def transfers(self, since: int) -> Sequence[Transfer]:
        """Deposits and withdrawals at or after `since`, oldest first."""
        ...

    async def set_leverage(self, symbol: str, leverage: int) -> None: ...

    async def set_countdown(self, symbol: str, ms: int) -> None:
        """Have the symbol's regular orders cancelled in so many ms, unless it is set anew before; 0 takes it back."""
        ...

    async def margin_brackets(self) -> dict[str, tuple[MarginBracket, ...]]:
        """What maintenance margin and leverage the account gets on each symbol, by rising notional."""
        ...

    async def check_account(self) -> None:
        """Raise OperatorError where the account is in hedge or multi-assets mode or may not trade."""
        ...


class MarketPort(Protocol):
    """Public data."""

    async def server_time(self) -> int: ...

    async def instruments(self) -> dict[str, Instrument]: ...

    async def bars(self, symbol: str, interval_ms: int, start: int, end: int) -> Sequence[Bar]:
        """Closed bars with start <= open_time < end, oldest first, all pages. Never the bar that is still open."""
        ...

    def market_events(self, symbols: Sequence[str], interval_ms: int) -> AsyncIterator[MarketEvent]:
        """Closed bars, prices and marks. Ends with VenueUnavailable when the connection is lost or silent."""
        ...


class UserPort(Protocol):
    def user_events(self) -> AsyncGenerator[UserEvent, None]:
        """The account's events; reconnects by itself and says so with UserStreamLost and UserStreamUp."""
        ...


async def standing(port: TradingPort, symbol: str, client_id: str, book: Book) -> OrderReport:
    """The report of an order that the venue just said it has; OutcomeUnknown where it does not give one."""
    try:
        report = await port.find(symbol, client_id, book)
    except VenueError as error:
        raise OutcomeUnknown(f"{client_id} is known to the venue, but not how it stands: {error}") from error
    if report is None:
        raise OutcomeUnknown(f"{client_id} is known to the venue, and then again is not")
    return report
