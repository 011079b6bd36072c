"""The compiled pass of a mixed-adapter product beside torch's own operations."""

from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor

from bot.forecast.adapters import Adapter, RawDelta, compose
from bot.forecast.lowrank import Group, Mixed, is_compiled
from bot.forecast.matrix import Matrix

CPU = torch.device("cpu")
INPUTS, OUTPUTS, ROWS = 70, 300, 41
WHOLE = slice(0, OUTPUTS)
TARGET = 1, "ff0"

pytestmark = pytest.mark.skipif(not is_compiled(CPU), reason="torch has no GNU OpenMP here: the pass is torch's own")


def make_adapter(rank: int, dtype: torch.dtype, seed: int, *, dora: bool = True) -> Adapter:
    generator = Generator().manual_seed(seed)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator) / INPUTS**0.5
    raw = RawDelta(
        a=torch.randn(rank, INPUTS, generator=generator) / INPUTS**0.5,
        b=torch.randn(OUTPUTS, rank, generator=generator),
        magnitude=1 + torch.rand(OUTPUTS, generator=generator) if dora else None,
    )
    room = torch.empty(weight.numel(), dtype=dtype)
    delta = compose(raw, 1.5, [Matrix(weight, WHOLE, room, packed=False)])
    return Adapter(base="", layers=({}, {"ff0": delta}))


def make_inputs(dtype: torch.dtype, *, width: int = OUTPUTS) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(9)
    product = torch.randn(ROWS, width, generator=generator).to(dtype)
    return product, torch.randn(ROWS, INPUTS, generator=generator).to(dtype)


def groups(dtype: torch.dtype) -> list[Group]:
    """Even and odd numbers of rows, one row, several blocks of them, rows that nobody owns first, between and last."""
    return [
        Group(2, 5, make_adapter(8, dtype, 1)),
        Group(5, 6, make_adapter(16, dtype, 2, dora=False)),
        Group(6, 10, make_adapter(3, dtype, 3)),
        Group(13, 38, make_adapter(5, dtype, 4)),
    ]


def mixed(dtype: torch.dtype) -> Mixed:
    return Mixed(groups(dtype), ROWS, 1, CPU)


def free_rows(parts: Sequence[Group]) -> list[int]:
    return [row for row in range(ROWS) if not any(part.first <= row < part.last for part in parts)]


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("rows", [WHOLE, slice(0, 100), slice(100, 300)])
def test_it_says_what_torchs_operations_say(dtype: torch.dtype, allowed: float, rows: slice) -> None:
    """In bfloat16 torch rounds A x to it, and the compiled pass does not."""
    product, inputs = make_inputs(dtype, width=rows.stop - rows.start)
    parts = mixed(dtype)
    expected = parts.by_torch(product.clone(), inputs, TARGET, rows)
    got = parts.by_kernel(product.clone(), inputs, TARGET, rows)
    assert got.dtype is torch.float32
    assert (got - expected).abs().max() <= allowed * expected.abs().max()
    assert (expected - product.float()).abs().max() > 0.5  # the adapters say something


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_no_adapter_owns_keep_their_bits(dtype: torch.dtype) -> None:
    product, inputs = make_inputs(dtype)
    parts = mixed(dtype)
    free = free_rows(groups(dtype))
    assert {0, 11, 40} <= set(free)
    assert torch.equal(parts.by_kernel(product.clone(), inputs, TARGET, WHOLE)[free], product.float()[free])


def test_in_bfloat16_it_is_as_exact_as_float32_allows() -> None:
    product, inputs = make_inputs(torch.bfloat16)
    adapter = make_adapter(8, torch.bfloat16, 1)
    got = Mixed([Group(0, ROWS, adapter)], ROWS, 1, CPU).by_kernel(product, inputs, TARGET, WHOLE).double()
    delta = adapter.layers[1]["ff0"]
    expected = delta.gain.double() * product.double() + inputs.double() @ delta.a.double().t() @ delta.b.double().t()
    assert (got - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_the_number_of_threads_changes_no_bit() -> None:
    product, inputs = make_inputs(torch.bfloat16)
    parts = mixed(torch.bfloat16)
    threads, answers = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            answers.append(parts.by_kernel(product, inputs, TARGET, WHOLE))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_may_be_every_other_row_of_something(dtype: torch.dtype) -> None:
    product, inputs = make_inputs(dtype)
    spread = torch.stack([inputs, torch.full_like(inputs, torch.nan)], dim=1).flatten(1)[:, :INPUTS]
    assert spread.stride(0) == 2 * INPUTS
    parts = mixed(dtype)
    expected = parts.by_kernel(product.clone(), inputs, TARGET, WHOLE)
    assert torch.equal(parts.by_kernel(product.clone(), spread, TARGET, WHOLE), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_and_in_its_row(dtype: torch.dtype, broken: float) -> None:
    product, inputs = make_inputs(dtype)
    parts = mixed(dtype)
    whole = parts.by_kernel(product.clone(), inputs, TARGET, WHOLE)
    inputs[3, 7] = broken
    product[20, 5] = broken
    got = parts.by_kernel(product.clone(), inputs, TARGET, WHOLE)
    assert not got[3].isfinite().any()
    assert not got[20, 5].isfinite()
    others = [row for row in range(ROWS) if row not in (3, 20)]
    assert torch.equal(got[others], whole[others])


def test_it_is_what_runs_on_a_cpu_and_never_on_another_device() -> None:
    product, inputs = make_inputs(torch.float32)
    parts = mixed(torch.float32)
    chosen = parts.adapted(product.clone(), inputs, TARGET, WHOLE)
    assert torch.equal(chosen, parts.by_kernel(product.clone(), inputs, TARGET, WHOLE))
    assert not is_compiled(torch.device("cuda"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_series_may_have_several_rows(dtype: torch.dtype) -> None:
    product, inputs = (both[:39] for both in make_inputs(dtype))
    adapter = make_adapter(5, dtype, 1)
    expected = Mixed([Group(3, 36, adapter)], 39, 1, CPU).by_kernel(product.clone(), inputs, TARGET, WHOLE)
    for parts in (Mixed([Group(1, 12, adapter)], 13, 3, CPU), Mixed([Group(1, 12, adapter)], 13, 6, CPU)):
        assert torch.equal(parts.by_kernel(product.clone(), inputs, TARGET, WHOLE), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_that_an_adapter_leaves_alone_keeps_its_outputs(dtype: torch.dtype) -> None:
    product, inputs = make_inputs(dtype)
    changing, other = make_adapter(8, dtype, 1), Adapter(base="", layers=({}, {}))
    parts = Mixed([Group(0, 10, changing), Group(10, 20, other)], ROWS, 1, CPU)
    got = parts.adapted(product.clone(), inputs, TARGET, WHOLE)
    assert torch.equal(got[10:], product[10:].float())
    assert not torch.equal(got[:10], product[:10].float())
    assert torch.equal(parts.adapted(product.clone(), inputs, (0, "ff0"), WHOLE), product.float())
