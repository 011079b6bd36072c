"""Cover at the venue: what positions lack is committed, then sent; what was refused, lost or not reached goes on."""

from collections.abc import Callable, Sequence

import anyio

from bot.clock import MINUTE_MS, SECOND_MS, Clock
from bot.messages import BotEvent, Position, PositionStatus, Severity
from bot.orders.book import PositionBook
from bot.orders.sender import COVER, RECHECK_MS, RECONCILE, Sender, Sent
from bot.orders.store import AttributedFill, OrderStore
from bot.venue import FundingPaid, Leg, OrderRow

ATTEMPTS = 4
WOULD_TRIGGER_AT_ONCE = "-2021"
POSITION_NOT_SEEN = ("-2022", "-4118")  # right after its fill the venue may not know of the position yet
SEEN_AFTER_S = (0.3, 1.0)  # real time, before each further attempt


class Protection:
    """Sends for the desk, cover first. Whatever stays uncovered is asked for again within a second."""

    def __init__(
        self,
        book: PositionBook,
        store: OrderStore,
        sender: Sender,
        clock: Clock,
        publish: Callable[[BotEvent], None],
    ) -> None:
        self._book = book
        self._store = store
        self._sender = sender
        self._clock = clock
        self._publish = publish
        self._unprotected: set[str] = set()  # positions that were told of

    async def cover(
        self,
        positions: Sequence[Position],
        new: Sequence[OrderRow] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> list[OrderRow]:
        """Commit everything and send what the positions lack, then `new`; the rows that were sent."""
        rows = [*self._lacking(positions), *new]
        await self.commit(positions, fills, funding)
        sent: list[OrderRow] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                rows = self._lacking(positions)
                if not rows:
                    break
                await self.commit(positions)
            answers = [(row, await self._sender.send(row)) for row in rows]
            sent += rows
            for row in [row for row, answer in answers if answer is Sent.REFUSED]:
                await self._after_refusal(row, attempt)
            if any(answer is Sent.AWAY for _, answer in answers):
                break
        self._watch(positions)
        return sent

    async def commit(
        self,
        positions: Sequence[Position],
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        orders = [row for position in positions for row in self._book.legs(position.position_id)]
        await self._store.save(orders=orders, positions=positions, fills=fills, funding=funding)

    def _lacking(self, positions: Sequence[Position]) -> list[OrderRow]:
        now = self._clock.now()
        return [row for position in positions for row in self._book.cover(position, now)]

    async def _after_refusal(self, row: OrderRow, attempt: int) -> None:
        """A position whose stop or target the venue refused goes to market; a refused exit questions our whole view."""
        position = self._book.positions[row.position_id]
        code = row.reason.partition(":")[0]
        if row.leg is Leg.EXIT:
            pause = min(MINUTE_MS, RECHECK_MS * (row.revision + 1))
            self._book.hold_exit(position, self._clock.now() + pause)
            self._sender.recheck(RECONCILE, pause)
        elif row.leg is Leg.ENTRY or position.status is not PositionStatus.OPEN or position.open_quantity <= 0:
            return
        elif code in POSITION_NOT_SEEN and attempt < len(SEEN_AFTER_S):
            await anyio.sleep(SEEN_AFTER_S[attempt])
        elif code != WOULD_TRIGGER_AT_ONCE and self._book.settle_for_less(position, row.leg):
            detail = {"position_id": position.position_id, "leg": str(row.leg), "error": row.reason}
            self._publish(
                BotEvent(at=self._clock.now(), name="cover_refused", severity=Severity.WARNING, detail={**detail})
            )
        else:
            passed = code == WOULD_TRIGGER_AT_ONCE
            stop_reason = (position.stop_reason or "stop_loss") if passed else "unprotected"
            position.status = PositionStatus.CLOSING  # the next round of cover sends the market exit
            position.exit_reason = "target" if passed and row.leg is Leg.TARGET else stop_reason

    def _watch(self, positions: Sequence[Position]) -> None:
        """Have what is still lacking looked at again; say so once of a position that no stop holds."""
        now = self._clock.now()
        for position in positions:
            lacking = [leg for leg, _ in self._book.lacking(position, now)]
            if lacking:
                self._sender.recheck(COVER, SECOND_MS)
            naked = bool(lacking) and not self._book.legs(position.position_id, Leg.STOP, live=True)
            if not naked:
                self._unprotected.discard(position.position_id)
            elif position.position_id not in self._unprotected:
                self._unprotected.add(position.position_id)
                detail = {"position_id": position.position_id, "symbol": position.symbol}
                self._publish(BotEvent(at=now, name="position_unprotected", severity=Severity.ERROR, detail={**detail}))
