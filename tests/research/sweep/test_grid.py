"""A grid's axes and numbers, and what an operator is told of a wrong one."""

from pathlib import Path

import pytest

from bot.errors import OperatorError
from bot.research.sweep.grid import ENTRY, applied, read_grid

HEAD = '[sweep]\nvariant = "v.toml"\nstart = "2025-01-01"\nend = "2025-03-01"\n'
DEPLOYED = Path(__file__).resolve().parents[3] / "deploy" / "grids"


def written(folder: Path, text: str, head: str = HEAD) -> Path:
    path = folder / "grid.toml"
    path.write_text(head + text)
    return path


def test_a_configurations_number_counts_entries_slowest_and_signal_choices_fastest(tmp_path: Path) -> None:
    text = (
        "[variant]\nthreshold_pct = [0.2, 0.1]\n"
        "[exits]\ntarget_pct = [3.0]\nstop_pct = { from = 1.0, to = 2.0, step = 0.5 }\n"
        "[entry.market]\n[entry.atr05]\natr_multiple = [0.25, 0.5]\n"
    )
    grid = read_grid(written(tmp_path, text))
    assert [axis.name for axis in grid.axes] == [ENTRY, "exits.stop_pct", "exits.target_pct", "variant.threshold_pct"]
    assert (grid.shape, len(grid)) == ((3, 3, 1, 2), 18)
    assert [choice.label for choice in grid.axes[1].choices] == ["1.0", "1.5", "2.0"]
    assert [choice.label for choice in grid.choices(0)] == ["market", "1.0", "3.0", "0.1"]
    assert [choice.label for choice in grid.choices(17)] == ["atr05 atr_multiple 0.5", "2.0", "3.0", "0.2"]


def test_beside_a_number_stand_the_next_ones_and_beside_an_entry_those_one_step_away(tmp_path: Path) -> None:
    text = (
        '[filter.sides]\nallow = ["both", "long"]\n[exits]\nstop_pct = [1.0, 2.0, 3.0]\n'
        "[entry.market]\n[entry.fib]\nratio = [0.3, 0.5]\nwidth = [2, 3]\n"
    )
    axes = {axis.name: axis for axis in read_grid(written(tmp_path, text)).axes}
    assert axes["exits.stop_pct"].beside == ((1,), (0, 2), (1,))
    assert axes["filter.sides.allow"].beside == ((), ())
    labels = [choice.label for choice in axes[ENTRY].choices]
    assert labels == [
        "market",
        "fib ratio 0.3 width 2",
        "fib ratio 0.3 width 3",
        "fib ratio 0.5 width 2",
        "fib ratio 0.5 width 3",
    ]
    assert axes[ENTRY].beside == ((), (2, 3), (1, 4), (1, 4), (2, 3))


def test_a_configuration_writes_its_keys_into_the_variants_file(tmp_path: Path) -> None:
    text = '[filter.sides]\nallow = ["long"]\n[exits]\nstop_pct = [1.5]\n[entry.fib]\nratio = [0.5]\n'
    grid = read_grid(written(tmp_path, text))
    raw = {
        "variant": {"name": "V", "entry": "atr05", "filters": ["rsi"]},
        "exits": {"target_pct": 2.0},
        "entry": {"atr05": {"atr_multiple": 1.0}},
    }
    assert applied(raw, grid.choices(0)) == {
        "variant": {"name": "V", "entry": "fib", "filters": ["rsi", "sides"]},
        "exits": {"target_pct": 2.0, "stop_pct": 1.5},
        "entry": {"fib": {"ratio": 0.5}},
        "filter": {"sides": {"allow": "long"}},
    }
    assert raw["entry"] == {"atr05": {"atr_multiple": 1.0}}, "the variant's own file stays as it was"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "nothing to sweep; expected a table [variant], [exits], [filter.X] or [entry.X]"),
        ("[exits]\nstop_pct = []\n", "key exits.stop_pct: is empty; expected a list of values"),
        ("[exits]\nstop_pct = [1.0, 1.0]\n", "key exits.stop_pct: 1.0 stands there twice"),
        ("[exits]\nstop_pct = { from = 1 }\n", "key exits.stop_pct: expected a list of values, or { from"),
        ("[exits]\nstop_pct = { from = 2, to = 1, step = 1 }\n", "key exits.stop_pct: nothing lies between 2 and 1"),
        ("[variant]\nname = ['A', 'B']\n", "key variant.name: cannot be swept; expected one of: threshold_pct"),
        ("[sizing]\nleverage = [1, 2]\n", "key sizing is unknown"),
        ("[exits]\nstop_pct = { from = 0.001, to = 99, step = 0.000001 }\n", "key exits.stop_pct: has more than 1000"),
        (
            "[exits]\n" + "".join(f"{key} = {{ from = 1, to = 999, step = 1 }}\n" for key in ("a", "b", "c")),
            "997,002,999 configurations; expected at most 20,000,000",
        ),
    ],
)
def test_what_is_wrong_with_a_grid_is_told_by_key(tmp_path: Path, text: str, fault: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(OperatorError) as told:
        read_grid(path)
    assert str(told.value).startswith(f"{path}: ")
    assert fault in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('end = "2025-01-01"', "key sweep.end: 2025-01-01 is not allowed; expected a day after start (2025-01-01)"),
        ('end = "2025-02-30"', "key sweep.end: 2025-02-30 is no day"),
        ('end = "soon"', "key sweep.end: 'soon' is not allowed; expected a day such as"),
        (
            'end = "2025-03-01"\nout_of_sample_from = "2025-03-01"',
            "key sweep.end: 2025-03-01 is not allowed; expected a day after out_of_sample_from",
        ),
        ('end = "2025-03-01"\nfold = 3', 'key sweep.fold is unknown; did you mean "folds"?'),
    ],
)
def test_what_is_wrong_with_its_days_is_told_by_key(tmp_path: Path, line: str, fault: str) -> None:
    head = f'[sweep]\nvariant = "v.toml"\nstart = "2025-01-01"\n{line}\n'
    with pytest.raises(OperatorError) as told:
        read_grid(written(tmp_path, "[exits]\nstop_pct = [1.0]\n", head))
    assert fault in str(told.value)


@pytest.mark.parametrize("path", sorted(DEPLOYED.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_grids_are_read(path: Path) -> None:
    assert len(read_grid(path)) >= 1_000
