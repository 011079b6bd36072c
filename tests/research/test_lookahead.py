"""Plugins that cheat are caught by name; honest ones, the shipped ones among them, are not."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bot.messages import Bars
from bot.plugin_host import PluginHost
from bot.research.lookahead import SHIFT_MS, Caught, Lookahead, cases, same, with_other_future
from bot.research.watched import Calls, fingerprint, sealed
from bot.strategy.window import FIELDS
from tests.strategy.days import walk
from tests.strategy.scenes import CONTEXT, HOUR, make_variant, shipped

FILTER = '''"""A filter of a test."""

{setup}
from bot.hookspecs import Candidate, Options, hookimpl
from bot.messages import FilterVerdict


@hookimpl
def judge(candidate: Candidate, options: Options) -> FilterVerdict:
    last = candidate.bars.close[-1]
{body}
    return FilterVerdict("cheat", bool(allow), "said")
'''
AHEAD = "candidate.side.sign * (later - last) > 0"
CHEATS = {
    "the array behind the window holds the future": (
        "future",
        "import numpy as np",
        f"""
    times, closes = candidate.bars.open_time, candidate.bars.close
    whole = closes if closes.base is None else closes.base
    opened = times if times.base is None else times.base
    index = int(np.searchsorted(opened, times[-1])) + 4
    later = whole[min(index, len(whole) - 1)]
    allow = {AHEAD}""",
    ),
    "the array behind the window holds more history than is given": (
        "past",
        "",
        """
    closes = candidate.bars.close
    whole = closes if closes.base is None else closes.base
    allow = last > whole[:64].mean()""",
    ),
    "a file of bars is read at every call": (
        "sealed",
        "import numpy as np",
        f"""
    times, closes = np.load("{{path}}")
    later = closes[min(np.searchsorted(times, candidate.now) + 3, len(closes) - 1)]
    allow = {AHEAD}""",
    ),
    "a file of bars is read when the plugin is loaded": (
        "loading",
        "import numpy as np\n\nTIMES, CLOSES = np.load('{path}')",
        f"""
    later = CLOSES[min(np.searchsorted(TIMES, candidate.now) + 3, len(CLOSES) - 1)]
    allow = {AHEAD}""",
    ),
    "a table of the future stands in the plugin itself": (
        "date",
        "TABLE = {table}",
        f"""
    later = TABLE.get(candidate.bars.close_at // 3_600_000 + 4, 0.0)
    allow = {AHEAD}""",
    ),
    "what earlier calls saw is kept": (
        "order",
        "SEEN = []",
        """
    SEEN.append(last)
    allow = last >= max(SEEN)""",
    ),
    "a draw decides": (
        "order",
        "import random",
        """
    allow = random.random() < 0.5""",
    ),
    "the clock is asked": (
        "clock",
        "from time import time",
        """
    allow = candidate.now > 1_000 * time() - 1e15""",
    ),
    "the day is asked": (
        "clock",
        "from datetime import UTC, datetime",
        """
    allow = datetime.now(UTC).year > 2000""",
    ),
    "the clock is asked when the plugin is loaded": (
        "clock",
        "import time\n\nSTARTED = time.time()",
        """
    allow = candidate.now > 1_000 * STARTED - 1e15""",
    ),
    "the bars are made writable and changed": (
        "changed",
        "",
        """
    closes = candidate.bars.close
    owner = closes if closes.base is None else closes.base
    owner *= 1.001
    allow = True""",
    ),
    "the bars are written to as they come": (
        "fault",
        "",
        """
    candidate.bars.close[-1] = 0.0
    allow = True""",
    ),
}


def look(folder: Path, bars: Bars, **tables: dict[str, Any]) -> list[Caught]:
    host = PluginHost.load([folder], installed=False)
    calls = Calls({row.source: row.name for row in host.describe()})
    with calls.noticed():
        again = PluginHost.load([folder], installed=False)
    variant, fresh = (
        make_variant(one, **{name: dict(table) for name, table in tables.items()}) for one in (host, again)
    )
    harness = Lookahead(variant, fresh, calls, 4)
    harness.templates(*(one.plugins.tiers[variant.tier] for one in (host, again)))
    harness.run(cases(bars, CONTEXT, 40), lambda done, total: None)
    return harness.caught


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheating_filter_is_named(cheat: str, tmp_path: Path) -> None:
    probe, setup, body = CHEATS[cheat]
    bars = walk(14)
    path = tmp_path / "bars.npy"
    np.save(path, np.array([bars.open_time + HOUR, bars.close]))
    table = {int(at // HOUR + 1): round(float(close), 2) for at, close in zip(bars.open_time, bars.close, strict=True)}
    code = FILTER.replace("{setup}", setup).replace("{body}", body)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "cheat.py").write_text(code.replace("{path}", str(path)).replace("{table}", repr(table)))
    caught = look(tmp_path / "plugins", bars, variant={"filters": ["rsi", "cheat", "categories"]})
    assert [(one.plugin, one.kind, one.probe) for one in caught] == [("cheat", "filter", probe)]


def test_a_cheating_entry_is_named_with_its_bar_and_what_changed(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text('''"""Waits at the low of the next bars."""

from decimal import Decimal

from bot.hookspecs import Candidate, EntryPlan, Options, hookimpl


@hookimpl
def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
    low, times = candidate.bars.low, candidate.bars.open_time
    whole = low if low.base is None else low.base
    index = int((times if times.base is None else times.base).searchsorted(times[-1]))
    best = min(float(whole[index : index + 5].min()), candidate.last_price)
    return EntryPlan(price=Decimal(repr(best))) if candidate.side.sign > 0 else EntryPlan()
''')
    bars = walk(14)
    [caught] = look(tmp_path, bars, variant={"entry": "early"})
    assert (caught.plugin, caught.kind, caught.probe, caught.symbol) == ("early", "entry", "future", "BTCUSDT")
    assert caught.bar_close_at in bars.open_time + HOUR
    assert caught.before.startswith("price=")
    assert caught.after not in ("nothing", caught.before)


def test_a_tier_that_looks_at_the_clock_is_named(tmp_path: Path) -> None:
    (tmp_path / "moody.py").write_text('''"""A tier whose threshold depends on the second."""

import time

from bot.hookspecs import TierTemplate, hookimpl
from bot.messages import ExitPlan


@hookimpl
def tier() -> TierTemplate:
    return TierTemplate(
        name="moody", checkpoint="base", threshold_pct=0.2 + time.time_ns() % 1000 / 1e6, margin_usdt=500, leverage=10,
        max_positions_per_symbol=3, max_positions=None, exits=ExitPlan(stop_pct=2.0),
    )
''')
    [caught] = look(tmp_path, walk(4), variant={"tier": "moody"})
    assert (caught.plugin, caught.kind, caught.probe) == ("moody", "tier", "clock")


@pytest.mark.parametrize("entry", sorted(shipped().plugins.entries))
def test_the_shipped_plugins_are_clean(entry: str, tmp_path: Path) -> None:
    filters = sorted(shipped().plugins.filters)
    assert look(tmp_path, walk(10), variant={"filters": filters, "entry": entry}) == []


def test_windows_with_gaps_are_not_decided_on() -> None:
    bars = walk(4)
    kept = np.arange(len(bars)) != 100
    gapped = msgspec.structs.replace(bars, **{name: getattr(bars, name)[kept] for name in ("open_time", *FIELDS)})
    assert len(cases(bars, CONTEXT, 10_000)) == 4 * 24 + 1
    assert [case.end for case in cases(gapped, CONTEXT, 10_000)] == list(range(CONTEXT, 101))
    assert cases(walk(0), CONTEXT + 1, 10) == []


def test_another_future_leaves_the_window_as_it_was() -> None:
    case = cases(walk(4), CONTEXT, 3)[1]
    series, begin, end = with_other_future(case)
    assert series.close[begin:end].tolist() == case.bars.close[case.begin : case.end].tolist()
    assert (series.close[end:] != case.bars.close[case.end : case.end + 48]).all()
    assert fingerprint(case.bars) == fingerprint(walk(4))


def test_nothing_can_be_opened_in_a_sealed_world() -> None:
    with sealed(), pytest.raises(OSError, match="Too many open files"):
        open(__file__)  # noqa: SIM115  # it must not open
    with open(__file__) as file:
        assert file.readable()


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0001, False),
        (float("nan"), float("nan"), True),
        ({"at": 5}, {"at": 5 + SHIFT_MS}, True),
        ({"at": 5}, {"at": 6}, False),
        ({"at": True}, {"at": False}, False),
        ("a", None, False),
    ],
)
def test_answers_are_compared_by_their_values(before: object, after: object, equal: bool) -> None:
    assert same(before, after, SHIFT_MS) is equal
