"""The command `filters`: what each filter and check saved or cost, by counterfactuals."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio

from bot.clock import DAY_MS
from bot.commands.output import Grid, configure_logs, console, print_json, print_table, signed
from bot.config import BotFile, read_toml
from bot.journal.audit import AuditRows
from bot.journal.connection import read_journal
from bot.strategy.worth import Results, Worth, Worths

NOTE = (
    "Saved: what the signals that it alone refused would have lost, in USDT, on recorded bars and with assumed costs. "
    "Each is followed as if nothing else had changed: caps and margin that it would have taken are not counted."
)


def print_filters(days: int, state: Path, config: Path, *, as_json: bool) -> None:
    configure_logs()
    settings = read_toml(config, BotFile) if config.exists() else BotFile()

    async def read() -> list[Worth]:
        async with read_journal(state, settings.journal, os.environ) as pool:
            rows = AuditRows(pool)
            until = await rows.newest() + 1
            worths = Worths()
            async for page in rows.signals(until - days * DAY_MS, until):
                worths.update(page)
            return worths.told()

    found = anyio.run(read)
    if as_json:
        print_json([_plain(worth) for worth in found])
    elif found:
        print_table(_table(found))
        console().print(NOTE, style="dim")
    else:
        console().print("no candidate in these days: no forecast reached its threshold", style="dim")


def _plain(worth: Worth) -> dict[str, Any]:
    return {
        "name": worth.name,
        "check": worth.check,
        "shadow": worth.shadow,
        "asked": worth.asked,
        "saved": round(worth.saved, 8),
        "caution": worth.caution,
        **{name: _results(getattr(worth, name)) for name in ("vetoed", "alone", "passed")},
    }


def _results(results: Results) -> dict[str, Any]:
    return {
        "signals": results.signals,
        "followed": results.followed,
        "filled": results.filled,
        "net": round(results.net, 8),
        "mean": results.mean,
        "error": results.error,
        "win_rate": results.win_rate,
    }


def _table(found: Iterable[Worth]) -> Grid:
    shown = Grid(
        "Filter", "Asked", "Vetoed", "Alone", "Filled", "Saved", "Mean", "Won", "Passed won", "Caution",
        right="Asked Vetoed Alone Filled Saved Mean Won", first_to_go=("Passed won", "Asked", "Mean"),
    )  # fmt: skip
    for worth in found:
        alone = worth.alone
        shown.add_row(
            worth.name + (" (check)" if worth.check else "") + (" (shadow)" if worth.shadow else ""),
            str(worth.asked),
            str(worth.vetoed.signals),
            str(alone.signals),
            str(alone.filled),
            signed(worth.saved) if alone.filled else "",
            signed(alone.mean),
            _share(alone.win_rate),
            _share(worth.passed.win_rate),
            worth.caution,
        )
    return shown


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
