"""The timesfm package's own forecast with the weights that the engine runs, set as its authors' example sets it."""

import copy
from collections.abc import Mapping

import numpy as np
import timesfm
from timesfm.timesfm_2p5 import timesfm_2p5_torch
from torch import Tensor

from bot.forecast.engine import ForecastOptions
from bot.forecast.network import ModelSpec, build_module
from bot.messages import Floats


class Package:
    """`TimesFM_2p5_200M_torch` in float32, without its own torch.compile; on a GPU where the package finds one."""

    def __init__(self, tensors: Mapping[str, Tensor], spec: ModelSpec, options: ForecastOptions, context: int) -> None:
        self._options, self._context = options, context
        package_class = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module
        full_size = package_class.config
        package_class.config = build_module(spec).config  # the wrapper builds whatever this says
        try:
            self._model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
        finally:
            package_class.config = full_size
        self.module = self._model.model
        self.module.load_state_dict(tensors, strict=True)
        self.module.to(self.module.device).eval()
        self._compiled: dict[int, timesfm.TimesFM_2p5_200M_torch] = {}

    def one_batch(self, closes: Floats, horizon: int) -> Floats:
        """All rows in one batch; the full answer, (batch, horizon, channels)."""
        return self._forecast(closes, horizon)

    def one_after_another(self, closes: Floats, horizon: int) -> Floats:
        return np.concatenate([self._forecast(row[None], horizon) for row in closes])

    def _forecast(self, closes: Floats, horizon: int) -> Floats:
        size = len(closes)
        if size not in self._compiled:
            self._compiled[size] = copy.copy(self._model)  # one module, a batch size of its own
            self._compiled[size].compile(self._config(size))
        _, full = self._compiled[size].forecast(horizon, [row.copy() for row in closes])
        return np.asarray(full, dtype=np.float64)

    def _config(self, size: int) -> timesfm.ForecastConfig:
        return timesfm.ForecastConfig(
            max_context=self._context,
            max_horizon=128,
            per_core_batch_size=size,
            normalize_inputs=self._options.normalize_inputs,
            force_flip_invariance=self._options.flip_invariance,
            infer_is_positive=self._options.infer_is_positive,
            use_continuous_quantile_head=self._options.continuous_quantiles,
            fix_quantile_crossing=self._options.fix_quantile_crossing,
        )
