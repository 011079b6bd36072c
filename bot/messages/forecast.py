"""What is asked of the model, and what it answers."""

import enum

import msgspec

from bot.messages.market import Floats


class Window(msgspec.Struct, frozen=True, eq=False):
    """What the model sees of one symbol: exactly `context` contiguous closes, no gap, no NaN, all above zero."""

    symbol: str
    bar_close_at: int
    closes: Floats  # (context,)


class ForecastRequest(msgspec.Struct, frozen=True, eq=False):
    """One variant's cycle: its windows, and the tier whose checkpoint shall answer."""

    request_id: int
    variant: str
    tier: str
    windows: tuple[Window, ...]
    asked_at: int
    deadline: int  # domain time after which an answer is useless


class ForecastsDue(msgspec.Struct, frozen=True, eq=False):
    """All requests of one moment, so that one pass of the model can answer them."""

    requests: tuple[ForecastRequest, ...]


class Forecast(msgspec.Struct, frozen=True, eq=False, gc=False):
    symbol: str
    checkpoint: str  # id of what was really used
    bar_close_at: int
    horizon: int  # bars ahead
    predicted_return: float  # point forecast at the horizon / last close - 1
    predicted_q10: float  # the same of the 0.1 quantile
    predicted_q90: float


class Refusal(enum.StrEnum):
    """Why a window got no forecast."""

    WRONG_LENGTH = "wrong_length"
    NOT_FINITE = "not_finite"  # NaN or infinite
    NOT_POSITIVE = "not_positive"
    SYMBOL_TWICE = "symbol_twice"  # in one request: one of the two is another symbol's window
    BAR_NOT_CLOSED = "bar_not_closed"  # the last bar closes in the future
    INPUTS_UNKNOWN = "inputs_unknown"  # a distance is the limit, and the checkpoint tells nothing to measure it by
    INPUT_UNLIKE_TRAINING = "input_unlike_training"  # farther from the training windows than is allowed

    NOT_FINITE_FORECAST = "not_finite_forecast"
    ABSURD_FORECAST = "absurd_forecast"  # says more than ABSURD_RETURN
    WRONG_SHAPE = "wrong_shape"  # the model's answer has other rows than it was asked for
    UNKNOWN_TIER = "unknown_tier"  # no model was loaded for it
    STALE = "stale"  # the request's deadline has passed


class ForecastRefused(msgspec.Struct, frozen=True):
    symbol: str
    reason: str


class ForecastsReady(msgspec.Struct, frozen=True, eq=False):
    """The answer to one request: every window of it is in one of the two."""

    request_id: int
    variant: str
    forecasts: tuple[Forecast, ...]
    refused: tuple[ForecastRefused, ...] = ()


class CheckpointServed(msgspec.Struct, frozen=True):
    """What a tier's forecasts are made by from now on."""

    tier: str
    checkpoint: str  # id
