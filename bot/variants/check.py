"""The command `check`: files and plugins validated, each variant printed as it will trade."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bot.config import BotFile, read_toml
from bot.plugin_host import PluginHost
from bot.strategy.variant import Setting, Variant
from bot.variants.files import load_variants


def check(paths: Sequence[Path], config: Path, plugin_folders: Sequence[Path], as_json: bool) -> None:
    """Print every resolved key of every variant with its origin. OperatorError for the first fault."""
    settings = read_toml(config, BotFile) if config.exists() else BotFile()
    host = PluginHost.load(plugin_folders)
    variants = load_variants(paths, host.plugins, settings.account.max_positions)
    if as_json:
        json.dump([describe(variant) for variant in variants], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    console = Console()
    for variant in variants:
        console.print(_table(variant))


def describe(variant: Variant) -> dict[str, object]:
    """The variant as JSON data: each key with its value and its origin."""
    keys = {setting.key: {"value": setting.value, "origin": setting.origin} for setting in variant.settings}
    return {"variant": variant.name, "enabled": variant.enabled, "keys": keys}


def _table(variant: Variant) -> Table:
    table = Table("key", "value", "from", title=f"variant {variant.name}" + ("" if variant.enabled else " (disabled)"))
    for setting in variant.settings:
        table.add_row(setting.key, _shown(setting), setting.origin)
    return table


def _shown(setting: Setting) -> str:
    if setting.value is None:
        return "none" if setting.key.endswith("max_positions") else "off"
    return ", ".join(map(str, setting.value)) if isinstance(setting.value, list) else str(setting.value)
