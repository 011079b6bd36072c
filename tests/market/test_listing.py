"""What the venue lists: a symbol that is gone or suspended between two cycles is told, and nothing else is touched."""

from collections.abc import Mapping
from decimal import Decimal

import anyio
import msgspec
import pytest

from bot.clock import MINUTE_MS, ReplayClock
from bot.errors import OperatorError, VenueError, VenueUnavailable
from bot.exchange.port import MarketPort
from bot.market.listing import Listing, instruments_to_start_with
from bot.messages import BotEvent, Severity, StandingOrder, TradingState
from bot.venue import Instrument, InstrumentsChanged, MarginBracket
from tests.strategy.scenes import BTC

pytestmark = pytest.mark.anyio

BRACKETS = (MarginBracket(notional_cap=Decimal(1), maintenance_rate=Decimal(0), amount=Decimal(0), max_leverage=1),)
ETH = msgspec.structs.replace(BTC, symbol="ETHUSDT")
KNOWN = {one.symbol: msgspec.structs.replace(one, brackets=BRACKETS) for one in (BTC, ETH)}


class Market(MarketPort):
    """A venue that lists what a test says, or does not answer."""

    def __init__(self) -> None:
        self.answer: Mapping[str, Instrument] | VenueError = {"BTCUSDT": BTC, "ETHUSDT": ETH}

    async def instruments(self) -> Mapping[str, Instrument]:
        if isinstance(self.answer, VenueError):
            raise self.answer
        return self.answer


class Ears:
    def __init__(self) -> None:
        self.market = Market()
        self.clock = ReplayClock()
        self.sent: list[InstrumentsChanged] = []
        self.events: list[BotEvent] = []
        self.orders: list[StandingOrder] = []
        self.listing = Listing(
            self.market, self.clock, KNOWN, 10 * MINUTE_MS, self._send, self.events.append, self.orders.append
        )

    async def _send(self, changed: InstrumentsChanged) -> None:
        self.sent.append(changed)

    async def after(self, **changes: Instrument | None) -> dict[str, Instrument] | None:
        """What is sent when the venue's answer has changed so; None: nothing."""
        listed = {"BTCUSDT": BTC, "ETHUSDT": ETH} | changes
        self.market.answer = {symbol: one for symbol, one in listed.items() if one is not None}
        before = len(self.sent)
        await self.listing.ask()
        return self.sent[-1].instruments if len(self.sent) > before else None

    def told(self) -> list[tuple[str, Severity]]:
        return [(event.detail["state"], event.severity) for event in self.events]


async def test_while_nothing_changes_nothing_is_said() -> None:
    ears = Ears()
    assert await ears.after() is None
    assert ears.events == []


async def test_a_suspended_symbol_is_told_once_and_trades_again_when_the_venue_says_so() -> None:
    ears = Ears()
    suspended = msgspec.structs.replace(ETH, trading=False)
    sent = await ears.after(ETHUSDT=suspended)
    assert sent is not None
    assert {symbol: one.trading for symbol, one in sent.items()} == {"BTCUSDT": True, "ETHUSDT": False}
    assert await ears.after(ETHUSDT=suspended) is None
    assert await ears.after() == KNOWN
    assert ears.told() == [("suspended", Severity.ERROR), ("trading", Severity.INFO)]


async def test_a_symbol_that_is_gone_is_left_out() -> None:
    ears = Ears()
    assert await ears.after(ETHUSDT=None) == {"BTCUSDT": KNOWN["BTCUSDT"]}
    assert ears.told() == [("gone", Severity.ERROR)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tick_size": Decimal("0.5")}, "BTCUSDT: tick_size 0.10 -> 0.5"),
        ({"step_size": Decimal("0.01")}, "BTCUSDT: step_size 0.001 -> 0.01"),
        ({"min_notional": Decimal(100)}, "BTCUSDT: min_notional 50 -> 100"),
    ],
)
async def test_new_rules_count_at_once_and_nothing_opens_until_a_person_has_looked(
    change: dict[str, Decimal], words: str
) -> None:
    ears = Ears()
    other = msgspec.structs.replace(BTC, **change)
    for sent in (await ears.after(BTCUSDT=other), ears.sent[-1].instruments):
        assert sent is not None
        assert sent["BTCUSDT"] == msgspec.structs.replace(other, brackets=BRACKETS)
    assert await ears.after(BTCUSDT=other) is None
    assert [(event.name, event.detail["found"]) for event in ears.events] == [("contract_surprise", words)]
    (order,) = ears.orders
    assert (order.state, order.reason, order.detail) == (TradingState.REDUCING, "contract_surprise", words)


async def test_a_symbol_that_comes_back_under_other_rules_is_held_against_the_last_ones() -> None:
    ears = Ears()
    await ears.after(BTCUSDT=None)
    await ears.after(BTCUSDT=msgspec.structs.replace(BTC, tick_size=Decimal("0.5")))
    assert [order.detail for order in ears.orders] == ["BTCUSDT: tick_size 0.10 -> 0.5"]


async def test_an_unanswered_question_changes_nothing_and_the_next_one_is_asked() -> None:
    ears = Ears()
    ears.market.answer = VenueUnavailable("503")
    async with anyio.create_task_group() as group:
        group.start_soon(ears.listing.run)
        await anyio.wait_all_tasks_blocked()
        assert ears.events == [], "the first question comes after the first wait"
        ears.clock.advance(10 * MINUTE_MS)
        await anyio.wait_all_tasks_blocked()
        assert ([event.name for event in ears.events], ears.sent) == (["listing_unanswered"], [])
        ears.market.answer = {"BTCUSDT": BTC}
        ears.clock.advance(20 * MINUTE_MS)
        await anyio.wait_all_tasks_blocked()
        assert list(ears.sent[-1].instruments) == ["BTCUSDT"]
        group.cancel_scope.cancel()


SUSPENDED = msgspec.structs.replace(ETH, trading=False)


@pytest.mark.parametrize(
    ("known", "held", "trading"),
    [
        ({"BTCUSDT": BTC, "ETHUSDT": ETH}, [], {"BTCUSDT": True, "ETHUSDT": True}),
        ({"BTCUSDT": BTC, "ETHUSDT": SUSPENDED}, [], {"BTCUSDT": True, "ETHUSDT": False}),
        ({"BTCUSDT": BTC}, ["ETHUSDT"], {"BTCUSDT": True, "ETHUSDT": False}),
        ({"BTCUSDT": msgspec.structs.replace(BTC, trading=False)}, ["ETHUSDT"], {"BTCUSDT": False, "ETHUSDT": False}),
    ],
)
async def test_a_symbol_that_stopped_trading_ends_no_start_while_others_trade_or_are_held(
    known: dict[str, Instrument], held: list[str], trading: dict[str, bool]
) -> None:
    found = instruments_to_start_with(known, {"V": ["BTCUSDT"], "W": ["ETHUSDT"]}, held)
    assert {symbol: one.trading for symbol, one in found.items()} == trading


@pytest.mark.parametrize(
    ("known", "words"),
    [({"BTCUSDT": BTC}, "variant W: ETHUSDT is not listed"), ({"ETHUSDT": SUSPENDED, "BTCUSDT": SUSPENDED}, "none of")],
)
async def test_a_symbol_that_nobody_lists_and_nothing_is_held_on_is_a_mistake(
    known: dict[str, Instrument], words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        instruments_to_start_with(known, {"V": ["BTCUSDT"], "W": ["ETHUSDT"]}, [])
