"""What is resident: the base, every tier's adapter beside it, and which of them a tier's rows get now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from bot.errors import ModelRefused
from bot.forecast import pointers
from bot.forecast.adapters import Adapter, RawAdapter
from bot.forecast.checkpoints import MAY_TRADE, Loaded
from bot.forecast.distance import InputStats
from bot.forecast.engine import LEVELS, Prediction
from bot.forecast.memory import Ceiling, copy_bytes, pass_bytes
from bot.forecast.registry import BASE, CheckpointManifest, Found, find
from bot.forecast.verification import verify
from bot.forecast.weights import WeightsFile
from bot.messages import Floats

ACTIVE = "active"  # a tier's choice: what is activated for it; else "base", or the id of one checkpoint for good
SPARE_ADAPTERS = 16  # that served before and stay, so that a way back costs nothing


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What `refresh` found at one tier: another checkpoint, or one that it did not take."""

    tier: str
    before: str  # checkpoint id that served
    after: str  # checkpoint id that serves now; where refused, what served before
    refused: str | None = None  # one sentence: file, what is wrong, what to do


class Forecaster(Protocol):
    """The model as its owner sees it. Not safe for two threads at once: the owner serialises all calls."""

    @property
    def context(self) -> int: ...

    def refresh(self) -> Sequence[Change]:
        """Look at the tiers' activation pointers; load and verify what changed.

        Costs a stat for each tier where nothing changed. Never raises for a bad checkpoint: what served goes on
        serving and the change says why. The same refused pointer is told once.
        """
        ...

    def serving(self, tier: str) -> str:
        """Id of the checkpoint that rows of `tier` get now, as it goes into every forecast."""
        ...

    def inputs(self, tier: str) -> InputStats | None:
        """What the training windows of that checkpoint were like, where its manifest tells."""
        ...

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        """Forecast each row of `closes` (batch, context) with the checkpoint of its tier.

        Rows are finite and above zero; the caller sees to it. Rows on the base and on adapters share one pass, rows
        on a full checkpoint have a pass of their own. `levels` of the answer holds at least 0.1, 0.5 and 0.9.
        """
        ...

    def failures(self) -> Mapping[str, str]:
        """By tier, why rows of the last forecast got none: one sentence; told once."""
        ...


class _Served(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One checkpoint, ready to serve."""

    id: str
    manifest: CheckpointManifest | None  # None: the base
    adapter: Adapter | None = None
    weights: WeightsFile  # that must be resident: the base's or a full checkpoint's
    resident: str  # their id
    inputs: InputStats | None

    def is_stale(self) -> bool:
        """Whether weights that are read again at each swap are no longer those that were verified."""
        return self.resident == self.id and not self.weights.unchanged()


class Serving:
    """The `Forecaster` over one engine: all adapters stay beside the base, one full set of weights is resident.

    `choices` gives each tier "active", "base" or an id. A checkpoint that is refused at the start ends it: no tier
    trades on other weights than it was told to. ModelRefused says what to do.
    """

    def __init__(
        self, loaded: Loaded, directory: Path, choices: Mapping[str, str], ceiling: Ceiling, *, live: bool = False
    ) -> None:
        self._engine = loaded.engine
        self._directory = directory
        self._choices = dict(choices)
        self._ceiling = ceiling
        self._live = live
        self._base = loaded.base
        self._on_base = _Served(
            id=loaded.engine.checkpoint,
            manifest=None,
            weights=loaded.weights,
            resident=loaded.engine.checkpoint,
            inputs=loaded.inputs,
        )
        self._ready: dict[str, _Served] = {}  # by id, the least recently chosen first
        self._failures: dict[str, str] = {}
        self._largest_pass = 0  # bytes, an estimate; the process has them since
        self._seen = {tier: self._look(tier) for tier in self._choices}
        self._served: dict[str, _Served] = {}
        for tier in self._choices:
            try:
                self._served[tier] = self._chosen(tier)
            except ModelRefused as refused:
                raise ModelRefused(f"tier {tier}: {refused}") from None

    @property
    def context(self) -> int:
        return self._engine.context

    def serving(self, tier: str) -> str:
        return self._served[tier].id

    def inputs(self, tier: str) -> InputStats | None:
        return self._served[tier].inputs

    def refresh(self) -> Sequence[Change]:
        changes: list[Change] = []
        for tier in self._choices:
            seen = self._look(tier)
            if seen == self._seen[tier]:
                continue
            self._seen[tier] = seen
            before = self._served[tier]
            try:
                self._served[tier] = after = self._chosen(tier)
            except ModelRefused as refused:
                changes.append(Change(tier=tier, before=before.id, after=before.id, refused=str(refused)))
                continue
            if after.id != before.id:
                changes.append(Change(tier=tier, before=before.id, after=after.id))
        return changes

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        """As the Protocol says. Rows for which a swap or the ceiling was in the way are NaN; `failures` tells why."""
        point = np.full((len(closes), horizon), np.nan)
        quantiles = np.full((len(closes), horizon, len(LEVELS)), np.nan)
        for weights, rows in self._passes(tiers):
            try:
                self._make_resident(weights)
                self._make_room(len(rows))
            except ModelRefused as refused:
                self._failures |= {tiers[row]: str(refused) for row in rows}
                continue
            adapters = [self._served[tiers[row]].adapter for row in rows]
            answer = self._engine.forecast(closes[rows], horizon, adapters=adapters, levels=LEVELS)
            point[rows], quantiles[rows] = answer.point, answer.quantiles
        return Prediction(point, quantiles, LEVELS)

    def failures(self) -> Mapping[str, str]:
        found, self._failures = self._failures, {}
        return found

    def _passes(self, tiers: Sequence[str]) -> list[tuple[_Served, list[int]]]:
        """The rows of each set of weights; those of the resident one first, which need no swap."""
        passes: dict[str, tuple[_Served, list[int]]] = {}
        for row, tier in enumerate(tiers):
            served = self._served[tier]
            passes.setdefault(served.resident, (served, []))[1].append(row)
        return sorted(passes.values(), key=lambda one: one[0].resident != self._engine.checkpoint)

    def _make_resident(self, served: _Served) -> None:
        if self._engine.checkpoint != served.resident:
            self._ceiling.check(str(served.weights.path), self._passing_bytes(served.weights))
            self._engine.replace_weights(served.weights.open(), checkpoint=served.resident)

    def _make_room(self, rows: int) -> None:
        engine = self._engine
        series = 2 * rows if engine.options.flip_invariance else rows
        needed = pass_bytes(engine.spec, series, engine.context // engine.spec.input_patch)
        if needed > self._largest_pass:
            self._ceiling.check(f"a forecast of {rows} windows", needed - self._largest_pass)
            self._largest_pass = needed

    def _passing_bytes(self, weights: WeightsFile) -> int:
        """What a look at full weights takes for its time. A .pt file stays mapped as a whole until it is through."""
        return copy_bytes(self._base.spec) + (weights.size if weights.path.suffix == ".pt" else 0)

    def _look(self, tier: str) -> pointers.Identity | None:
        return pointers.identity(self._directory, tier) if self._choices[tier] == ACTIVE else None

    def _chosen(self, tier: str) -> _Served:
        choice = self._choices[tier]
        name = pointers.current(self._directory, tier) if choice == ACTIVE else choice
        if name == BASE:
            return self._on_base
        found = find(self._directory, tier, name)
        known = self._ready.pop(found.serves_as, None)
        if known is None or known.manifest != found.manifest or known.is_stale():
            known = self._load(found)
        self._ready[found.serves_as] = known
        self._let_go(known.id)
        return known

    def _load(self, found: Found) -> _Served:
        manifest = found.manifest
        if self._live and manifest.licence not in MAY_TRADE:
            raise ModelRefused(
                f"{found.folder}: licence {manifest.licence or 'unknown'} does not allow trading on a live venue; "
                f"known to allow it: {', '.join(sorted(MAY_TRADE))}"
            )
        if manifest.method == "full":
            needed = copy_bytes(self._base.spec) + (manifest.bytes if manifest.file.endswith(".pt") else 0)
        else:
            needed = 4 * manifest.bytes  # the file twice while it is read, then what the engine keeps of it
        self._ceiling.check(str(found.weights), needed)
        weights = verify(found, self._base)
        if isinstance(weights, RawAdapter):
            self._make_resident(self._on_base)
            adapter = self._engine.prepare(weights)
            weights, resident = self._on_base.weights, self._on_base.id
        else:
            adapter, resident = None, found.serves_as
        return _Served(
            id=found.serves_as,
            manifest=manifest,
            adapter=adapter,
            weights=weights,
            resident=resident,
            inputs=manifest.inputs,
        )

    def _let_go(self, chosen: str) -> None:
        """Forget what has not served for longest, so that a year of activations does not fill the memory."""
        in_use = {chosen, *(served.id for served in self._served.values())}
        spare = [name for name in self._ready if name not in in_use]
        for name in spare[:-SPARE_ADAPTERS]:
            del self._ready[name]
