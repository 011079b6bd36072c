"""docs/plugins.md works as it is written, and docs/decisions.md lists every reason."""

import re
from pathlib import Path

import pytest

from bot.config import VariantFile, read_toml
from bot.plugin_host import PluginHost
from bot.strategy.cycle import decide
from bot.strategy.reasons import Reason
from bot.strategy.risk import Exposure
from bot.strategy.variant import resolve
from tests.strategy import scenes
from tests.strategy.scenes import make_seen, zigzag

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(language: str) -> list[str]:
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of plugins with the page's example in it."""
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / "discount.py").write_text(blocks("python")[0], encoding="utf-8")
    return tmp_path


def test_the_pages_plugin_trades_as_the_page_names_it(folder: Path) -> None:
    path = folder / "btc.toml"
    path.write_text(blocks("toml")[0], encoding="utf-8")
    plugins = PluginHost.load([folder], installed=False).plugins
    variant = resolve(str(path), read_toml(path, VariantFile), plugins, 44)
    signal, intent = decide(variant, make_seen(zigzag(last=50_000)), Exposure())
    assert intent is not None
    assert str(signal.entry_price) == "49875.00"
    signal, _ = decide(variant, make_seen(scenes.make_bars([50_000.0] * 64, spread=0.01)), Exposure())
    assert signal.decision_reason == "no_entry:market_stands_still"


def test_the_pages_test_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = PluginHost.load([folder], installed=False)
    monkeypatch.setattr(scenes, "shipped", lambda: host)
    page: dict[str, object] = {}
    exec(compile(blocks("python")[1], "docs/plugins.md", "exec"), page)
    test = page["test_discount_waits_below_the_last_price_for_a_long"]
    assert callable(test)
    test()


def test_every_reason_is_on_the_page() -> None:
    page = (DOCS / "decisions.md").read_text(encoding="utf-8")
    listed = {word for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for word in re.findall("`(.*?)`", row)}
    assert listed == {str(reason) for reason in Reason} | {"filter:NAME", "plugin:NAME", "no_entry:WORDS"}
