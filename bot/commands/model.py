"""The command `model`: what is loaded, from where, its licence, and how well it has done on bars it never saw."""

from pathlib import Path
from typing import Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.commands.output import configure_logs, print_json, print_table, table
from bot.config import BotFile, read_toml
from bot.forecast.checkpoints import CHECKPOINTS, Description, StretchScore, SymbolScore, load

STRETCHES = ("validation", "test")


class Scored(Protocol):
    """A base's description or a checkpoint's manifest."""

    @property
    def validation(self) -> StretchScore | None: ...

    @property
    def test(self) -> StretchScore | None: ...


def print_model(config: Path, checkpoints: Path | None, base: str | None, as_json: bool) -> None:
    """Load the configured model (or `base`) as `run` would, and describe it. ModelRefused says what to do."""
    configure_logs()
    settings = (read_toml(config, BotFile) if config.exists() else BotFile()).model
    described = load(
        base or settings.base, checkpoints or CHECKPOINTS, context=settings.context, dtype=settings.dtype
    ).description
    if as_json:
        print_json(described)
    else:
        print_table(drawn(described))


def drawn(described: Description) -> RenderableType:
    parts: list[RenderableType] = [_facts(described), Text()]
    if described.validation is None and described.test is None:
        parts.append(Text("no scores: this file has no manifest", style="dim"))
        return Group(*parts)
    parts += [scores(described), Text(), Text(verdict(described)), Text(), by_symbol(described)]
    return Group(*parts)


def verdict(described: Description) -> str:
    """The test stretch in a sentence: the reversal is what a model has to beat."""
    test = described.test
    if test is None:
        return "There is no test stretch, so nothing is known of what it is worth."
    word = "beats" if test.ic > test.ic_reversal_24h else "does not beat"
    return (
        f"On bars that training never saw, its rank correlation (IC) with the return {test.horizon} bars ahead\n"
        f"is {test.ic:+.4f}; a plain 24-hour reversal has {test.ic_reversal_24h:+.4f}. "
        f"It {word} the reversal on average,\n"
        f"and is above it on {test.symbols_above_reversal} of {test.symbols} symbols."
    )


def _facts(described: Description) -> Table:
    shown = Table.grid(padding=(0, 2))
    checked = "as its manifest says" if described.verified else "no manifest to hold it against"
    trades = "may trade" if described.may_trade else "may not trade on a live venue"
    rows = {
        "model": described.checkpoint,
        "from": described.source,
        "file": described.path,
        "sha256": f"{described.sha256[:16]}… ({checked})",
        "licence": f"{described.licence} ({trades})",
        "parameters": f"{described.parameters:,} in {described.dtype}",
        "context": f"{described.context} bars",
    }
    for name, value in rows.items():
        shown.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return shown


def scores(scored: Scored) -> Table:
    shown = table("Mean over symbols", "validation", "test", right="validation test")
    stretches = [getattr(scored, name) for name in STRETCHES]

    def row(name: str, key: str, form: str) -> None:
        shown.add_row(name, *("" if one is None else format(getattr(one, key), form) for one in stretches))

    row("IC of the forecast", "ic", "+.4f")
    row("IC of a 24-hour reversal", "ic_reversal_24h", "+.4f")
    row("symbols", "symbols", "d")
    row("of them above the reversal", "symbols_above_reversal", "d")
    row("loss", "loss", ".4f")
    row("loss of 'nothing changes'", "loss_last_value", ".4f")
    row("closes between q10 and q90", "coverage_q10_q90", ".1%")
    return shown


def by_symbol(scored: Scored) -> Table:
    names = ("validation IC", "its reversal", "test IC", "its reversal ", "windows")
    shown = table("Symbol", *names)
    for column in shown.columns[1:]:
        column.justify = "right"
    both = [_of(scored.validation), _of(scored.test)]
    for symbol in sorted({symbol for stretch in both for symbol in stretch}):
        pairs = [stretch.get(symbol) for stretch in both]
        last = next((one for one in reversed(pairs) if one is not None), None)
        cells = [cell for one in pairs for cell in _pair(one)]
        shown.add_row(symbol, *cells, "" if last is None else f"{last.windows:,}")
    return shown


def _of(stretch: StretchScore | None) -> dict[str, SymbolScore]:
    return {} if stretch is None else stretch.by_symbol


def _pair(score: SymbolScore | None) -> tuple[Text, Text]:
    if score is None:
        return Text(), Text()
    above = score.ic > score.ic_reversal_24h
    return Text(f"{score.ic:+.4f}", style="green" if above else ""), Text(f"{score.ic_reversal_24h:+.4f}", style="dim")
