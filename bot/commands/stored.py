"""Which stored forecasts a tier's research reads, by what their manifests say; no model is loaded for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.commands.output import few
from bot.errors import OperatorError
from bot.history.forecasts import ForecastStore, StoreManifest, stores


def store_of(root: Path, tier: str, checkpoint: str | None) -> ForecastStore:
    """The store of `checkpoint`; where none is named that of the tier's one adapter, else that of the one base.

    OperatorError where there is none, or more than one to choose from.
    """
    known = list(stores(root))
    if checkpoint is not None:
        found = [store for store in known if store.manifest.checkpoint == checkpoint]
    else:
        found = [store for store in known if (store.manifest.adapter or "").startswith(f"{tier}/")]
        found = found or [store for store in known if store.manifest.adapter is None]
    names = ", ".join(store.manifest.checkpoint for store in found or known) or "none"
    if not found:
        what = checkpoint or f"tier {tier}"
        raise OperatorError(f"{root}: no forecasts of {what}; stored are: {names}; see `python -m bot forecast`")
    if len(found) > 1:
        raise OperatorError(f"{root}: tier {tier}: name one with --checkpoint: {names}")
    return found[0]


def base_store(root: Path, manifest: StoreManifest) -> ForecastStore | None:
    """What the base of an adapter said without it; None for a base itself, and where that is not stored."""
    if manifest.adapter is None:
        return None
    for store in stores(root):
        other = store.manifest
        same = (other.base_sha256, other.context, other.horizon, other.interval_ms)
        if other.adapter is None and same == (
            manifest.base_sha256,
            manifest.context,
            manifest.horizon,
            manifest.interval_ms,
        ):
            return store
    return None


def dropped(symbols: Mapping[str, Sequence[str]]) -> str:
    """In words, which symbols (by tier) have no forecast that counts."""
    told = "; ".join(f"{tier} {few(those)}" for tier, those in symbols.items())
    return f"left out, no forecast in this range, or in-sample alone: {told}; see `python -m bot forecast make`"
