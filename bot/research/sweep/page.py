"""The sweep as one HTML page that opens offline: the top rows, all rows over all axes, the heat of every two axes."""

import html
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl

from bot.messages import Floats
from bot.research.charts import DOWN, FONT, NOTHING, UP, bars_chart, fragment
from bot.research.page import Card, study_page, table
from bot.research.sweep.grid import Grid
from bot.research.sweep.ranking import Ranking, Winner, settings_of, short_name

MOST_LINES = 3_000  # of the parallel coordinates
MOST_PAIRS = 10  # of axes
HEADS = (
    "#",
    "No.",
    "Plateau",
    "Sharpe",
    "Lower",
    "Out of sample",
    "Folds",
    "DSR",
    "p",
    "Trades",
    "Net %",
    "Drawdown %",
)
SCALE = [(0.0, DOWN), (0.5, "#d9dee4"), (1.0, UP)]


def sweep_page(grid: Grid, figures: pl.DataFrame, ranking: Ranking, about: str, doubts: Sequence[str]) -> str:
    return study_page(
        "Sweep",
        f"{ranking.configurations:,} configurations, {ranking.trials:,} different",
        about,
        _cards(grid, figures, ranking, doubts),
        "Sharpe ratios are annualised, of daily results, in-sample where not said otherwise. "
        "All rows as data: table.parquet beside this page.",
    )


def _cards(grid: Grid, figures: pl.DataFrame, ranking: Ranking, doubts: Sequence[str]) -> Iterator[Card]:
    luck = (
        f"The best of {ranking.trials:,} trials without any skill would show a Sharpe ratio of about "
        f"{ranking.expected_best_by_luck:.2f}. DSR is the probability of skill in spite of that, p the block "
        "bootstrap's of the row alone, the plateau the median of the row and those one step beside it."
    )
    yield Card(f"The best by {ranking.sort}", luck, _winners(grid, ranking))
    if doubts:
        lines = "".join(f"<li>{html.escape(doubt)}</li>" for doubt in doubts)
        yield Card("What to hold against them", "", f"<ul>{lines}</ul>")
    picks = [one for one in ranking.walk_forward if one.number is not None]
    yield Card(
        "Walk-forward",
        "The best of each training span, on the test span after it: Sharpe ratio",
        bars_chart(
            [f"fold {one.fold}" for one in picks],
            [one.test_sharpe for one in picks],
            [
                f"{one.test_sharpe:+.2f}, in training {one.train_sharpe:+.2f}, net {one.test_net_pct:+.1f} %"
                for one in picks
            ],
        )
        if picks
        else NOTHING.format("No training span has enough trades."),
    )
    sharpe = figures["sharpe"].to_numpy()
    yield Card("All axes", _shown(len(figures)), _parallel(grid, sharpe, figures))
    pairs = list(itertools.combinations([number for number, axis in enumerate(grid.axes) if len(axis) > 1], 2))
    for first, second in pairs[:MOST_PAIRS]:
        names = f"{grid.axes[first].name} and {grid.axes[second].name}"
        yield Card(names, "Median Sharpe ratio over all other settings", _heat(grid, sharpe, first, second))


def _shown(count: int) -> str:
    if count <= MOST_LINES:
        return "One line a configuration; drag along an axis to choose"
    return f"The best {MOST_LINES // 2:,} and {MOST_LINES // 2:,} of the others, evenly by rank; drag along an axis"


def _winners(grid: Grid, ranking: Ranking) -> str:
    if not ranking.rows:
        return NOTHING.format("No configuration has enough trades in-sample.")
    rows = ([*_winner(row), html.escape(settings_of(row, grid))] for row in ranking.rows)
    return table("winners", (*HEADS, "Settings"), {len(HEADS)}, rows)


def _winner(row: Winner) -> list[str]:
    return [
        str(row.rank),
        str(row.number),
        _number(row.plateau),
        _number(row.sharpe),
        _number(row.lower),
        "–" if row.out_of_sample_sharpe is None else _number(row.out_of_sample_sharpe),
        f"{row.folds_won} of {row.folds}",
        _number(row.deflated_sharpe, ""),
        _number(row.p_value, ""),
        f"{row.trades:,}",
        _number(row.net_pct),
        _number(row.drawdown_pct, ""),
    ]


def _number(value: float, sign: str = "+") -> str:
    return "–" if math.isnan(value) else f"{value:{sign},.2f}"


def _parallel(grid: Grid, sharpe: Floats, figures: pl.DataFrame) -> str:
    order = np.argsort(-sharpe, kind="stable")[: int(np.sum(~np.isnan(sharpe)))]
    if not len(order):
        return NOTHING.format("No configuration has enough trades in-sample.")
    if len(order) > MOST_LINES:
        rest = np.linspace(MOST_LINES // 2, len(order) - 1, MOST_LINES // 2).astype(np.int64)
        order = np.concatenate([order[: MOST_LINES // 2], order[rest]])
    places = np.unravel_index(figures["number"].to_numpy()[order], grid.shape)
    axes = [
        {
            "label": short_name(axis.name),
            "values": place,
            "tickvals": list(range(len(axis))),
            "ticktext": [choice.label for choice in axis.choices],
        }
        for axis, place in zip(grid.axes, places, strict=True)
        if len(axis) > 1
    ]
    axes.append({"label": "Sharpe", "values": sharpe[order]})
    line = {"color": sharpe[order], "colorscale": SCALE, "cmid": 0.0}
    room = {"x": [0.13, 0.97], "y": [0.02, 0.88]}  # for the names above and the numbers beside the axes
    figure = go.Figure(go.Parcoords(line=line, dimensions=axes, domain=room, labelfont=FONT, tickfont=FONT))
    return fragment(figure, 440)


def _heat(grid: Grid, sharpe: Floats, first: int, second: int) -> str:
    cube = np.moveaxis(sharpe.reshape(grid.shape), (first, second), (0, 1))
    flat = cube.reshape(*cube.shape[:2], -1)
    known = ~np.isnan(flat).all(axis=2)
    middle = np.full(known.shape, np.nan)
    middle[known] = np.nanmedian(flat[known], axis=1)
    if not known.any():
        return NOTHING.format("No configuration has enough trades in-sample.")
    rows, columns = ([one.label for one in grid.axes[number].choices] for number in (first, second))
    figure = go.Figure(
        go.Heatmap(
            z=middle,
            x=columns,
            y=rows,
            colorscale=SCALE,
            zmid=0.0,
            texttemplate="%{z:.2f}" if middle.size <= 150 else None,
            hovertemplate="%{y}, %{x}: %{z:.2f}<extra></extra>",
            colorbar={"thickness": 10, "outlinewidth": 0},
        )
    )
    figure.update_xaxes(title=grid.axes[second].name, type="category")
    figure.update_yaxes(title=grid.axes[first].name, type="category")
    return fragment(figure, 120 + 30 * max(4, len(rows)))
