"""The layers by compiled kernels beside the layers by torch's own operations."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from bot.forecast import eager, fused
from bot.forecast.adapters import Adapter, Delta, RawDelta, compose, target_shapes
from bot.forecast.arithmetic import _exp
from bot.forecast.layers import Batch, Group
from bot.forecast.network import ModelSpec
from bot.forecast.trunk import Trunk
from tests.forecast.reference import random_weights

CPU = torch.device("cpu")
SPEC = ModelSpec(layers=3, model_dims=64, hidden_dims=96, heads=2, quantile_patch=128)
PATCHES, SERIES = 6, 41
DTYPES = torch.float32, torch.bfloat16

pytestmark = pytest.mark.skipif(not fused.runs(SPEC, CPU), reason="torch has no GNU OpenMP here: no kernel runs")


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def trunk(request: pytest.FixtureRequest) -> Trunk:
    return make_trunk(request.param)


@pytest.fixture(autouse=True)
def in_inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def make_trunk(dtype: torch.dtype) -> Trunk:
    made = Trunk(SPEC, dtype, CPU, 12, packed=False)
    made.fill(random_weights(SPEC, seed=5))
    return made


def dtype_of(trunk: Trunk) -> torch.dtype:
    return trunk.matrices(0, "out")[0].dtype


def make_adapter(trunk: Trunk, rank: int, seed: int, targets: Sequence[str], *, dora: bool = True) -> Adapter:
    generator, layers = Generator().manual_seed(seed), list[Mapping[str, Delta]]()
    for index in range(SPEC.layers):
        found = {}
        for target in targets:
            out, inputs = target_shapes(SPEC)[target]
            raw = RawDelta(
                a=torch.randn(rank, inputs, generator=generator) / inputs**0.5,
                b=torch.randn(out, rank, generator=generator) / rank**0.5,
                magnitude=0.5 + torch.rand(out, generator=generator) if dora else None,
            )
            found[target] = compose(raw, 0.5, trunk.matrices(index, target))
        layers.append(found)
    return Adapter(base="", layers=tuple(layers))


def make_groups(trunk: Trunk) -> list[Group]:
    """Even and odd numbers of series, one series, several blocks of them; first, between and last nobody's."""
    every = ("qkv_proj", "out", "ff0", "ff1")
    return [
        Group(2, 5, make_adapter(trunk, 8, 1, every)),
        Group(5, 6, make_adapter(trunk, 16, 2, every, dora=False)),
        Group(6, 10, make_adapter(trunk, 3, 3, ("qkv_proj", "ff1"))),
        Group(13, 38, make_adapter(trunk, 5, 4, ("out", "ff0"))),
    ]


def make_batch(trunk: Trunk, *, series: int = SERIES, patches: int = PATCHES, mixed: bool = True) -> Batch:
    return Batch(series, patches, make_groups(trunk) if mixed else (), SPEC.heads, dtype_of(trunk))


def make_hidden(series: int = SERIES, patches: int = PATCHES) -> Tensor:
    return torch.randn(series * patches, SPEC.model_dims, generator=Generator().manual_seed(9))


def free_series(groups: Sequence[Group]) -> list[int]:
    return [one for one in range(SERIES) if not any(own.first <= one < own.last for own in groups)]


@pytest.mark.parametrize("patches", [1, 2, PATCHES, 11])
def test_kernels_say_what_torchs_operations_say(trunk: Trunk, patches: int) -> None:
    batch, hidden = make_batch(trunk, patches=patches), make_hidden(patches=patches)
    expected = eager.run(trunk.layers, hidden.clone(), batch)
    got = fused.run(trunk.layers, hidden.clone(), batch)
    plain = fused.run(trunk.layers, hidden.clone(), batch._replace(groups=()))
    allowed = 5e-6 if batch.dtype is torch.float32 else 5e-2
    scale = expected.abs().max()
    assert (got - expected).abs().max() <= allowed * scale
    owned = [one for one in range(SERIES) if one not in free_series(batch.groups)]
    assert ((got - plain)[owned].abs().amax(dim=1) > 3 * allowed * scale).all()  # each adapter says something


@pytest.mark.parametrize("series", [1, 2, 3, 16, 33])
def test_any_number_of_series_is_computed_whole(trunk: Trunk, series: int) -> None:
    batch = make_batch(trunk, series=series, mixed=False)
    adapter = make_adapter(trunk, 8, 1, ("qkv_proj", "out", "ff0", "ff1"))
    hidden = make_hidden(series)
    for groups in ((), (Group(0, series, adapter),), (Group(series - 1, series, adapter),)):
        expected = eager.run(trunk.layers, hidden.clone(), batch._replace(groups=groups))
        got = fused.run(trunk.layers, hidden.clone(), batch._replace(groups=groups))
        allowed = 5e-6 if batch.dtype is torch.float32 else 5e-2
        assert (got - expected).abs().max() <= allowed * expected.abs().max()


def test_series_that_no_adapter_owns_keep_their_bits(trunk: Trunk) -> None:
    batch = make_batch(trunk)
    mixed = fused.run(trunk.layers, make_hidden(), batch)
    plain = fused.run(trunk.layers, make_hidden(), batch._replace(groups=()))
    free = free_series(batch.groups)
    assert {0, 11, 40} <= set(free)
    assert torch.equal(mixed[free], plain[free])


def test_a_layer_that_an_adapter_leaves_alone_is_the_bases(trunk: Trunk) -> None:
    batch = make_batch(trunk)
    silent = Adapter(base="", layers=({}, {}, {}))
    got = fused.run(trunk.layers, make_hidden(), batch._replace(groups=[Group(3, 30, silent)]))
    assert torch.equal(got, fused.run(trunk.layers, make_hidden(), batch._replace(groups=())))


def test_the_number_of_threads_changes_no_bit(trunk: Trunk) -> None:
    batch = make_batch(trunk)
    threads, answers = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            answers.append(fused.run(trunk.layers, make_hidden(), batch))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_and_in_its_series(trunk: Trunk, broken: float) -> None:
    batch = make_batch(trunk)
    whole = fused.run(trunk.layers, make_hidden(), batch)
    hidden = make_hidden()
    hidden[3 * PATCHES + 2, 7] = broken
    hidden[40 * PATCHES, 5] = broken
    got = fused.run(trunk.layers, hidden, batch)
    assert not got[[3, 40]].isfinite().any()
    others = [one for one in range(SERIES) if one not in (3, 40)]
    assert torch.equal(got[others], whole[others])


def test_kernels_run_on_a_cpu_over_rows_of_whole_vectors_and_nowhere_else() -> None:
    narrow = ModelSpec(layers=1, model_dims=48, hidden_dims=32, heads=2)
    assert not fused.runs(SPEC, torch.device("cuda"))
    assert not fused.runs(narrow, CPU)


def test_the_exponential_is_exact_to_the_last_bits_of_a_float32() -> None:
    x = np.linspace(-87, 88, 20_001).astype(np.float32)
    got = np.array([_exp(one) for one in x])
    assert np.abs(got / np.exp(x.astype(np.float64)) - 1).max() < 2e-7
    assert _exp(np.float32(0.0)) == 1.0
    assert np.isnan(_exp(np.float32(np.nan)))
    assert 0 < _exp(np.float32(-np.inf)) < 2e-38
    assert 1e38 < _exp(np.float32(np.inf)) < np.inf
