"""Every word that the bot itself writes into `decision_reason`.

Three kinds of reason carry a name after a colon: `filter:NAME` (that filter's veto), `plugin:NAME` (that plugin broke
its contract) and `no_entry:WORDS` (the entry plugin found none). A forecaster's refusal is passed on in its own words.
"""

import enum
import re


class Reason(enum.StrEnum):
    ALLOWED = "allowed"  # the one reason of the decision "enter"

    CYCLE_LATE = "cycle_late"  # the process came to the cycle more than a minute after its time
    BAR_MISSING = "bar_missing"  # the bar that had closed by the cycle's time has not arrived
    WINDOW_SHORT = "window_short"  # fewer bars than the context
    WINDOW_INTERVAL = "window_interval"  # bars of another interval, or off its grid
    WINDOW_ORDER = "window_order"  # open times that do not rise
    WINDOW_GAP = "window_gap"  # a bar is missing in between
    WINDOW_NOT_FINITE = "window_not_finite"  # NaN or infinite
    WINDOW_NOT_POSITIVE = "window_not_positive"  # a price of zero or less
    MARK_MISSING = "mark_missing"  # no mark price has been seen
    INSTRUMENT_MISSING = "instrument_missing"  # the venue does not list the symbol
    INSTRUMENT_NOT_TRADING = "instrument_not_trading"  # the venue has suspended it
    INDICATOR_MISSING = "indicator_missing"  # RSI or ATR is not a number

    FORECAST_MISSING = "forecast_missing"  # no answer by the deadline, or none for this symbol
    FORECAST_STALE = "forecast_stale"  # of another bar than the newest
    FORECAST_NOT_FINITE = "forecast_not_finite"
    BELOW_THRESHOLD = "below_threshold"

    STATE_REDUCING = "state_reducing"  # exits only
    STATE_HALTED = "state_halted"

    GUARD_DAY_DRAWDOWN = "guard_day_drawdown"  # the account fell too far from the day's peak
    GUARD_DRAWDOWN = "guard_drawdown"  # the same from its highest ever
    GUARD_DAILY_LOSS = "guard_daily_loss"  # the same from where the day began
    GUARD_LOSING_STREAK = "guard_losing_streak"  # too many losing trades in a row
    GUARD_EQUITY_UNKNOWN = "guard_equity_unknown"  # what the account is worth has not been known for too long

    ENTRY_WRONG_SIDE = "entry_wrong_side"  # a long limit above the last price, a short one below it
    QUANTITY_BELOW_MINIMUM = "quantity_below_minimum"
    QUANTITY_ABOVE_MAXIMUM = "quantity_above_maximum"
    NOTIONAL_BELOW_MINIMUM = "notional_below_minimum"
    VOLATILITY_UNKNOWN = "volatility_unknown"  # sized by it, and there are too few bars to tell

    VOLUME_CAP = "volume_cap"  # more than the allowed share of the day's traded volume
    BRACKETS_MISSING = "brackets_missing"  # the venue has told no maintenance margin for the symbol
    LEVERAGE_ABOVE_BRACKET = "leverage_above_bracket"  # the venue allows less for so large a position
    LIQUIDATION_NEAR = "liquidation_near"  # not far enough behind the stop
    FUNDING_UNKNOWN = "funding_unknown"  # no rate or time of the next payment
    FUNDING_COST = "funding_cost"  # the next payment eats too much of the predicted move

    OPPOSITE_POSITION = "opposite_position"  # the symbol is held, or an entry rests, on the other side
    CAP_SYMBOL = "cap_symbol"
    CAP_VARIANT = "cap_variant"
    CAP_TIER = "cap_tier"
    CAP_ACCOUNT = "cap_account"


def vetoed_by(filter_name: str) -> str:
    return f"filter:{filter_name}"


def broken(plugin_name: str) -> str:
    return f"plugin:{plugin_name}"


def no_entry(words: str) -> str:
    """An entry plugin's own words in snake_case, at most 40 characters."""
    return "no_entry:" + re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:40]
