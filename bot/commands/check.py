"""The command `check`: files and plugins validated, the variants in one table, or each with every key's origin."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bot.clock import MINUTE_MS
from bot.commands.output import Grid, print_json, print_table
from bot.config import BotFile, read_toml
from bot.messages import ExitPlan
from bot.plugin_host import PluginHost
from bot.strategy.settings import Setting
from bot.strategy.variant import Variant
from bot.variants.files import load_variants

COLUMNS = (
    *("variant", "tier", "symbols", "over", "margin", "stop", "target"),
    *("trail", "hold", "entry", "filters", "minutes", "enabled"),
)
FIRST_TO_GO = ("hold", "trail", "minutes", "tier")


def check(
    paths: Sequence[Path],
    config: Path,
    plugin_folders: Sequence[Path],
    *,
    as_json: bool = False,
    everything: bool = False,
) -> None:
    """Print the variants side by side; every resolved key with its origin for a single one, or for all with
    `everything`. OperatorError for the first fault."""
    settings = read_toml(config, BotFile) if config.exists() else BotFile()
    host = PluginHost.load(plugin_folders)
    variants = load_variants(paths, host.plugins, settings.account.max_positions)
    if as_json:
        print_json([describe(variant) for variant in variants])
        return
    if len(variants) > 1:
        print_table(_overview(variants))
    if everything or len(variants) == 1:
        for variant in variants:
            print_table(_details(variant))


def describe(variant: Variant) -> dict[str, object]:
    """The variant as JSON data: each key with its value and its origin."""
    keys = {setting.key: {"value": setting.value, "origin": setting.origin} for setting in variant.settings}
    return {"variant": variant.name, "enabled": variant.enabled, "keys": keys}


def _overview(variants: Sequence[Variant]) -> Grid:
    grid = Grid(*COLUMNS, right="symbols over margin stop target", fold="filters", first_to_go=FIRST_TO_GO)
    for variant in variants:
        exits = variant.exits
        grid.add_row(
            variant.name,
            variant.tier,
            str(len(variant.symbols)),
            f"{variant.threshold * 100:g} %",
            f"{variant.margin.normalize():f} x {variant.leverage}",
            f"{exits.stop_pct:g} %",
            "" if exits.target_pct is None else f"{exits.target_pct:g} %",
            _trail(exits),
            "" if exits.max_hold_ms is None else f"{exits.max_hold_ms // MINUTE_MS} min",
            variant.entry.name,
            ", ".join(_filters(variant)),
            ", ".join(map(str, variant.minutes)),
            "yes" if variant.enabled else "no",
        )
    return grid


def _trail(exits: ExitPlan) -> str:
    return "" if exits.trail_arm_pct is None else f"{exits.trail_pct:g} % from {exits.trail_arm_pct:g} %"


def _filters(variant: Variant) -> list[str]:
    return [plugin.name + (" (shadow)" if plugin.shadow else "") for plugin in variant.filters]


def _details(variant: Variant) -> Table:
    table = Table("key", "value", "from", title=f"variant {variant.name}" + ("" if variant.enabled else " (disabled)"))
    for setting in variant.settings:
        table.add_row(setting.key, _shown(setting), setting.origin)
    return table


def _shown(setting: Setting) -> str:
    if setting.value is None:
        return "none" if setting.key.endswith("max_positions") else "off"
    return ", ".join(map(str, setting.value)) if isinstance(setting.value, list) else str(setting.value)
