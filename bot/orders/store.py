"""What the desk asks of the database. Implemented by the journal's store; each call is one transaction."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from bot.messages import Position
from bot.venue import Fill, FundingPaid, Leg, OrderRow

AttributedFill = tuple[Fill, str | None, Leg | None]


class LedgerTotals(Protocol):
    """Sums over everything booked so far."""

    @property
    def realized_pnl(self) -> Decimal: ...

    @property
    def fees(self) -> Decimal: ...

    @property
    def funding(self) -> Decimal: ...

    @property
    def fills(self) -> int: ...

    @property
    def last_funding_at(self) -> int | None: ...

    @property
    def net(self) -> Mapping[str, Decimal]: ...


class OrderStore(Protocol):
    """Reads raise DatabaseAway where there is nobody to ask; what is saved then is kept, and written later."""

    @property
    def at_hand(self) -> bool:
        """Whether the last save reached the database itself. Without it no entry is sent."""
        ...

    async def save(
        self,
        orders: Sequence[OrderRow] = (),
        positions: Sequence[Position] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> object:
        """Upsert all of it in one transaction; fills and funding payments that are there already stay as they are."""
        ...

    async def load_open_positions(self) -> list[Position]: ...

    async def load_position(self, position_id: str) -> Position | None: ...

    async def load_live_orders(self) -> list[OrderRow]:
        """Every order whose end is not known."""
        ...

    async def load_untold(self) -> list[Position]:
        """Closed positions of which the signal's row does not say what came of them: nobody lived to tell it."""
        ...

    async def load_lost_intents(self) -> list[str]:
        """Ids of signals that were to enter and have no position."""
        ...

    async def load_orders(self, position_ids: Sequence[str]) -> list[OrderRow]: ...

    async def find_order(self, client_id: str) -> OrderRow | None: ...

    async def ledger(self) -> LedgerTotals: ...

    async def fill_ids(self, since: Mapping[str, int]) -> set[tuple[str, int]]:
        """(symbol, trade id) of the booked fills with an id at or above their symbol's in `since` (0 where none)."""
        ...

    async def income_ids(self, since: int) -> set[int]:
        """Ids of the booked funding payments at or after `since`."""
        ...

    async def get_fact(self, key: str) -> Any: ...

    async def set_fact(self, key: str, value: object) -> None: ...
