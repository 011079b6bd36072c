"""The report as one HTML page that opens offline: plotly.js, styles and data are inside it."""

import datetime
import html
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import NamedTuple

from plotly.offline import get_plotlyjs

from bot.clock import HOUR_MS, MINUTE_MS
from bot.messages import Position, Severity, Side
from bot.research.charts import equity_chart, groups_chart, signals_chart, spread_chart
from bot.research.run_facts import AuditWord, Group, RunFacts, exit_reason, grouped, profit_factor

MINUS = "\N{MINUS SIGN}"


def page(facts: RunFacts) -> str:
    """The whole page."""
    trades = facts.trades
    return Template(_beside("page.html")).substitute(
        plotly=get_plotlyjs(),
        style=_beside("page.css"),
        title=f"{facts.simulated_days:.1f} days of {_names(facts.symbols, 'symbol')}",
        eyebrow=html.escape(f"{facts.venue.capitalize()} report"),
        about=_about(facts),
        checks=_checks(facts),
        note=html.escape(facts.note),
        figures=_figures(facts),
        equity=equity_chart(facts.equity),
        by_exit=groups_chart(grouped(trades, exit_reason)),
        by_symbol=groups_chart(grouped(trades, lambda trade: trade.symbol)),
        signals=signals_chart(facts),
        signal_words=_signal_words(facts),
        spread=spread_chart([trade.net_pnl for trade in trades]),
        variants=_variants(grouped(trades, lambda trade: trade.variant)),
        trades=trades_table(trades),
        audit=_audit(facts.audit),
        footer=_footer(facts),
    )


class Card(NamedTuple):
    """One part of a study's page."""

    heading: str
    words: str
    body: str  # HTML


def study_page(eyebrow: str, title: str, about: str, cards: Iterable[Card], footer: str) -> str:
    """A page of cards one below the other; all but the bodies is plain text."""
    body = "".join(
        f'<section class="card" style="margin-top:16px"><h2>{html.escape(card.heading)}</h2>'
        f'<div class="soft small">{html.escape(card.words)}</div>{card.body}</section>'
        for card in cards
    )
    words = {"eyebrow": eyebrow, "title": title, "about": about, "footer": footer}
    return Template(_beside("study.html")).substitute(
        plotly=get_plotlyjs(),
        style=_beside("page.css"),
        cards=body,
        **{name: html.escape(text) for name, text in words.items()},
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _names(names: tuple[str, ...], what: str) -> str:
    return html.escape(names[0]) if len(names) == 1 else f"{len(names)} {what}s"


def _about(facts: RunFacts) -> str:
    parts = (f"{_time(facts.started_at)} to {_time(facts.ended_at)} UTC", facts.market, facts.model)
    return "<br>".join(html.escape(part) for part in (*parts, ", ".join(facts.symbols)) if part)


def _checks(facts: RunFacts) -> str:
    restarts = "No restart" if not facts.restarts else f"{facts.restarts} restarts survived"
    checks = [(restarts, True)]
    if facts.ledger_checks:
        words = "Ledger equals the venue’s" if facts.ledger_equal else "Ledger differs from the venue’s"
        checks.insert(0, (words, facts.ledger_equal))
    if facts.naked_seconds is not None:
        checks.insert(0, (f"{facts.naked_seconds:g} s without a stop", facts.naked_seconds == 0))
    return "".join(
        f'<span class="check {"good" if good else "bad"}">{"✓" if good else "✗"} {words}</span>'
        for words, good in checks
    )


def _figures(facts: RunFacts) -> str:
    won = sum(trade.net_pnl > 0 for trade in facts.trades)
    factor = profit_factor(facts.trades)
    start = facts.starting_balance
    closed = len(facts.trades)
    cells = [
        ("Net result", _signed(facts.net_pnl), f"USDT, {_percent(facts.net_pnl, start)}", _tone(facts.net_pnl)),
        ("Largest drawdown", f"{facts.max_drawdown:,.2f}", f"USDT, {_percent(facts.max_drawdown, start, '')}", ""),
        ("Trades won", f"{won / closed:.0%}" if closed else "–", f"{won} of {closed}", ""),
        ("Profit factor", "–" if factor is None else f"{factor:.2f}", "won over lost", ""),
        ("Entries filled", f"{facts.entries_filled:,}", f"of {facts.signals.get('enter', 0):,} wanted", ""),
        ("Orders", f"{facts.orders:,}", "exits included", ""),
        ("Fees", _signed(-facts.fees), "USDT", ""),
        ("Funding", _signed(facts.funding), "USDT", ""),
    ]
    return "".join(
        f'<div class="card figure"><div class="name">{name}</div>'
        f'<div class="value {tone}">{value} <span class="unit">{unit}</span></div></div>'
        for name, value, unit, tone in cells
    )


def _signal_words(facts: RunFacts) -> str:
    total = sum(facts.signals.values())
    entered = facts.signals.get("enter", 0)
    return f"{total:,} signals, {entered:,} acted on; the others by the reason they were refused for"


def _variants(groups: Mapping[str, Group]) -> str:
    if not groups:
        return '<div class="empty">No position was closed.</div>'
    rows = (
        [_words(name), str(group.trades), f"{group.won / group.trades:.0%}"]
        + [_signed(value) for value in (group.gross_pnl, -group.fees, group.funding)]
        + [_coloured(group.net_pnl)]
        for name, group in groups.items()
    )
    return table("variants", ("Variant", "Trades", "Won", "Gross", "Fees", "Funding", "Net"), {0}, rows)


def _audit(found: tuple[AuditWord, ...]) -> str:
    if not found:
        return '<div class="empty">Nothing was found.</div>'
    tones = {Severity.ERROR: "down", Severity.WARNING: "", Severity.INFO: "soft"}
    rows = (
        [
            f'<span class="{tones[one.severity]}">{one.severity.value}</span>',
            *map(_words, (one.rule, one.subject, one.words)),
            str(one.times),
        ]
        for one in found
    )
    return table("audit", ("Severity", "Rule", "Subject", "Finding", "Days"), {0, 1, 2, 3}, rows)


def trades_table(trades: tuple[Position, ...]) -> str:
    if not trades:
        return '<div class="empty">No position was closed.</div>'
    heads = ("Opened", "Held", "Symbol", "Variant", "Side", "Quantity", "Entry", "Exit", "Reason", "Fees", "Funding")
    rows = (_trade(trade) for trade in reversed(trades))
    return table("trades", (*heads, "Net", "Net %"), {0, 2, 3, 4, 8}, rows)


def _trade(trade: Position) -> list[str]:
    opened = trade.opened_at or trade.created_at
    held = (trade.closed_at or opened) - opened
    tone = "up" if trade.side is Side.LONG else "down"
    cost = (trade.entry_price or Decimal(0)) * trade.filled
    return [
        _keyed(_time(opened), opened),
        _keyed(_span(held), held),
        _words(trade.symbol),
        _words(trade.variant),
        f'<span class="{tone}">{trade.side.value.lower()}</span>',
        _keyed(_plain(trade.filled), trade.filled),
        _keyed(_plain(trade.entry_price), trade.entry_price or 0),
        _keyed(_plain(trade.exit_price), trade.exit_price or 0),
        _words(exit_reason(trade)),
        _keyed(_signed(-trade.fees), -trade.fees),
        _keyed(_signed(trade.funding), trade.funding),
        _keyed(_coloured(trade.net_pnl), trade.net_pnl),
        _keyed(_percent(trade.net_pnl, cost), trade.net_pnl / cost if cost else 0),
    ]


def table(name: str, heads: Iterable[str], words: set[int], rows: Iterable[list[str]]) -> str:
    """A table; a cell that starts with a key (see `_keyed`) is sorted by it. `words` are columns set to the left."""
    sides = dict.fromkeys(words, ' class="words"')
    head = "".join(f"<th{sides.get(i, '')}>{text}</th>" for i, text in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{sides.get(i, '')}{_attributes(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    kind = ' class="sortable"' if name == "trades" else ""
    table = f'<table id="{name}"{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _keyed(text: str, key: Decimal | int) -> str:
    return f' data-key="{key:f}">{text}'


def _attributes(cell: str) -> str:
    return cell if cell.startswith(" data-key=") else f">{cell}"


def _footer(facts: RunFacts) -> str:
    speed = (facts.ended_at - facts.started_at) / 1000 / facts.wall_seconds if facts.wall_seconds else 0
    return (
        f"Played in {facts.wall_seconds:,.1f} s, {speed:,.0f} times as fast as the market. "
        "Times are UTC, money is USDT. The same figures as data: report.json."
    )


def _time(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _span(length: int) -> str:
    return f"{length // HOUR_MS} h {length % HOUR_MS // MINUTE_MS:02d} m"


def _words(text: str) -> str:
    return html.escape(text)


def _plain(value: Decimal | None) -> str:
    """At most seven significant digits of an average price, no exponent."""
    if value is None:
        return "–"
    return f"{Decimal(f'{value:.7g}').normalize():,f}"


def _signed(value: Decimal) -> str:
    return f"{value:+,.2f}".replace("-", MINUS)


def _percent(value: Decimal, whole: Decimal, sign: str = "+") -> str:
    return f"{value / whole:{sign}.2%}".replace("-", MINUS) if whole else "–"


def _tone(value: Decimal) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""


def _coloured(value: Decimal) -> str:
    return f'<span class="{_tone(value)}">{_signed(value)}</span>'
