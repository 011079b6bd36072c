"""The account as time goes on: what counts against the caps, what each variant did last, and the account guards."""

import heapq
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from itertools import islice, takewhile

from bot.clock import SECOND_MS
from bot.hookspecs import Recent
from bot.messages import GuardState, PositionStatus
from bot.research.backtest.trade import Trade
from bot.strategy import guards
from bot.strategy.guards import GuardRules, Reading
from bot.strategy.risk import Exposure, Held
from bot.strategy.rounding import decimal_of
from bot.strategy.walk import NEVER
from bot.venue import MarginBracket

PAIR_MS = 2 * SECOND_MS  # as the guards' actor reads: of two readings so far apart the second counts
NOTHING_YET = Recent()
PriceAt = Callable[[str, int], float]  # symbol, moment


class Account:
    """Moved by `pass_time`, never back; entries are added at the moment that they are decided at."""

    def __init__(self, rules: GuardRules, check_ms: int, start: int, wallet: Decimal, price_at: PriceAt) -> None:
        self._rules = rules
        self._check_ms = check_ms
        self._price_at = price_at
        self._track = guards.begin(start)
        self._wallet = wallet
        self._read_at = start + PAIR_MS if rules.need_equity else NEVER
        self._live: dict[str, Trade] = {}
        self._at_place: defaultdict[tuple[str, str], dict[str, Trade]] = defaultdict(dict)  # the same, by where
        self._held: dict[str, Held] = {}
        self._ends: list[tuple[int, str]] = []  # a heap; by half milliseconds: the bot hears of its own orders late
        self._results: list[tuple[int, Decimal]] = []  # of closed trades, oldest first
        self._recent: dict[tuple[str, str], Recent] = {}
        self._exposure = Exposure()
        self._equity_read = float(wallet)
        self._told: tuple[guards.Track, GuardState] | None = None
        self._notionals: dict[str, float] = {}  # at their entries
        self._entered: defaultdict[str, float] = defaultdict(float)  # their sum, by symbol
        self._worth = 0.0  # and over all
        self._margin = 0.0  # what they took of it
        self._largest: dict[tuple[str, int], float] = {}  # notional that the venue lets be held, by symbol and leverage
        self.ruined_at: int | None = None  # when the equity was seen at or below zero

    # -- what decisions see

    @property
    def exposure(self) -> Exposure:
        if len(self._exposure.held) != len(self._held):
            self._exposure = Exposure(tuple(self._held.values()))
        return self._exposure

    @property
    def guard_state(self) -> GuardState:
        if self._told is None or self._told[0] is not self._track:
            self._told = self._track, guards.state_of(self._track, self._rules)
        return self._told[1]

    def recent(self, variant: str, symbol: str, now: int) -> Recent:
        place = variant, symbol
        known, entered = self._recent.get(place, NOTHING_YET), None
        for trade in self._at_place.get(place, {}).values():
            at = trade.filled_at if trade.filled_at <= now else trade.intent.created_at
            entered = at if entered is None else max(entered, at)
        if entered is None:
            return known
        return Recent(last_entry_at=_later(known.last_entry_at, entered), last_loss_at=known.last_loss_at)

    def affords(
        self, notional: Decimal, symbol: str, leverage: int, brackets: tuple[MarginBracket, ...], now: int
    ) -> bool:
        """Whether the venue would take an entry of that notional: enough free margin, and a bracket for it."""
        place = symbol, leverage
        if place not in self._largest:
            self._largest[place] = _largest_notional(brackets, leverage)
        largest = self._largest[place]
        wanted = float(notional) / leverage + self._margin
        same = float(notional) + self._entered[symbol]
        if wanted <= self._cautious_equity / 2 and same <= largest / 2:
            return True  # whatever the prices have done since
        wanted, same = float(notional) / leverage, float(notional)
        for trade in self._live.values():
            intent = trade.intent
            worth = float(intent.quantity) * self._price_at(intent.symbol, now)
            wanted += worth / intent.leverage
            same += worth if intent.symbol == symbol else 0.0
        equity = self._equity(now)
        self._note_ruin(equity, now)
        return same <= largest and wanted <= equity

    @property
    def _cautious_equity(self) -> float:
        """What was read last; where nobody reads, what is left if all that is open loses half of its worth."""
        return self._equity_read if self._rules.need_equity else float(self._wallet) - self._worth / 2

    def _note_ruin(self, equity: float, moment: int) -> None:
        if equity <= 0 and self.ruined_at is None:
            self.ruined_at = moment

    # -- what happens

    def add(self, trade: Trade, notional: float) -> None:
        intent = trade.intent
        self._notionals[intent.signal_id] = notional
        self._entered[intent.symbol] += notional
        self._worth += notional
        self._margin += notional / intent.leverage
        self._live[intent.signal_id] = self._at_place[intent.variant, intent.symbol][intent.signal_id] = trade
        self._held[intent.signal_id] = Held(intent.variant, intent.tier, intent.symbol, intent.side)
        self._exposure = Exposure()
        if trade.ends_at != NEVER:
            heapq.heappush(self._ends, (2 * trade.ends_at + trade.by_bot, intent.signal_id))

    def pass_time(self, now: int) -> None:
        """Let everything happen that is known by the decisions at `now`: of one moment ends first, then readings."""
        while True:
            end = self._ends[0][0] if self._ends else 2 * NEVER
            release = NEVER
            if self._track.tripped:
                release = min((trip.until for trip in self._track.tripped if trip.until is not None), default=NEVER)
            moment = min(end, 2 * release, 2 * self._read_at)
            if moment > 2 * now:
                return
            if end == moment:
                self._end(moment)
            elif 2 * release == moment:
                self._track = guards.pass_time(self._track, release)
            else:
                self._read(self._read_at)

    def _end(self, key: int) -> None:
        counted, moment = False, key // 2
        while self._ends and self._ends[0][0] == key:
            trade = self._live.pop(heapq.heappop(self._ends)[1])
            intent = trade.intent
            notional = self._notionals.pop(intent.signal_id)
            self._entered[intent.symbol] -= notional
            self._worth -= notional
            self._margin -= notional / intent.leverage
            del self._held[intent.signal_id]
            del self._at_place[intent.variant, intent.symbol][intent.signal_id]
            position = trade.position
            if position.opened_at is not None:
                counted = True
                self._remember(trade)
                if position.status is PositionStatus.CLOSED:
                    self._wallet += position.net_pnl
                    self._results.append((moment, position.net_pnl))
        self._exposure = Exposure()
        if not self._live:
            self._note_ruin(float(self._wallet), moment)
        if counted and self._rules.streak:
            track = guards.pass_time(self._track, moment)
            later = takewhile(lambda one: one[0] > track.losses_since, reversed(self._results))
            newest = [result for _, result in islice(later, self._rules.streak)]
            self._track = guards.count_losses(track, newest, self._rules, moment)

    def _remember(self, trade: Trade) -> None:
        position, place = trade.position, (trade.intent.variant, trade.intent.symbol)
        known = self._recent.get(place, NOTHING_YET)
        lost = position.closed_at if position.closed_at is not None and position.net_pnl < 0 else None
        self._recent[place] = Recent(
            last_entry_at=_later(known.last_entry_at, position.opened_at),
            last_loss_at=_later(known.last_loss_at, lost),
        )

    def _read(self, moment: int) -> None:
        self._read_at = (moment // self._check_ms + 1) * self._check_ms + PAIR_MS
        track = guards.pass_time(self._track, moment)
        self._equity_read = equity = self._equity(moment)
        self._note_ruin(equity, moment)
        reading = Reading(at=moment, equity=decimal_of(equity), wallet=self._wallet, ledger=self._wallet, transfers=())
        self._track = guards.take(track, reading, self._rules)

    def _equity(self, now: int) -> float:
        """The wallet with open positions at the prices that stand; their funding so far is left out."""
        equity = float(self._wallet)
        for trade in self._live.values():
            position = trade.position
            if trade.filled_at <= now and position.entry_price is not None:
                entry, quantity = float(position.entry_price), float(position.filled)
                gained = (self._price_at(position.symbol, now) - entry) * position.side.sign
                equity += gained * quantity - entry * quantity * trade.entry_fee
        return equity


def _largest_notional(brackets: tuple[MarginBracket, ...], leverage: int) -> float:
    offered = [bracket.notional_cap for bracket in brackets if bracket.max_leverage >= leverage]
    return float(max(offered)) if offered else 0.0 if brackets else float("inf")


def _later(known: int | None, at: int | None) -> int | None:
    if known is None or at is None:
        return at if known is None else known
    return max(known, at)
