"""The plugin manual: four hooks. A plugin is a module (or any object) that implements one of them.

A plugin sees a `Candidate` and answers; it has no clock, no network and no state of its own. A hook that returns None,
raises, or is a coroutine never opens a trade: the last two kinds of fault are refused at start where they can be seen
there, everything else refuses the one signal and names the plugin.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pluggy

from bot.messages import Bars, ExitPlan, FilterVerdict, Floats, Forecast, Side
from bot.venue import Instrument

PROJECT = "bot"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# A plugin reads options of its own: each value has the type of its default in the plugin's OPTIONS, checked at start. A
# plugin's `check_options(options)`, where it has one, is asked at start too: text says what is wrong with them.
Options = Mapping[str, Any]


class Categories(msgspec.Struct, frozen=True, kw_only=True):
    """What 15 indicators say of the newest closed bar (docs/rules.md, "Categories").

    A category is the mean of its three indicators' votes: -1 ... 1, its sign the direction; None: too few bars to tell.
    """

    trend: float | None
    momentum: float | None
    strength: float | None
    volume: float | None
    volatility: float | None
    votes: Mapping[str, float | None]  # by indicator: 1 up, -1 down, 0 neither
    measures: Mapping[str, float | None]  # what was voted on


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant did on one symbol before; ms UTC, None: never."""

    last_entry_at: int | None = None  # the first fill of its newest entry, or when one that still rests was sent
    last_loss_at: int | None = None  # when its newest losing position closed, costs and funding counted


class Candidate(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One signal that passed its tier's threshold, as filters and entries see it."""

    variant: str
    symbol: str
    side: Side
    now: int  # ms UTC, the cycle's time
    bars: Bars  # closed bars, oldest first; the last one is the newest closed
    last_price: float  # close of the newest closed bar
    mark_price: float
    forecast: Forecast
    instrument: Instrument
    rsi: float  # RSI(14) of the closes
    atr: float  # ATR(14), in price units
    categories: Categories
    recent: Recent


class RiskTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else bounds the size and the risk of one entry; `docs/rules.md` has the formulas."""

    volatility_target_pct: float = 0.0  # annualised; 0: the size does not depend on volatility
    volatility_bars: int = 168  # returns that the realised volatility is taken of
    volatility_scale_min: float = 0.25
    volatility_scale_max: float = 1.0
    volume_share_pct: float = 1.0  # of the last day's traded quote volume; 0: not looked at
    liquidation_buffer_pct: float = 1.0  # of the entry price, between stop and liquidation
    funding_share_pct: float = 25.0  # of the predicted move, for the next funding payment; 0: not looked at


class TierTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tier gives to its variants; a variant's file overrides single keys."""

    name: str
    checkpoint: str  # "active": what is activated in `checkpoints/<tier>/`; "base": always the base; or one id there
    threshold_pct: float  # |predicted return| that a signal needs, in percent
    margin_usdt: float
    leverage: int
    leverage_range: tuple[int, int] | None = None  # what a variant may choose; None: what the venue allows
    max_positions_per_symbol: int
    max_positions: int | None  # over all variants of the tier
    exits: ExitPlan
    risk: RiskTemplate = RiskTemplate()
    skip_weekdays: tuple[int, ...] = ()  # Monday is 0
    skip_hours: tuple[int, ...] = ()  # UTC


class EntryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to enter: at market, or with a limit at `price` (rounded to the tick, away from the market)."""

    price: Decimal | None = None  # None: market
    post_only: bool = False
    reason: str = ""


class Specs:
    """The hooks. Each plugin implements exactly one of them, under the name of its file or entry point."""

    @hookspec
    def tier(self) -> TierTemplate:
        """Called once at start. Return the tier's template."""

    @hookspec
    def judge(self, candidate: Candidate, options: Options) -> FilterVerdict:
        """Called for every candidate of a variant that names this filter, in the order of the file.

        `options` is the variant's `[filter.NAME]` table over the plugin module's `OPTIONS`. Return a verdict with the
        reason and every number that it was decided on, limits too, so that it can be computed again from the row; its
        `scale` may shrink the margin. With `shadow = true` in the table the verdict is logged and has no say. May not
        change the candidate.
        """

    @hookspec
    def propose(self, candidate: Candidate, options: Options) -> EntryPlan | str:
        """Called once for every candidate, also where a filter vetoes: refused rows say what would have been entered.

        Return the plan, or a string that says why there is no entry. A long limit must lie at or below the last
        price and a short one at or above it.
        """

    @hookspec
    def predict(self, bars: Bars, options: Options) -> Floats:
        """Called by the backtest alone, once for each symbol with all its bars, in the place of a model.

        Return the predicted return as of each bar's close, one number a bar; 0 or NaN says nothing. What it says of a
        bar may not depend on a later one: that is tried on shortened bars, and a rule that fails is refused.
        """
