"""The report's charts as HTML fragments; plotly.js itself is put into the page once."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import plotly.graph_objects as go
from plotly.io import to_html
from plotly.subplots import make_subplots

from bot.research.run_facts import Equity, Group, RunFacts, drawdowns, thinned

UP, DOWN, ACCENT, QUIET = "#1f9d74", "#d4525f", "#4a7fc9", "#9aa7b5"
FONT = {"family": "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif", "size": 12, "color": "#7c8998"}
GRID = "rgba(128,140,155,0.18)"
MINUS = "\N{MINUS SIGN}"
NOTHING = '<div class="empty">{}</div>'


def equity_chart(equity: Equity) -> str:
    if len(equity) < 2:
        return NOTHING.format("No equity was recorded.")
    kept = thinned(equity)
    depths = drawdowns(equity)
    times = np.array([equity[i][0] for i in kept], dtype="datetime64[ms]")  # of arrays plotly asks nothing a point
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05)
    figure.add_scatter(
        x=times,
        y=np.array([float(equity[i][1]) for i in kept]),
        line={"color": ACCENT, "width": 2},
        hovertemplate="%{y:,.2f} USDT<extra>equity</extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=times,
        y=np.array([-float(depths[i]) for i in kept]),
        fill="tozeroy",
        line={"color": DOWN, "width": 1},
        fillcolor="rgba(212,82,95,0.18)",
        hovertemplate="%{y:,.2f} USDT<extra>drawdown</extra>",
        row=2,
        col=1,
    )
    figure.add_hline(y=float(equity[0][1]), line={"color": QUIET, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.update_layout(hovermode="x unified")
    return fragment(figure, 400)


def groups_chart(groups: Mapping[str, Group]) -> str:
    """Net result of each group, with the number of trades and how many won."""
    if not groups:
        return NOTHING.format("No position was closed.")
    names = list(groups)[::-1]
    values = [float(groups[name].net_pnl) for name in names]
    words = [
        f"{value:+,.0f}  ({groups[name].trades})".replace("-", MINUS) for name, value in zip(names, values, strict=True)
    ]
    won = [f"{groups[name].won} of {groups[name].trades} won" for name in names]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker_color=[UP if value >= 0 else DOWN for value in values],
            text=words,
            textposition="outside",
            cliponaxis=False,
            customdata=won,
            hovertemplate="%{y}: %{x:+,.2f} USDT, %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(range=_room(values), zeroline=True, zerolinecolor=QUIET)
    return fragment(figure, 70 + 34 * max(4, len(names)))


def signals_chart(facts: RunFacts, most: int = 9) -> str:
    entered = {name: count for name, count in facts.signals.items() if name != "refuse"}
    refused = facts.refusals or ({"refuse": facts.signals["refuse"]} if "refuse" in facts.signals else {})
    counts = entered | dict(sorted(refused.items(), key=lambda item: item[1], reverse=True)[:most])
    if not counts:
        return NOTHING.format("No signal was made.")
    names = list(counts)[::-1]
    values = [counts[name] for name in names]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker_color=[ACCENT if name in entered else QUIET for name in names],
            text=[f"{value:,}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:,}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, max(values) * 1.18])
    return fragment(figure, 70 + 30 * max(4, len(names)))


def spread_chart(results: Sequence[Decimal]) -> str:
    if not results:
        return NOTHING.format("No position was closed.")
    values = [float(result) for result in results]
    width = _bin_width(max(values) - min(values))
    figure = go.Figure()
    for name, colour, some in (
        ("lost", DOWN, [value for value in values if value < 0]),
        ("won", UP, [value for value in values if value >= 0]),
    ):
        figure.add_histogram(
            x=some,
            name=name,
            marker_color=colour,
            xbins={"start": -1000 * width, "size": width, "end": 1000 * width},
            hovertemplate="%{x}: %{y} trades<extra></extra>",
        )
    figure.update_layout(barmode="overlay")
    return fragment(figure, 300)


def bars_chart(
    names: Sequence[str], values: Sequence[float], hover: Sequence[str], unit: str = "", errors: Sequence[float] = ()
) -> str:
    """Upright bars, those below zero in the colour of a loss; a bar whose value is not known is left out."""
    whiskers = [None if math.isnan(error) else error for error in errors]
    figure = go.Figure(
        go.Bar(
            x=list(names),
            y=[None if math.isnan(value) else value for value in values],
            marker_color=[DOWN if value < 0 else ACCENT for value in values],
            error_y={"type": "data", "array": whiskers, "color": QUIET, "thickness": 1, "width": 2}
            if whiskers
            else None,
            customdata=list(hover),
            hovertemplate="%{x}: %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(ticksuffix=unit)
    figure.add_hline(y=0, line={"color": QUIET, "width": 1})
    return fragment(figure, 260)


def _bin_width(span: float) -> float:
    """A round width that gives about twenty bars."""
    for width in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0):
        if span / width <= 24:
            return width
    return span / 24


def _room(values: Sequence[float]) -> list[float]:
    """An axis range that leaves space for the words beside the bars."""
    low, high = min(0.0, *values), max(0.0, *values)
    margin = 0.36 * (high - low or 1.0)
    return [low - margin if low < 0 else 0.0, high + margin if high > 0 else 0.0]


def fragment(figure: go.Figure, height: int) -> str:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=FONT,
        showlegend=False,
        bargap=0.3,
    )
    figure.update_xaxes(gridcolor=GRID, linecolor=GRID, automargin=True, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, linecolor=GRID, automargin=True, zeroline=False)
    config = {"displayModeBar": False, "responsive": True}
    chart = to_html(figure, full_html=False, include_plotlyjs=False, config=config, default_height=f"{height}px")
    return f'<div class="chart">{chart}</div>'
