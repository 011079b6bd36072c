"""docs/configuration.md says what bot/config.py does: the same tables, keys, limits and defaults."""

import re
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from bot import config
from bot.config_faults import allowed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
TABLES: dict[str, type[config.Table]] = {
    "variant": config.VariantTable,
    "sizing": config.SizingTable,
    "exits": config.ExitsTable,
    "model": config.ModelTable,
    "exchange": config.ExchangeTable,
    "account": config.AccountTable,
    "orders": config.OrdersTable,
    "guards": config.GuardsTable,
    "journal": config.JournalTable,
    "metrics": config.MetricsTable,
    "audit": config.AuditTable,
    "costs": config.CostsTable,
}


def rows(table: str) -> dict[str, list[str]]:
    """The page's rows of one table, by key: what is allowed, default, meaning."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^### `\[{table}\]`$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"no section for [{table}]"
    cells = (line.strip("| ").split(" | ") for line in section[1].splitlines() if line.startswith("| `"))
    return {key.strip("`"): rest for key, *rest in cells}


def written(default: object) -> str:
    """A default as the page writes it; None is the tier's."""
    if default is msgspec.NODEFAULT:
        return "*required*"
    if default is None:
        return "*the tier's*"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_documented_with_its_limits_and_default(table: str) -> None:
    hints = get_type_hints(TABLES[table], include_extras=True)
    fields = msgspec.structs.fields(TABLES[table])
    documented = rows(table)
    assert list(documented) == [field.name for field in fields]
    for field in fields:
        limits, default, meaning = documented[field.name]
        assert (limits, default) == (allowed(hints[field.name]), written(field.default)), field.name
        assert meaning.endswith("."), field.name


def test_every_table_of_the_two_files_has_a_section() -> None:
    optional = {"filter", "entry"}  # tables of options that the plugins define
    keys = {field.name for kind in (config.VariantFile, config.BotFile) for field in msgspec.structs.fields(kind)}
    assert keys - optional == set(TABLES)
    assert "### `[filter.NAME]` and `[entry.NAME]`" in PAGE.read_text(encoding="utf-8")
