"""The closing report of a run: `report.json`, `report.html` and a table on the terminal. Pure but for the two files."""

import datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bot.research.page import page
from bot.research.run_facts import NO_EDGE, RunFacts, exit_reason, grouped, max_drawdown, profit_factor
from bot.research.run_facts import as_json as report_keys

__all__ = ["NO_EDGE", "RunFacts", "max_drawdown", "print_report", "write_report"]

MOST_REASONS = 6


def write_report(directory: Path, facts: RunFacts) -> None:
    """Write `report.json` and `report.html` (one file, opens offline) into `directory`, each whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(report_keys(facts)), indent=2)
    _replace(directory / "report.json", encoded + b"\n")
    _replace(directory / "report.html", page(facts).encode())


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def print_report(console: Console, facts: RunFacts) -> None:
    """Print the run's figures as a closing table."""
    title = f"{facts.venue}: {facts.simulated_days:.1f} simulated days in {facts.wall_seconds:.0f} s"
    columns = Table.grid(padding=(0, 4))
    columns.add_row(Group(_money(facts), Text(), _checks(facts)), Group(_flow(facts), Text(), _exits(facts)))
    console.print()
    console.print(Rule(Text(title, style="bold"), align="left"))
    console.print(Padding(_about(facts), (0, 0, 1, 1)))
    console.print(Padding(columns, (0, 0, 1, 1)))
    if facts.trades:
        console.print(Padding(_by_symbol(facts), (0, 0, 1, 1)))
    console.print(Padding(Text(facts.note, style="italic"), (0, 0, 0, 1)))
    console.print(Rule())


def _about(facts: RunFacts) -> Text:
    period = f"{_day(facts.started_at)} to {_day(facts.ended_at)}"
    parts = [period, ", ".join(facts.symbols), f"variants {', '.join(facts.variants)}", facts.market, facts.model]
    return Text("  ".join(part for part in parts if part), style="dim")


def _money(facts: RunFacts) -> Table:
    table = _figures("Result, USDT")
    share = f" ({facts.net_pnl / facts.starting_balance:+.2%})" if facts.starting_balance else ""
    table.add_row("net PnL", Text(f"{facts.net_pnl:+,.2f}{share}", style=f"bold {_tone(facts.net_pnl)}"))
    table.add_row("largest drawdown", f"{facts.max_drawdown:,.2f}")
    table.add_row("fees paid", f"{facts.fees:,.2f}")
    table.add_row("funding", f"{facts.funding:+,.2f}")
    factor = profit_factor(facts.trades)
    table.add_row("profit factor", "-" if factor is None else f"{factor:.2f}")
    return table


def _checks(facts: RunFacts) -> Table:
    table = _figures("Checks")
    naked = facts.naked_seconds
    table.add_row("seconds without a stop", Text(f"{naked:g}", style="red" if naked else "green"))
    equal = facts.ledger_equal
    table.add_row("ledger equals the venue's", Text("yes" if equal else "NO", style="green" if equal else "bold red"))
    table.add_row("restarts", str(facts.restarts))
    return table


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
    table.add_column("Symbol")
    for name in ("trades", "won", "gross", "fees", "funding", "net"):
        table.add_column(name, justify="right")
    for symbol, group in grouped(facts.trades, lambda trade: trade.symbol).items():
        net = Text(f"{group.net_pnl:+,.2f}", style=_tone(group.net_pnl))
        money = (f"{value:+,.2f}" for value in (group.gross_pnl, -group.fees, group.funding))
        table.add_row(symbol, str(group.trades), f"{group.won / group.trades:.0%}", *money, net)
    return table


def _figures(title: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, min_width=26)
    table.add_column("", justify="right", min_width=10)
    table.add_column("", justify="right")
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
