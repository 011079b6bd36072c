"""Plugins are found, refused at start where they are broken, and fail closed where only a call shows it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.errors import OperatorError, PluginFault
from bot.plugin_host import PluginHost
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from tests.strategy.scenes import make_seen, make_variant, zigzag
from tests.strategy.scenes import words as filter_words

HEAD = """
from decimal import Decimal
from bot.hookspecs import Candidate, EntryPlan, Options, TierTemplate, hookimpl
from bot.messages import ExitPlan, FilterVerdict
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a plugin file and returns its folder of plugins."""

    def write_file(body: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + body, encoding="utf-8")
        return tmp_path

    return write_file


def load(folder: Path) -> PluginHost:
    return PluginHost.load([folder], installed=False)


def refusal(folder: Path) -> str:
    with pytest.raises(OperatorError) as caught:
        load(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


def reason_with(folder: Path, **variant: object) -> str:
    """The decision of a variant that uses the folder's plugin."""
    signal, intent = decide(make_variant(load(folder), variant=variant), make_seen(zigzag()), Exposure())
    assert intent is None
    return signal.decision_reason


def test_the_shipped_plugins_are_found_with_kind_file_and_options() -> None:
    rows = {(row.kind, row.name): row for row in PluginHost.load(installed=False).describe()}
    folders = {"tier": "tiers", "filter": "filters", "entry": "entries", "rule": "rules"}
    files = [(kind, path.stem) for kind, folder in folders.items() for path in Path("plugins", folder).glob("[!_]*.py")]
    assert set(rows) == set(files)
    rsi = rows["filter", "rsi"]
    assert rsi.options == {"long_above": 60.0, "short_below": 40.0}
    assert rsi.source.endswith(str(Path("plugins", "filters", "rsi.py")))
    assert all(row.about for row in rows.values())


def test_a_plugin_in_a_folder_of_ones_own_trades(write: Write) -> None:
    folder = write(
        '"""A dollar better."""\n'
        'OPTIONS = {"dollars": 1.0}\n'
        "@hookimpl\n"
        "def propose(candidate: Candidate, options: Options) -> EntryPlan:\n"
        '    better = candidate.side.sign * options["dollars"]\n'
        "    return EntryPlan(price=Decimal(str(candidate.last_price - better)))\n",
        "dollar.py",
    )
    variant = make_variant(load(folder), variant={"entry": "dollar"}, entry={"dollar": {"dollars": 2.5}})
    signal, intent = decide(variant, make_seen(zigzag()), Exposure())
    assert intent is not None
    assert signal.entry_method == "dollar"
    assert str(intent.limit_price) == "49997.50"


def test_a_folder_may_be_sorted_as_the_shipped_one_is(write: Write) -> None:
    body = "@hookimpl\ndef judge(candidate):\n    return FilterVerdict('other', False, 'no')\n"
    folder = write(body, "filters/never.py")
    variant = make_variant(load(folder), variant={"filters": ["never"]})
    signal, _ = decide(variant, make_seen(zigzag()), Exposure())
    assert signal.decision_reason == "filter:never"
    assert filter_words(signal)[0].filter == "never", "a verdict carries its plugin's name, whatever it says"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("@hookimpl\nasync def judge(candidate, options): ...\n", "'judge' is async"),
        ("@hookimpl\nasync def propose(candidate, options):\n    yield 1\n", "'propose' is async"),
        ("@hookimpl\ndef judge(candidate, options):\n    yield 1\n", "'judge' is a generator or wrapper"),
        ("@hookimpl(wrapper=True)\ndef judge(candidate):\n    return (yield)\n", "'judge' is a generator or wrapper"),
        ("@hookimpl\ndef juge(candidate, options): ...\n", "'juge' is no hook; a plugin implements one of tier, judge"),
        ("def judge(candidate, options): ...\n", "has no hook marked with @hookimpl"),
        (
            "@hookimpl\ndef judge(candidate): ...\n@hookimpl\ndef propose(candidate): ...\n",
            r"has 2 hooks \(judge, propose\)",
        ),
        ("@hookimpl\ndef judge(candidate, options, clock): ...\n", "clock"),
        ("import no_such_package\n", "cannot be imported: ModuleNotFoundError"),
        ("def (\n", "cannot be imported: SyntaxError"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
        ("OPTIONS = {'when': None}\n@hookimpl\ndef judge(candidate): ...\n", "OPTIONS must map names to"),
        ("@hookimpl\ndef tier(): ...\n", "returned NoneType, not TierTemplate"),
        ("@hookimpl\ndef tier():\n    raise OSError('gone')\n", "raised OSError: gone"),
    ],
)
def test_a_broken_plugin_is_refused_at_start_by_name_and_file(write: Write, body: str, words: str) -> None:
    folder = write(body)
    line = refusal(folder)
    assert line.startswith(f"{folder / 'mine.py'}: plugin 'mine': ")
    assert re.search(words, line)


TIER = """
@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(name={name!r}, checkpoint="base", threshold_pct={threshold}, margin_usdt=500,
        leverage={leverage}, max_positions_per_symbol=3, max_positions=None, exits=ExitPlan(stop_pct=2.0))
"""


@pytest.mark.parametrize(
    ("tier", "words"),
    [
        ({"name": "yours", "threshold": 0.2, "leverage": 10}, "its template is named 'yours'"),
        ({"name": "mine", "threshold": float("inf"), "leverage": 10}, "threshold_pct"),
        ({"name": "mine", "threshold": -1.0, "leverage": 10}, "threshold_pct"),
        ({"name": "mine", "threshold": 0.2, "leverage": 500}, "leverage"),
        ({"name": "mine", "threshold": 0.2, "leverage": "'ten'"}, "broken TierTemplate"),
    ],
)
def test_a_tier_whose_numbers_no_file_could_give_is_refused(write: Write, tier: dict[str, object], words: str) -> None:
    folder = write("inf = float('inf')\n" + TIER.format(**tier))
    line = refusal(folder)
    assert "plugin 'mine'" in line
    assert words in line


def test_a_name_that_is_taken_is_refused_whatever_the_kind(write: Write) -> None:
    folder = write("@hookimpl\ndef propose(candidate): ...\n", "rsi.py")
    line = refusal(folder)
    assert line.startswith(f"{folder / 'rsi.py'}: plugin 'rsi': the name is taken by ")
    assert line.endswith(str(Path("plugins", "filters", "rsi.py")))


def test_the_wrong_hook_for_its_folder_is_refused(write: Write) -> None:
    folder = write("@hookimpl\ndef propose(candidate): ...\n", "filters/mine.py")
    assert refusal(folder).endswith("implements 'propose'; in this folder it must implement 'judge'")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").endswith("no such plugin folder")


@pytest.mark.parametrize(
    "answer",
    [
        "None",
        "True",
        "'allow'",
        "{'allow': True}",
        "1 / 0",
        "FilterVerdict('mine', 'no', 'a word is not a boolean')",
        "FilterVerdict('mine', None, 'neither')",
        "FilterVerdict('mine', True, None)",
        "FilterVerdict('mine', True, 'x', {'bars': candidate.bars})",
    ],
)
def test_a_filter_that_breaks_its_contract_refuses_the_signal(write: Write, answer: str) -> None:
    folder = write(f"@hookimpl\ndef judge(candidate, options):\n    return {answer}\n")
    assert reason_with(folder, filters=["mine"]) == "plugin:mine"


@pytest.mark.parametrize(
    "answer",
    [
        "None",
        "''",
        "49000",
        "Decimal(49000)",
        "1 / 0",
        "EntryPlan(price=49000.0)",
        "EntryPlan(price='49000')",
        "EntryPlan(price=Decimal('NaN'))",
        "EntryPlan(price=Decimal(0))",
        "EntryPlan(price=Decimal('0.01'))",
        "EntryPlan(post_only='yes')",
        "later()",
    ],
)
def test_an_entry_that_breaks_its_contract_refuses_the_signal(write: Write, answer: str) -> None:
    later = "async def later(): ...\n"
    folder = write(later + f"@hookimpl\ndef propose(candidate, options):\n    return {answer}\n")
    assert reason_with(folder, entry="mine") == "plugin:mine"


@pytest.mark.parametrize("deed", ["candidate.side = 1", "candidate.bars.close[-1] = 1.0", "options['x'] = 1"])
def test_a_plugin_cannot_change_what_it_is_shown(write: Write, deed: str) -> None:
    folder = write(
        "OPTIONS = {'x': 0}\n@hookimpl\ndef judge(candidate, options):\n"
        f"    {deed}\n    return FilterVerdict('mine', True, 'changed')\n"
    )
    assert reason_with(folder, filters=["mine"]) == "plugin:mine"


def test_a_fault_says_what_the_plugin_did(write: Write) -> None:
    folder = write("@hookimpl\ndef judge(candidate, options):\n    raise RuntimeError('tired')\n")
    plugin = load(folder).plugins.filters["mine"]
    with pytest.raises(PluginFault, match="mine: raised RuntimeError: tired"):
        plugin.judge(None, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["0.0", "1.5", "-1.0", "float('nan')"])
def test_a_scale_that_would_enlarge_or_turn_a_position_is_a_fault(write: Write, scale: str) -> None:
    folder = write(f"@hookimpl\ndef judge(candidate):\n    return FilterVerdict('mine', True, 'more', scale={scale})\n")
    variant = make_variant(load(folder), variant={"filters": ["mine"]})
    signal, intent = decide(variant, make_seen(zigzag()), Exposure())
    assert (intent, signal.decision_reason) == (None, "plugin:mine")


def test_a_filter_may_not_pass_for_one_of_the_bots_own_checks(write: Write) -> None:
    folder = write("@hookimpl\ndef judge(candidate):\n    return FilterVerdict('caps', True, 'fine')\n", "caps.py")
    with pytest.raises(OperatorError, match="plugin 'caps': a filter may not be named as a check"):
        load(folder)


def test_numbers_of_numpy_are_numbers(write: Write) -> None:
    folder = write(
        "import numpy\n@hookimpl\ndef judge(candidate):\n"
        "    above = candidate.bars.close[-1] > 1\n"
        "    return FilterVerdict('mine', above, 'fine', {'close': candidate.bars.close[-1]})\n"
    )
    signal, intent = decide(make_variant(load(folder), variant={"filters": ["mine"]}), make_seen(zigzag()), Exposure())
    assert intent is not None
    [verdict] = filter_words(signal)
    assert (verdict.allow, verdict.values) == (True, {"close": 50_000.0})


def test_a_plugin_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_bot.py").write_text(
        HEAD + "@hookimpl\ndef propose(candidate):\n    return 'never'\n", encoding="utf-8"
    )
    info = tmp_path / "their_bot-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-bot\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[tsfm_bot.plugins]\npatience = their_bot\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    host = PluginHost.load()
    [row] = [row for row in host.describe() if row.name == "patience"]
    assert (row.kind, row.source) == ("entry", "their-bot 1.2")
    signal, _ = decide(make_variant(host, variant={"entry": "patience"}), make_seen(zigzag()), Exposure())
    assert signal.decision_reason == "no_entry:never"


CHECKED = """
OPTIONS = {'least': 1, 'most': 3}
def check_options(options):
    return None if options['least'] <= options['most'] else 'least is above most'
@hookimpl
def judge(candidate, options):
    return FilterVerdict('mine', True, 'fine')
"""


def test_options_that_do_not_go_together_end_the_start_with_file_key_and_the_plugins_words(write: Write) -> None:
    host = load(write(CHECKED))
    make_variant(host, variant={"filters": ["mine"]}, filter={"mine": {"most": 1}})
    with pytest.raises(OperatorError, match=r"^btc\.toml: key filter\.mine: least is above most$"):
        make_variant(host, variant={"filters": ["mine"]}, filter={"mine": {"most": 0}})


@pytest.mark.parametrize(
    ("check", "words"),
    [("1 / 0", "check_options raised ZeroDivisionError"), ("False", "returned bool, not text or None")],
)
def test_a_broken_check_of_options_ends_the_start_too(write: Write, check: str, words: str) -> None:
    body = f"def check_options(options):\n    return {check}\n@hookimpl\ndef propose(candidate): ...\n"
    with pytest.raises(OperatorError, match=f"plugin 'mine': .*{words}"):
        make_variant(load(write(body)), variant={"entry": "mine"})


def test_no_option_may_take_the_name_of_the_key_for_shadow(write: Write) -> None:
    line = refusal(write("OPTIONS = {'shadow': False}\n@hookimpl\ndef judge(candidate): ...\n"))
    assert "'shadow' is a key that every filter has" in line
