"""What is resident: the base, every tier's adapter beside it, and which of them a tier's rows get now."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bot.forecast.engine import Prediction
from bot.messages import Floats


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

    def forecast(self, closes: Floats, tiers: Sequence[str], horizon: int) -> Prediction:
        """Forecast each row of `closes` (batch, context) with the checkpoint of its tier.

        Rows are finite and above zero; the caller sees to it. Rows on the base and on adapters share one pass, rows
        on a full checkpoint have a pass of their own. `levels` of the answer holds at least 0.1, 0.5 and 0.9.
        """
        ...
