"""What the terminal view knows: messages in, the state of the screen out. No clock, no drawing."""

from collections import Counter, deque
from collections.abc import Sequence
from decimal import Decimal

from bot.messages import (
    BalanceChanged,
    BotEvent,
    MarkChanged,
    Position,
    PositionChanged,
    PositionStatus,
    PriceChanged,
    Progress,
    Signal,
)

TerminalMessage = Signal | PositionChanged | BalanceChanged | BotEvent | Progress | PriceChanged | MarkChanged

DECISIONS_KEPT = 30
EVENTS_KEPT = 30
POINTS_KEPT = 512
BLOCKS = "▁▂▃▄▅▆▇█"


class Board:
    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.start_wallet: Decimal | None = None
        self.wallet: Decimal | None = None
        self.positions: dict[str, Position] = {}  # pending, open and closing ones
        self.prices: dict[str, Decimal] = {}
        self.decisions: deque[Signal] = deque(maxlen=DECISIONS_KEPT)  # newest last
        self.events: deque[BotEvent] = deque(maxlen=EVENTS_KEPT)
        self.signals: Counter[str] = Counter()  # by decision
        self.exits: Counter[str] = Counter()  # by reason
        self.equities: list[Decimal] = []  # evenly thinned as the run grows
        self._stride = 1
        self._skipped = 0

    def take(self, message: TerminalMessage) -> None:
        match message:
            case Signal():
                self._signal(message)
            case PositionChanged(position):
                self._position(position)
            case BalanceChanged(wallet=wallet):
                self.wallet = wallet
                self.start_wallet = wallet if self.start_wallet is None else self.start_wallet
            case BotEvent():
                self.events.append(message)
            case PriceChanged(symbol, price):
                self.prices[symbol] = price
            case MarkChanged(symbol, mark):
                self.prices[symbol] = mark
            case Progress():
                self.progress = message
                self._sample()

    @property
    def open_positions(self) -> list[Position]:
        return [one for one in self.positions.values() if one.status is not PositionStatus.PENDING]

    @property
    def equity(self) -> Decimal | None:
        """The wallet and what the open positions would bring at the last known prices."""
        if self.wallet is None:
            return None
        return self.wallet + sum(
            (unrealised(one, self.prices) or Decimal(0) for one in self.open_positions), Decimal(0)
        )

    @property
    def net(self) -> Decimal | None:
        """What has been gained since the run's first balance."""
        equity = self.equity
        return None if equity is None or self.start_wallet is None else equity - self.start_wallet

    def _signal(self, signal: Signal) -> None:
        self.decisions.append(signal)
        self.signals[signal.decision] += 1
        if signal.mark_price is not None:
            self.prices[signal.symbol] = signal.mark_price

    def _position(self, position: Position) -> None:
        if position.status is not PositionStatus.CLOSED:
            self.positions[position.position_id] = position
            return
        known = self.positions.pop(position.position_id, None)
        if position.filled and position.exit_reason and known is not None:
            self.exits[position.exit_reason] += 1

    def _sample(self) -> None:
        """Keep every n-th equity, and double n each time the points become too many."""
        self._skipped += 1
        equity = self.equity
        if equity is None or self._skipped < self._stride:
            return
        self._skipped = 0
        self.equities.append(equity)
        if len(self.equities) > POINTS_KEPT:
            self.equities = self.equities[::2]
            self._stride *= 2


def unrealised(position: Position, prices: dict[str, Decimal]) -> Decimal | None:
    """Profit of the open quantity at the symbol's last price, before costs; None without a price or a fill."""
    price = prices.get(position.symbol)
    if price is None or position.entry_price is None:
        return None
    return position.side.sign * (price - position.entry_price) * position.open_quantity


def sparkline(values: Sequence[Decimal], width: int) -> str:
    """The values' course in at most `width` block characters; a flat one is drawn low."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    picked = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    low, span = min(picked), max(picked) - min(picked)
    if not span:
        return BLOCKS[0] * count
    return "".join(BLOCKS[int((value - low) / span * (len(BLOCKS) - 1))] for value in picked)
