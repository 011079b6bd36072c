"""The backtest as one HTML page that opens offline."""

import datetime
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np
import plotly.graph_objects as go

from bot.messages import Position, Side
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.results import Figures, Predictions, Results
from bot.research.charts import ACCENT, DOWN, QUIET, UP, bars_chart, equity_chart, fragment, groups_chart
from bot.research.page import Card, study_page, table, trades_table
from bot.research.run_facts import Group

CANDLES = 500  # at most, on the chart of trades
GROUP_HEADS = ("", "Trades", "Won", "Gross", "Fees", "Funding", "Net")
MOST_TRADES = 1_000


def backtest_page(
    title: str,
    about: str,
    results: Results,
    closed: Sequence[Position],
    markets: Mapping[str, SymbolMarket],
    notes: Sequence[str],
) -> str:
    cards = _cards(results, closed, markets, notes)
    footer = "Times are UTC, money is USDT. The same figures as data: report.json."
    return study_page("Backtest", title, about, cards, footer)


def _cards(
    results: Results, closed: Sequence[Position], markets: Mapping[str, SymbolMarket], notes: Sequence[str]
) -> Iterator[Card]:
    yield Card("Figures", "Ratios are of daily returns, annualised", _figures(results.figures))
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    yield Card("What to hold against them", "", f"<ul>{lines}</ul>")
    equity = [(at, Decimal(str(value))) for at, value in results.equity]
    yield Card("Equity and drawdown", "Open positions at the prices that stood", equity_chart(equity))
    yield Card("Months", "By the close of the trade", _groups(results.by_month))
    if closed:
        busiest = max(results.by_symbol, key=lambda symbol: results.by_symbol[symbol].trades)
        chart = candles_chart(markets[busiest], [one for one in closed if one.symbol == busiest])
        yield Card(f"Trades on candles: {busiest}", "The newest stretch; a line from each entry to its exit", chart)
    if results.predictions is not None:
        yield from _predictions(results.predictions)
    yield Card("Variants", "Closed trades", _groups(results.by_variant))
    yield Card("Symbols", "Net result and trades", groups_chart(results.by_symbol))
    yield Card("Exits", "What ended the trades", groups_chart(results.by_exit))
    yield Card("Refused", "Signals by the first reason that stood against them", _refusals(results.refusals))
    yield Card("Hours (UTC)", "By the hour of the entry", _groups(results.by_hour))
    newest = f"The newest {MOST_TRADES:,}" if len(closed) > MOST_TRADES else "Closed positions"
    yield Card("Trades", newest, trades_table(tuple(closed[-MOST_TRADES:])))


def _figures(figures: Figures) -> str:
    rows = [
        ("Net result", f"{figures.net_pnl:+,.2f} USDT, {figures.return_pct:+.2f} % with what is open"),
        ("Gross, fees, funding", f"{figures.gross_pnl:+,.2f}, {-figures.fees:+,.2f}, {figures.funding:+,.2f} USDT"),
        (
            "Trades",
            f"{figures.trades:,}, {figures.won:,} won; {figures.filled:,} of {figures.entries:,} entries filled",
        ),
        ("Sharpe, Sortino, Calmar", " / ".join(map(_number, (figures.sharpe, figures.sortino, figures.calmar)))),
        ("Profit factor", _number(figures.profit_factor)),
        ("Largest drawdown", f"{figures.max_drawdown_pct:.2f} %"),
        ("Time in the market", f"{figures.exposure:.1%}"),
        ("Turnover", f"{figures.turnover:,.1f} times the equity a year"),
        ("Fees of what was won", _number(figures.fees_of_gross)),
        ("Mean hold", f"{_number(figures.mean_hold_minutes)} minutes"),
    ]
    return table("figures", ("", ""), {0, 1}, ([name, value] for name, value in rows))


def _groups(groups: Mapping[str, Group]) -> str:
    if not groups:
        return '<div class="empty">No position was closed.</div>'
    rows = (
        [name, str(group.trades), f"{group.won / group.trades:.0%}"]
        + [f"{value:+,.2f}" for value in (group.gross_pnl, -group.fees, group.funding, group.net_pnl)]
        for name, group in groups.items()
    )
    return table("groups", GROUP_HEADS, {0}, rows)


def _refusals(refusals: Mapping[str, int]) -> str:
    if not refusals:
        return '<div class="empty">No signal was refused.</div>'
    rows = ([html.escape(reason), f"{count:,}"] for reason, count in refusals.items())
    return table("refusals", ("Reason", "Signals"), {0}, rows)


def _predictions(said: Predictions) -> Iterator[Card]:
    words = f"{said.rows:,} forecasts: Brier score {said.brier:.4f} (0.25: a coin), sign right {said.hits:.1%}"
    yield Card("Prediction against outcome", words, outcome_chart(said.shown))
    hover = [f"{one.mean:.1%} of {one.count:,}, from {one.low:.2%} to {one.high:.2%}" for one in said.deciles]
    names = [str(one.number) for one in said.deciles]
    chart = bars_chart(names, [100 * one.mean - 50 for one in said.deciles], hover, " %")
    yield Card("Hit rate by strength", "Deciles of the predicted move; points above or below one half", chart)


def outcome_chart(shown: Sequence[tuple[float, float]]) -> str:
    predicted, actual = [100 * one for one, _ in shown], [100 * one for _, one in shown]
    figure = go.Figure(
        go.Scattergl(
            x=predicted,
            y=actual,
            mode="markers",
            marker={"size": 4, "color": ACCENT, "opacity": 0.35},
            hovertemplate="predicted %{x:+.2f} %, came %{y:+.2f} %<extra></extra>",
        )
    )
    figure.add_hline(y=0, line={"color": QUIET, "width": 1, "dash": "dot"})
    figure.add_vline(x=0, line={"color": QUIET, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="predicted, %")
    figure.update_yaxes(title="came, %")
    return fragment(figure, 380)


def candles_chart(market: SymbolMarket, closed: Sequence[Position]) -> str:
    """The stretch of bars around the last trades, each trade a line from its entry to its exit."""
    bars = market.bars
    last = max(one.closed_at or 0 for one in closed)
    stop = min(len(bars), int(np.searchsorted(bars.open_time, last)) + 12)
    part = slice(max(0, stop - CANDLES), stop)
    figure = go.Figure(
        go.Candlestick(
            x=[_when(at) for at in bars.open_time[part].tolist()],
            open=bars.open[part],
            high=bars.high[part],
            low=bars.low[part],
            close=bars.close[part],
            increasing={"line": {"color": UP, "width": 1}},
            decreasing={"line": {"color": DOWN, "width": 1}},
        )
    )
    for won, colour in ((True, UP), (False, DOWN)):
        x: list[datetime.datetime | None] = []
        y: list[float | None] = []
        words: list[str] = []
        for one in closed:
            if (one.opened_at or 0) >= bars.open_time[part.start] and (one.net_pnl > 0) == won:
                told = f"{'long' if one.side is Side.LONG else 'short'}, {one.exit_reason}, {one.net_pnl:+,.2f} USDT"
                x += [_when(one.opened_at or 0), _when(one.closed_at or 0), None]
                y += [float(one.entry_price or 0), float(one.exit_price or 0), None]
                words += [told, told, ""]
        figure.add_scatter(
            x=x, y=y, text=words, mode="lines+markers", line={"color": colour, "width": 2}, marker={"size": 5},
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(rangeslider={"visible": False})
    return fragment(figure, 460)


def _when(at: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.2f}"
