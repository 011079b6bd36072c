"""The command `plugins`: what was found, and from where."""

from collections.abc import Sequence
from pathlib import Path

from bot.commands.output import configure_logs, print_json, print_table, table
from bot.config import Option
from bot.plugin_host import PluginHost, PluginRow


def list_plugins(folders: Sequence[Path], as_json: bool) -> None:
    """Print every plugin that loads. OperatorError for the first that does not."""
    configure_logs()
    rows = PluginHost.load(folders).describe()
    if as_json:
        print_json(rows)
        return
    shown = table("Name", "Kind", "About", "Options", "From", fold="About Options From")
    for row in rows:
        shown.add_row(row.name, row.kind, row.about, _options(row), _short(row.source))
    print_table(shown)


def _options(row: PluginRow) -> str:
    return "\n".join(f"{name} = {_toml(value)}" for name, value in row.options.items())


def _toml(value: Option) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _short(source: str) -> str:
    """A path as seen from here, where it is below."""
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
