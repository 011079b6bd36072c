"""The closing report of a run: `report.json`, `report.html` and a table on the terminal. Pure but for the two files."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bot.messages import Severity
from bot.research.page import page
from bot.research.run_facts import NO_EDGE, RunFacts, exit_reason, grouped, max_drawdown, profit_factor
from bot.research.run_facts import as_json as report_keys

__all__ = ["NO_EDGE", "RunFacts", "max_drawdown", "print_report", "write_files", "write_report"]

MOST_REASONS = 6
MOST_FINDINGS = 8
TWO_COLUMNS = 100  # a narrower console gets one


def write_report(directory: Path, facts: RunFacts) -> None:
    """Write `report.json` and `report.html` (one file, opens offline) into `directory`."""
    write_files(directory, report_keys(facts), page(facts))


def write_files(directory: Path, keys: dict[str, Any], html: str) -> None:
    """Each whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / "report.json", msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n")
    _replace(directory / "report.html", html.encode())


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def print_report(console: Console, facts: RunFacts) -> None:
    """Print the run's figures: two columns where the console is wide enough for both, else one below the other."""
    left = Group(_money(facts), Text(), _checks(facts))
    right = Group(_flow(facts), Text(), _exits(facts))
    parts = [_about(facts), _beside_or_below(console, left, right)]
    if facts.trades:
        parts.append(_by_symbol(facts))
    if facts.still_open:
        parts.append(_still_open(facts))
    if any(one.severity is not Severity.INFO for one in facts.audit):
        parts.append(_audit(facts))
    parts.append(Text(facts.note, style="italic"))
    console.print()
    console.print(Rule(Text(_title(facts), style="bold"), align="left"))
    console.print(Padding(parts[0], (0, 0, 0, 1)), *(Padding(part, (1, 0, 0, 1)) for part in parts[1:]), sep="")
    console.print(Rule())


def _title(facts: RunFacts) -> str:
    stopped = ", stopped by hand" if facts.interrupted else ""
    return f"{facts.venue}: {facts.simulated_days:.1f} simulated days in {facts.wall_seconds:.0f} s{stopped}"


def _beside_or_below(console: Console, left: Group, right: Group) -> RenderableType:
    beside = Table.grid(padding=(0, 4))
    beside.add_row(left, right)
    fits = Measurement.get(console, console.options, beside).maximum < console.width
    return beside if fits and console.width >= TWO_COLUMNS else Group(left, Text(), right)


def _about(facts: RunFacts) -> Table:
    rows = {
        "period": f"{_day(facts.started_at)} to {_day(facts.ended_at)} UTC",
        "market": facts.market,
        "model": facts.model,
        "symbols": ", ".join(facts.symbols),
        "variants": ", ".join(facts.variants),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table


def _money(facts: RunFacts) -> Table:
    table = _figures("Result, USDT")
    style = f"bold {_tone(facts.net_pnl)}"
    share = f"{facts.net_pnl / facts.starting_balance:+.2%}" if facts.starting_balance else ""
    table.add_row("net PnL", Text(f"{facts.net_pnl:+,.2f}", style=style), Text(share, style=style))
    table.add_row("largest drawdown", f"{facts.max_drawdown:,.2f}")
    table.add_row("fees paid", f"{facts.fees:,.2f}")
    table.add_row("funding", f"{facts.funding:+,.2f}")
    factor = profit_factor(facts.trades)
    table.add_row("profit factor", "-" if factor is None else f"{factor:.2f}")
    return table


def _checks(facts: RunFacts) -> Table:
    table = _figures("Checks")
    naked, equal = facts.naked_seconds, facts.ledger_equal
    table.add_row("seconds without a stop", _verdict("not measured" if naked is None else f"{naked:g}", not naked))
    compared = "yes" if equal else "NO"
    table.add_row("ledger equals the venue's", _verdict(compared if facts.ledger_checks else "not compared", equal))
    table.add_row("restarts", str(facts.restarts))
    errors = sum(one.severity is Severity.ERROR for one in facts.audit)
    table.add_row("errors in the audit", _verdict(str(errors), not errors))
    return table


def _verdict(words: str, good: bool) -> Text:
    """Neither good nor bad where there is nothing to judge by."""
    style = "dim" if words.startswith("not ") else "green" if good else "bold red"
    return Text(words, style=style)


def _flow(facts: RunFacts) -> Table:
    table = _figures("Signals and orders")
    table.add_row("signals", f"{sum(facts.signals.values()):,}")
    for decision, count in sorted(facts.signals.items()):
        table.add_row(f"  {decision}", f"{count:,}")
        if decision == "refuse":
            for reason, refused in _largest(facts.refusals):
                table.add_row(Text(f"    {reason}", style="dim"), Text(f"{refused:,}", style="dim"))
    table.add_row("orders", f"{facts.orders:,}")
    table.add_row("entries filled", f"{facts.entries_filled:,}")
    return table


def _exits(facts: RunFacts) -> Table:
    table = _figures("Exits")
    results = grouped(facts.trades, exit_reason)
    for reason, count in _largest(facts.exits):
        net = (
            Text(f"{results[reason].net_pnl:+,.2f}", style=_tone(results[reason].net_pnl)) if reason in results else ""
        )
        table.add_row(reason, f"{count:,}", net)
    return table


def _by_symbol(facts: RunFacts) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Closed positions")
    for name in ("trades", "won", "gross", "fees", "funding", "net"):
        table.add_column(name, justify="right")
    for symbol, group in grouped(facts.trades, lambda trade: trade.symbol).items():
        net = Text(f"{group.net_pnl:+,.2f}", style=_tone(group.net_pnl))
        money = (f"{value:+,.2f}" for value in (group.gross_pnl, -group.fees, group.funding))
        table.add_row(symbol, str(group.trades), f"{group.won / group.trades:.0%}", *money, net)
    return table


def _audit(facts: RunFacts) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Audit")
    table.add_column("")
    found = [one for one in facts.audit if one.severity is not Severity.INFO]
    for one in found[:MOST_FINDINGS]:
        style = "bold red" if one.severity is Severity.ERROR else "yellow"
        table.add_row(Text(one.subject, style=style), Text(one.words, overflow="fold"))
    if len(found) > MOST_FINDINGS:
        table.add_row("", Text(f"and {len(found) - MOST_FINDINGS} more in report.json", style="dim"))
    return table


def _still_open(facts: RunFacts) -> Table:
    """What was left to the venue; its result so far is not in the figures above."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Still open, not in the result")
    for name in ("quantity", "entry", "stop", "target"):
        table.add_column(name, justify="right")
    for position in facts.still_open:
        resting = not position.open_quantity
        quantity = f"{position.intended:f} resting" if resting else f"{position.open_quantity:f}"
        prices = (position.entry_price, position.stop_price, position.target_price)
        table.add_row(
            f"{position.symbol} {position.side.lower()}",
            quantity,
            *("-" if price is None else f"{price:.7g}" for price in prices),
        )
    return table


def _figures(title: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, min_width=26, max_width=36, overflow="fold")
    table.add_column("", justify="right", min_width=10, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    return table


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The most frequent ones, the rest in one line."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[MOST_REASONS:])
    return ranked[:MOST_REASONS] + ([("other", rest)] if rest else [])


def _tone(value: Decimal) -> str:
    return "green" if value > 0 else "red" if value < 0 else "default"


def _day(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M")
