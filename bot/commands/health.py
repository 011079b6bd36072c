"""The command `health`: what the models said in the journal's last 7 days, beside the thresholds that wait for it."""

import os
from collections.abc import Iterable
from pathlib import Path

import anyio
import msgspec
from rich.console import Group
from rich.text import Text

from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table
from bot.config import BotFile, read_toml
from bot.forecast.health import KEPT_MS, ForecastHealth, TierHealth, VariantHealth
from bot.journal.connection import read_journal
from bot.journal.queries import Queries
from bot.messages import Signal

FATE = {True: Text("dead", "bold red"), False: Text("no", "green"), None: Text("too early", "dim")}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the command prints."""

    newest_at: int  # cycle of the newest row; the 7 days end there
    tiers: list[TierHealth]
    variants: list[VariantHealth]


def print_health(state: Path, config: Path, as_json: bool) -> None:
    """Works beside a running bot and after it."""
    configure_logs()
    settings = read_toml(config, BotFile) if config.exists() else BotFile()

    async def read() -> list[Signal]:
        async with read_journal(state, settings.journal, os.environ) as pool:
            return await Queries(pool).said(None, KEPT_MS)

    rows = anyio.run(read)
    if not rows:
        print_json(None) if as_json else console().print("no rows", style="dim")
        return
    health = ForecastHealth()
    for row in rows:
        health.add(row)
    found = Health(newest_at=rows[-1].cycle_at, tiers=health.tiers(), variants=health.variants())
    if as_json:
        print_json(found)
    else:
        print_table(Group(_tiers(found.tiers), Text(), _variants(found.variants), Text(), _until(found.newest_at)))


def _tiers(rows: Iterable[TierHealth]) -> Grid:
    shown = Grid(
        "Tier", "Checkpoint", "Serves", "Rows", "Refused", "Most often for", "Forecasts", "p50", "p90", "p99", "Up",
        "Says", right="Rows Refused Forecasts p50 p90 p99 Up",
        first_to_go=("Up", "Says", "Serves", "Most often for"),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            row.tier,
            row.checkpoint,
            "now" if row.serving else "",
            f"{row.rows:,}",
            f"{row.refused_share:.1%}",
            ", ".join(f"{reason} {count:,}" for reason, count in list(row.refused.items())[:2]),
            f"{row.spread.forecasts:,}",
            *_percentiles(row),
            "" if row.positive is None else f"{row.positive:.0%}",
            Text(row.constant or "", "bold red"),
        )
    return shown


def _variants(rows: Iterable[VariantHealth]) -> Grid:
    shown = Grid(
        "Variant", "Tier", "Forecasts", "p50", "p90", "p99", "Threshold", "Above", "Dead",
        right="Forecasts p50 p90 p99 Threshold Above", first_to_go=("Tier", "p50", "p90"),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            row.variant,
            row.tier,
            f"{row.spread.forecasts:,}",
            *_percentiles(row),
            f"{row.threshold:.3%}",
            "" if row.above is None else f"{row.above:.1%}",
            FATE[row.dead],
        )
    return shown


def _percentiles(row: TierHealth | VariantHealth) -> tuple[str, str, str]:
    """Of |predicted return|."""
    spread = row.spread
    p50, p90, p99 = ("" if value is None else f"{value:.3%}" for value in (spread.p50, spread.p90, spread.p99))
    return p50, p90, p99


def _until(at: int) -> Text:
    return Text(f"p50 to p99 are of |predicted return|, in the 7 days to {moment(at)} UTC", style="dim")
