"""What was predicted on each bar and what came, side by side: from predictions and hourly bars. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt

from bot.clock import HOUR_MS
from bot.messages import Bars, Floats

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]

BASELINES = {  # name: hours back, and the sign that what has happened since is taken with
    "reversal 4 h": (4, -1),
    "reversal 24 h": (24, -1),
    "reversal 72 h": (72, -1),
    "momentum 168 h": (168, 1),
}
NOBODY: Mapping[str, Floats] = MappingProxyType({})


class Panel(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A row for each symbol and bar that has a prediction. Returns are fractions of the bar's close; NaN: not known."""

    interval_ms: int
    symbol: Words  # (rows,)
    at: Ints  # (rows,), close of the bar
    path: Floats  # (rows, steps), predicted return of each step; one step where only the last is known
    actual: Mapping[int, Floats]  # by bars ahead, (rows,)
    baselines: Mapping[str, Floats]  # by name, (rows,)

    def __len__(self) -> int:
        return len(self.at)

    def where(self, mask: Mask) -> "Panel":
        return msgspec.structs.replace(
            self,
            symbol=self.symbol[mask],
            at=self.at[mask],
            path=self.path[mask],
            actual={ahead: values[mask] for ahead, values in self.actual.items()},
            baselines={name: values[mask] for name, values in self.baselines.items()},
        )


def looked_ahead(horizon: int) -> tuple[int, ...]:
    """The horizons, in bars, at which a prediction for `horizon` is judged."""
    return (*range(1, horizon + 1), 2 * horizon, 3 * horizon, 6 * horizon)


def panel_of(
    symbol: str, at: Ints, path: Floats, bars: Bars, horizon: int, others: Mapping[str, Floats] = NOBODY
) -> Panel:
    """One symbol's rows; `others`: what other models said on the same bars, NaN where nothing."""
    step = bars.interval_ms
    last = closes_at(bars, at)
    baselines = {
        name: sign * (last / closes_at(bars, at - hours * HOUR_MS) - 1) for name, (hours, sign) in BASELINES.items()
    }
    return Panel(
        interval_ms=step,
        symbol=np.full(len(at), symbol, dtype="U20"),
        at=at,
        path=path,
        actual={ahead: closes_at(bars, at + ahead * step) / last - 1 for ahead in looked_ahead(horizon)},
        baselines=baselines | dict(others),
    )


def joined(parts: Sequence[Panel]) -> Panel:
    """The rows of all parts by time. Baselines that not every part has are left out."""
    order = np.argsort(np.concatenate([part.at for part in parts]), kind="stable")
    names = [name for name in parts[0].baselines if all(name in part.baselines for part in parts)]
    return Panel(
        interval_ms=parts[0].interval_ms,
        symbol=np.concatenate([part.symbol for part in parts])[order],
        at=np.concatenate([part.at for part in parts])[order],
        path=np.concatenate([part.path for part in parts])[order],
        actual={ahead: np.concatenate([part.actual[ahead] for part in parts])[order] for ahead in parts[0].actual},
        baselines={name: np.concatenate([part.baselines[name] for part in parts])[order] for name in names},
    )


def closes_at(bars: Bars, at: Ints) -> Floats:
    """The close of the bar that closed at each time; NaN where there is none."""
    opened = at - bars.interval_ms
    index = np.minimum(np.searchsorted(bars.open_time, opened), max(len(bars) - 1, 0))
    if not len(bars):
        return np.full(len(at), np.nan)
    return np.where(bars.open_time[index] == opened, bars.close[index], np.nan)
