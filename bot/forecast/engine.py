"""Closes in, point and quantile paths out: TimesFM 2.5 with an adapter for each row, in one pass."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from timesfm.torch import util
from torch import Tensor

from bot.errors import ModelRefused
from bot.forecast import adapters as low_rank
from bot.forecast.adapters import Adapter, RawAdapter
from bot.forecast.layers import Group
from bot.forecast.matrix import computes_bfloat16, packs
from bot.forecast.network import ModelSpec, check_layout, patch_stats
from bot.forecast.trunk import POINT, SPREAD, Trunk
from bot.messages import Floats

Dtype = Literal["auto", "float32", "bfloat16"]
LEVELS = (0.1, 0.5, 0.9)
LARGE_FROM = 10_000_000  # numbers in the layers' matrices; a smaller network is bound by its many small operations


class ForecastOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The package's ForecastConfig switches, set as Google's own 2.5 example sets them."""

    normalize_inputs: bool = True
    flip_invariance: bool = True  # averages with the mirrored series: twice the work
    infer_is_positive: bool = True
    continuous_quantiles: bool = True
    fix_quantile_crossing: bool = True


class Prediction(msgspec.Struct, frozen=True, eq=False):
    point: Floats  # (batch, horizon), in the units of the closes
    quantiles: Floats  # (batch, horizon, quantiles), in the order of `levels`
    levels: tuple[float, ...]


class Engine:
    """One resident TimesFM 2.5. Not safe for two threads at once: its owner serialises the calls.

    Its forecasts equal those of the timesfm package's own `TimesFM_2p5_200M_torch.forecast` in float32.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        spec: ModelSpec,
        options: ForecastOptions,
        *,
        checkpoint: str,
        context: int,
        dtype: Dtype = "auto",
    ) -> None:
        """`tensors` is a state dict of the package's module; each is read once and copied, so it may be lazy.

        Raises ModelRefused naming the first tensor that does not fit `spec`.
        """
        if context % spec.input_patch:
            raise ModelRefused(f"context {context}: must be a multiple of the input patch, {spec.input_patch}")
        self.checkpoint = checkpoint
        self.context = context
        self.spec = spec
        self.options = options
        self.device = _device()
        self.dtype = choose_dtype(dtype, spec)
        packed = _is_large(spec) and packs(self.dtype, self.device)
        self._trunk = Trunk(spec, self.dtype, self.device, context // spec.input_patch, packed=packed)
        self.parameters = sum(math.prod(shape) for shape in check_layout(spec, tensors).values())
        self._trunk.fill(tensors)

    def prepare(self, raw: RawAdapter) -> Adapter:
        """Make `raw` ready to run beside the weights that are resident now.

        Raises ModelRefused naming the layer and the fault: a shape, values that are not finite, a row of zeros.
        """
        low_rank.check(raw, self.spec)
        layers: list[dict[str, low_rank.Delta]] = [{} for _ in range(self.spec.layers)]
        with torch.inference_mode():
            for (index, target), delta in raw.tensors.items():
                ready = low_rank.compose(delta, raw.alpha / raw.rank, self._trunk.matrices(index, target))
                if not torch.isfinite(ready.gain).all():
                    raise ModelRefused(f"adapter: layer {index}, {target}: a row of W + BA is zero, without direction")
                layers[index][target] = ready
        return Adapter(base=self.checkpoint, layers=tuple(layers))

    def replace_weights(self, tensors: Mapping[str, Tensor], *, checkpoint: str) -> None:
        """Let a full checkpoint of the same spec take the place of the resident weights, in the same memory.

        `tensors` is read one at a time. Adapters belong to the base that they were prepared on: they run again when
        it is back under its id. Raises ModelRefused, with the old weights whole, where a tensor does not fit; any other
        error leaves the engine without a checkpoint (id ""), until weights have been replaced whole.
        """
        check_layout(self.spec, tensors)
        self.checkpoint = ""  # a mix of two sets of weights is neither, should the copying fail
        self._trunk.fill(tensors)
        self.checkpoint = checkpoint

    def forecast(
        self,
        closes: Floats,
        horizon: int,
        *,
        adapters: Sequence[Adapter | None] | None = None,
        levels: Sequence[float] = LEVELS,
    ) -> Prediction:
        """Forecast each row of `closes` (batch, context), finite, with its own adapter, all in one pass.

        `adapters` has one entry for each row, None for the base; without it all rows run on the base. Only the
        quantiles of `levels` and only `horizon` steps are computed.
        """
        if closes.ndim != 2 or closes.shape[1] != self.context:
            raise ValueError(f"closes have shape {closes.shape}, the model takes (batch, {self.context})")
        if not 1 <= horizon <= self.spec.max_horizon:
            raise ValueError(f"horizon {horizon}: the model answers 1 to {self.spec.max_horizon} bars ahead")
        order, spans = _group(adapters, len(closes), self.checkpoint)
        with torch.inference_mode():
            series = torch.from_numpy(np.ascontiguousarray(closes[order])).to(self.device, torch.float32)
            channels = self._channels(levels)
            path = self._decode(series, horizon, channels, spans).cpu().numpy().astype(np.float64)
        answer = np.empty_like(path)
        answer[order] = path
        wanted = [channels.index(1 + self.spec.quantiles.index(level)) for level in levels]
        point = answer[..., channels.index(self.spec.point_channel)]
        return Prediction(point, answer[..., wanted], tuple(levels))

    def _channels(self, levels: Sequence[float]) -> list[int]:
        """The outputs per step that `levels` depend on, ascending; always with the median."""
        unknown = [level for level in levels if level not in self.spec.quantiles]
        if unknown:
            raise ValueError(f"levels {unknown}: the model answers {self.spec.quantiles}")
        middle = self.spec.point_channel
        found = {middle, *(1 + self.spec.quantiles.index(level) for level in levels)}
        if self.options.flip_invariance:
            found |= {self.spec.channels - channel for channel in found}
        if self.options.fix_quantile_crossing:
            found = set(range(min(found), max(found) + 1))
        return sorted(found)

    def _decode(self, series: Tensor, horizon: int, channels: list[int], spans: list[Group]) -> Tensor:
        """(batch, context) -> (batch, horizon, channels)."""
        options, middle = self.options, channels.index(self.spec.point_channel)
        positive = torch.all(series >= 0, dim=-1)[:, None, None]
        mean, deviation = series.mean(dim=-1, keepdim=True), series.std(dim=-1, keepdim=True)
        if options.normalize_inputs:
            series = util.revin(series, mean, deviation, reverse=False)
        if options.flip_invariance:
            series = torch.stack([series, -series], dim=1).flatten(0, 1)  # neighbours, so that they share an adapter
            spans = [Group(2 * span.first, 2 * span.last, span.adapter) for span in spans]
        path, spread = self._paths(series, horizon, channels, spans)
        if options.flip_invariance:
            path, spread = _fold_mirrored(path), _fold_mirrored(spread)
        if options.continuous_quantiles:
            path = spread - spread[..., middle, None] + path
        if options.fix_quantile_crossing:
            path = _uncross(path, middle)
        if options.normalize_inputs:
            path = util.revin(path, mean, deviation, reverse=True)
        return torch.where(positive, path.clamp(min=0.0), path) if options.infer_is_positive else path

    def _paths(self, series: Tensor, horizon: int, channels: list[int], spans: list[Group]) -> tuple[Tensor, Tensor]:
        """After the last patch: the point head's path and the quantile head's, each (batch, horizon, channels).

        With continuous quantiles the point head gives only the median, (batch, horizon, 1).
        """
        patches = series.view(len(series), -1, self.spec.input_patch)
        mu, sigma = patch_stats(patches)
        last = self._trunk.forward(util.revin(patches, mu, sigma, reverse=False), spans)
        mu, sigma = mu[:, -1], sigma[:, -1]
        every = self.options.continuous_quantiles
        found = []
        for name, asked in ((POINT, [self.spec.point_channel] if every else channels), (SPREAD, channels)):
            rows = torch.arange(horizon)[:, None] * self.spec.channels + torch.tensor(asked)
            path = self._trunk.head(last, name, rows.flatten().to(self.device)).view(len(series), horizon, -1)
            found.append(util.revin(path, mu, sigma, reverse=True))
            if not every:
                break
        return found[0], found[-1]


def choose_dtype(dtype: Dtype, spec: ModelSpec) -> torch.dtype:
    """What the layers' matrices are held in. `auto` takes bfloat16 where the machine computes in it and it pays."""
    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if _is_large(spec) and computes_bfloat16(_device()) else torch.float32


def _is_large(spec: ModelSpec) -> bool:
    return spec.layers * sum(out * inputs for out, inputs in low_rank.target_shapes(spec).values()) >= LARGE_FROM


def _device() -> torch.device:
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def _group(
    adapters: Sequence[Adapter | None] | None, batch: int, checkpoint: str
) -> tuple[npt.NDArray[np.int64], list[Group]]:
    """An order of the rows that puts each adapter's next to one another, and where each adapter's are in it."""
    if adapters is None:
        return np.arange(batch), []
    if len(adapters) != batch:
        raise ValueError(f"{len(adapters)} adapters for {batch} rows")
    strangers = {adapter.base for adapter in adapters if adapter is not None} - {checkpoint}
    if strangers:
        raise ValueError(f"adapters prepared on {', '.join(sorted(strangers))} cannot run on {checkpoint}")
    rows: dict[int, list[int]] = {id(None): []}
    for row, adapter in enumerate(adapters):
        rows.setdefault(id(adapter), []).append(row)
    groups, first = [], 0
    for own in rows.values():
        adapter = adapters[own[0]] if own else None
        if adapter is not None:
            groups.append(Group(first, first + len(own), adapter))
        first += len(own)
    return np.concatenate([np.array(own, dtype=np.int64) for own in rows.values()]), groups


def _fold_mirrored(paths: Tensor) -> Tensor:
    """Average of each series with its mirrored neighbour; mirrored, the 0.1 quantile answers for the 0.9."""
    return (paths[0::2] - paths[1::2].flip(-1)) / 2


def _uncross(path: Tensor, middle: int) -> Tensor:
    upper = torch.cummax(path[..., middle:], dim=-1).values
    lower = torch.cummin(path[..., : middle + 1].flip(-1), dim=-1).values.flip(-1)
    return torch.cat([lower[..., :-1], upper], dim=-1)
