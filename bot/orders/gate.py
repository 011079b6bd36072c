"""The desk's trading state: held and lifted, told to whoever decides, remembered over a restart where it lasts."""

import msgspec

from bot.clock import Clock
from bot.messages import Severity, StandingOrder, StandingReleased, TradingState, TradingStateChanged
from bot.orders.news import News
from bot.orders.standing import Hold, Standing
from bot.orders.store import OrderStore

STANDING = "standing_orders"  # fact: the holds that wait for a person
DESK = "desk"


class Gate:
    """What the desk may do now. ACTIVE: all; REDUCING: no entries; HALTED: cancels only."""

    def __init__(self, store: OrderStore, news: News, clock: Clock) -> None:
        self._store = store
        self._news = news
        self._clock = clock
        self._standing = Standing()
        self._told: tuple[TradingState, str] | None = None
        self.hold("starting")

    @property
    def halted(self) -> bool:
        return self._standing.state is TradingState.HALTED

    @property
    def why_no_entry(self) -> str:
        """Empty when entries are taken."""
        return self._standing.reason

    @property
    def drops_entries(self) -> bool:
        """Resting entries are cancelled too: what holds trading back will not pass by itself."""
        return self.halted or bool(self._standing.lasting)

    def holds(self, reason: str) -> bool:
        return any(hold.reason == reason for hold in self._standing.holds)

    async def load(self) -> None:
        """Take up what an earlier process was told."""
        kept = await self._store.get_fact(STANDING)
        for hold in msgspec.convert(kept or [], tuple[Hold, ...]):
            self._standing.order(hold)
        self._publish()

    def hold(self, reason: str, detail: str = "") -> None:
        """Reduce for an automatic reason, until `lift`."""
        if self._standing.order(self._new(TradingState.REDUCING, reason, DESK, detail)) and detail:
            self._news.tell(reason, Severity.WARNING, detail=detail)
        self._publish()

    def lift(self, *reasons: str) -> None:
        """End automatic reasons; one that does not stand is none."""
        for reason in reasons:
            self._standing.release(reason, DESK)
        self._publish()

    async def order(self, order: StandingOrder) -> None:
        """Hold trading back as ordered; an order to be ACTIVE lifts its reason."""
        if order.state is TradingState.ACTIVE:
            await self.release(StandingReleased(reason=order.reason, by=order.by))
            return
        before = self._standing.lasting
        if not self._standing.order(self._new(order.state, order.reason, order.by, order.detail)):
            return
        await self._remember(before)
        self._news.tell(
            "trading_held",
            Severity.WARNING,
            state=order.state,
            reason=order.reason,
            by=order.by,
            detail=order.detail,
        )
        self._publish()

    async def release(self, release: StandingReleased) -> None:
        before = self._standing.lasting
        for reason in [hold.reason for hold in before] if release.reason is None else [release.reason]:
            refused = self._standing.release(reason, release.by)
            name = "release_refused" if refused else "trading_released"
            self._news.tell(name, Severity.WARNING, reason=reason, by=release.by, why=refused)
        await self._remember(before)
        self._publish()

    def _new(self, state: TradingState, reason: str, by: str, detail: str) -> Hold:
        return Hold(state=state, reason=reason, by=by, at=self._clock.now(), detail=detail)

    async def _remember(self, before: tuple[Hold, ...]) -> None:
        if self._standing.lasting != before:  # an automatic hold may be about a database that is away
            await self._store.set_fact(STANDING, msgspec.to_builtins(self._standing.lasting))

    def _publish(self) -> None:
        now = (self._standing.state, self._standing.reason)
        if now != self._told:
            self._told = now
            self._news.publish(TradingStateChanged(*now, self._clock.now()))
