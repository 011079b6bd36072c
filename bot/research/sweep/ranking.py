"""Figures of all configurations to a ranking, and for those at its top what makes them doubtful."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from bot.clock import HOUR_MS
from bot.messages import Floats
from bot.research.significance import bootstrap_p_value, deflated_sharpe, expected_best_sharpe
from bot.research.statistics import YEAR_DAYS
from bot.research.sweep.assemble import IN_SAMPLE, OUT_OF_SAMPLE, Span
from bot.research.sweep.grid import ENTRY, Grid
from bot.research.sweep.parts import Work, days_of_one

Ints = npt.NDArray[np.int64]
BLOCK_DAYS = 5.0
FLATTERED = "(DOUBT: its stop moves along 1h bars, which flatters it)"
ONE_SIDED_95 = 1.645
DRAWS = 5_000
YEAR = math.sqrt(YEAR_DAYS)
SORTS = ("plateau", "lower", "sharpe", "net")


class FoldPick(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the walk-forward: what was best in training, and what it did afterwards."""

    fold: int
    number: int | None  # the configuration; None: none had enough trades
    train_sharpe: float
    test_sharpe: float
    test_net_pct: float


class Winner(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ranking; percentages are of one position's notional, summed. Sharpe ratios are annualised."""

    rank: int
    number: int
    settings: dict[str, str]
    trades: int
    won_pct: float
    net_pct: float
    drawdown_pct: float
    profit_factor: float
    held_minutes: float
    untold: int  # signals whose end the bars do not tell
    sharpe: float  # in-sample, as all that is not named otherwise
    lower: float  # its one-sided 95 % bound, were it the only trial
    plateau: float  # median Sharpe ratio of the row and of those one step beside it
    neighbours: int  # that had enough trades
    out_of_sample_sharpe: float | None
    out_of_sample_net_pct: float | None
    out_of_sample_trades: int | None
    folds_won: int
    folds: int
    deflated_sharpe: float  # the probability of any skill, given the number of trials
    p_value: float  # by block bootstrap, of this row alone
    stop_moves: bool  # by a trailing stop or a profit floor
    flattered: bool  # its stop moves, and days have no bars finer than 1h


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    configurations: int
    trials: int  # that differ
    ranked: int  # with enough trades
    sort: str
    sharpe_spread: float  # standard deviation over the ranked, annualised
    expected_best_by_luck: float  # Sharpe ratio that the best of so many trials without skill shows, annualised
    walk_forward: list[FoldPick]
    rows: list[Winner]


def scored(grid: Grid, table: pl.DataFrame, same: Ints) -> pl.DataFrame:
    """The table with `sharpe`, `lower`, `plateau` and `neighbours`; NaN where there are too few trades."""
    days = table[f"{IN_SAMPLE}_sharpe"].to_numpy()
    enough = table[f"{IN_SAMPLE}_trades"].to_numpy() >= grid.sweep.min_trades
    sharpe = np.where(enough, days * YEAR, np.nan)
    middle, count = plateaus(grid, sharpe, same)
    return table.with_columns(pl.Series("sharpe", sharpe), pl.Series("plateau", middle), pl.Series("neighbours", count))


def with_bounds(table: pl.DataFrame, days: int) -> pl.DataFrame:
    """Lo, "The Statistics of Sharpe Ratios" (2002): the error of a ratio s over n days is sqrt((1 + s^2 / 2) / n)."""
    daily = table["sharpe"].to_numpy() / YEAR
    error = np.sqrt((1 + daily**2 / 2) / max(days, 1))
    return table.with_columns(pl.Series("lower", (daily - ONE_SIDED_95 * error) * YEAR))


def plateaus(grid: Grid, score: Floats, same: Ints) -> tuple[Floats, Floats]:
    """The median of each configuration and of those one step beside it on one axis, and how many of these had a score.
    NaN for what has none itself. `same` (see `parts.trials`): what comes to the same trades is no neighbour."""
    cube, trial = score.reshape(grid.shape), same.reshape(grid.shape)
    layers = [cube]
    for number, axis in enumerate(grid.axes):
        most = max(len(places) for places in axis.beside)
        for turn in range(most):
            moved = np.full_like(cube, np.nan)
            for here, places in enumerate(axis.beside):
                if turn < len(places):
                    target, origin = _at(number, here), _at(number, places[turn])
                    moved[target] = np.where(trial[target] == trial[origin], np.nan, cube[origin])
            layers.append(moved)
    return _medians(layers, cube)


def _at(number: int, place: int) -> tuple[slice | int, ...]:
    return (*(slice(None) for _ in range(number)), place)


def _medians(layers: Sequence[Floats], cube: Floats) -> tuple[Floats, Floats]:
    stacked = np.sort(np.stack([layer.ravel() for layer in layers]), axis=0)  # NaN last
    known = np.sum(~np.isnan(stacked), axis=0)
    columns = np.arange(stacked.shape[1])
    low, high = np.maximum(known - 1, 0) // 2, np.maximum(known, 1) // 2
    middle = (stacked[low, columns] + stacked[np.minimum(high, len(layers) - 1), columns]) / 2
    mine = np.isnan(cube.ravel())
    return np.where(mine, np.nan, middle), np.where(mine, 0, known - 1).astype(np.float64)


def rank(
    grid: Grid, work: Work, spans: Sequence[Span], table: pl.DataFrame, same: Ints, sort: str, top: int
) -> Ranking:
    """The best `top` rows of a table that `scored` and `with_bounds` made; of configurations that come to the same
    trades the first."""
    table = table.filter(pl.Series(same) == table["number"])
    tried = len(table)
    sharpe = table["sharpe"].to_numpy()
    ranked = sharpe[~np.isnan(sharpe)] / YEAR
    variance = float(np.var(ranked, ddof=1)) if len(ranked) > 1 else 0.0
    column = f"{IN_SAMPLE}_net" if sort == "net" else sort
    best = table.filter(pl.col("sharpe").is_not_nan()).sort(column, "number", descending=[True, False]).head(top)
    rows = [_winner(grid, work, spans, row, place, tried, variance) for place, row in enumerate(best.to_dicts(), 1)]
    return Ranking(
        configurations=len(grid),
        trials=tried,
        ranked=len(ranked),
        sort=sort,
        sharpe_spread=math.sqrt(variance) * YEAR,
        expected_best_by_luck=expected_best_sharpe(tried, variance) * YEAR,
        walk_forward=walked_forward(grid, spans, table),
        rows=rows,
    )


def _winner(
    grid: Grid, work: Work, spans: Sequence[Span], row: dict[str, float], place: int, tried: int, variance: float
) -> Winner:
    number = int(row["number"])
    daily = days_of_one(work, number)[0][spans[0].begin : spans[0].end]
    tests = [span.name for span in spans if span.name.endswith("_test")]
    held_back = any(span.name == OUT_OF_SAMPLE for span in spans)
    trades, losses = row["trades"], row["losses"]
    return Winner(
        rank=place,
        number=number,
        settings={axis.name: one.label for axis, one in zip(grid.axes, grid.choices(number), strict=True)},
        trades=int(row[f"{IN_SAMPLE}_trades"]),
        won_pct=100 * row["won"] / trades,
        net_pct=100 * row[f"{IN_SAMPLE}_net"],
        drawdown_pct=100 * row["drawdown"],
        profit_factor=row["gains"] / losses if losses else math.nan,
        held_minutes=row["held_ms"] / trades / 60_000,
        untold=int(row["untold"]),
        sharpe=row["sharpe"],
        lower=row["lower"],
        plateau=row["plateau"],
        neighbours=int(row["neighbours"]),
        out_of_sample_sharpe=row[f"{OUT_OF_SAMPLE}_sharpe"] * YEAR if held_back else None,
        out_of_sample_net_pct=100 * row[f"{OUT_OF_SAMPLE}_net"] if held_back else None,
        out_of_sample_trades=int(row[f"{OUT_OF_SAMPLE}_trades"]) if held_back else None,
        folds_won=sum(row[f"{name}_net"] > 0 for name in tests),
        folds=len(tests),
        deflated_sharpe=deflated_sharpe(daily, tried, variance),
        p_value=bootstrap_p_value(daily, block=BLOCK_DAYS, draws=DRAWS),
        stop_moves=_stop_moves(work, number),
        flattered=_stop_moves(work, number) and bool((work.extracted.prices.span >= HOUR_MS).any()),
    )


def _stop_moves(work: Work, number: int) -> bool:
    plan = number // len(work.masks) % len(work.rules)
    return bool(np.isfinite(work.rules[plan, [2, 4]]).any())  # the gains that arm trailing stop and floor


def walked_forward(grid: Grid, spans: Sequence[Span], table: pl.DataFrame) -> list[FoldPick]:
    """The best of each training span, and its test."""
    picks = []
    for fold in range(1, sum(span.name.endswith("_test") for span in spans) + 1):
        length = {span.name: span.end - span.begin for span in spans}
        whole, part = length[IN_SAMPLE], length[f"fold_{fold}_train"]
        enough = pl.col(f"fold_{fold}_train_trades") >= grid.sweep.min_trades * part / whole
        known = table.filter(enough & pl.col(f"fold_{fold}_train_sharpe").is_not_nan())
        if not len(known):
            picks.append(
                FoldPick(fold=fold, number=None, train_sharpe=math.nan, test_sharpe=math.nan, test_net_pct=math.nan)
            )
            continue
        row = known.sort(f"fold_{fold}_train_sharpe", "number", descending=[True, False]).row(0, named=True)
        picks.append(
            FoldPick(
                fold=fold,
                number=int(row["number"]),
                train_sharpe=row[f"fold_{fold}_train_sharpe"] * YEAR,
                test_sharpe=row[f"fold_{fold}_test_sharpe"] * YEAR,
                test_net_pct=100 * row[f"fold_{fold}_test_net"],
            )
        )
    return picks


def settings_of(row: Winner, grid: Grid) -> str:
    """What the grid varies, the shortest names that tell, and the doubt that goes with them."""
    tried = [axis.name for axis in grid.axes if len(axis) > 1]
    words = ", ".join(
        row.settings[name] if name == ENTRY else f"{short_name(name)} {row.settings[name]}" for name in tried
    )
    return f"{words} {FLATTERED}" if row.flattered else words


def short_name(name: str) -> str:
    """As in the variant's file, its table left out where that is [variant] or [exits]."""
    return name.removeprefix("variant.").removeprefix("exits.").removeprefix("filter.")
