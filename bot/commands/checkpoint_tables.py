"""What `checkpoints` prints: rows of the registry, one checkpoint in detail, verdicts."""

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.commands.model import by_symbol, scores
from bot.commands.output import Grid, day, moment, table
from bot.forecast.pointers import Pointer
from bot.forecast.registry import CheckpointManifest


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint in a list; `fault` where its manifest cannot be read."""

    tier: str
    id: str
    active: bool
    serves_as: str | None = None
    method: str | None = None
    rank: int | None = None
    targets: tuple[str, ...] = ()
    bytes: int | None = None
    base: str | None = None
    base_sha256: str | None = None
    cutoff_at: int | None = None
    created: str | None = None
    licence: str | None = None
    validation_ic: float | None = None
    test_ic: float | None = None
    fault: str | None = None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    tier: str
    id: str
    ok: bool
    fault: str | None = None


class Details(msgspec.Struct, frozen=True, kw_only=True):
    tier: str
    id: str
    serves_as: str
    active: bool
    manifest: CheckpointManifest
    pointer: Pointer | None


def rows_table(rows: Sequence[Row]) -> RenderableType:
    names = (
        "Tier",
        "Id",
        "Active",
        "Method",
        "Rank",
        "Targets",
        "MB",
        "Cutoff",
        "IC valid.",
        "IC test",
        "Base",
        "Licence",
    )
    shown = Grid(*names, right="Rank MB", first_to_go=("Licence", "Targets", "Base", "Rank"))
    for row in rows:
        if row.fault is not None:
            shown.add_row(row.tier, row.id, _mark(row.active), Text("broken", style="red"), *[""] * 8)
            continue
        shown.add_row(
            row.tier,
            row.id,
            _mark(row.active),
            row.method or "",
            "" if row.rank is None else str(row.rank),
            " ".join(row.targets),
            "" if row.bytes is None else f"{row.bytes / 1e6:.2f}",
            "" if row.cutoff_at is None else day(row.cutoff_at),
            _ic(row.validation_ic),
            _ic(row.test_ic),
            row.base or "",
            row.licence or "unknown",
        )
    broken = [Text(f"{row.fault}", style="red") for row in rows if row.fault is not None]
    return Group(shown, *broken)


def _mark(active: bool) -> Text:
    return Text("active", style="green") if active else Text("")


def _ic(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def verified_table(told: Sequence[Verified], base: str) -> RenderableType:
    shown = table("Tier", "Id", "Verdict", fold="Verdict")
    for one in told:
        verdict = Text(f"fits {base}", style="green") if one.ok else Text(one.fault or "", style="red")
        shown.add_row(one.tier, one.id, verdict)
    return shown


def details_table(details: Details) -> RenderableType:
    parts: list[RenderableType] = [_facts(details), Text()]
    if details.manifest.validation is None and details.manifest.test is None:
        parts.append(Text("no scores: its manifest has none", style="dim"))
    else:
        parts += [scores(details.manifest), Text(), by_symbol(details.manifest)]
    if details.pointer is not None:
        parts += [Text(), _history(details.pointer)]
    return Group(*parts)


def _facts(details: Details) -> Table:
    manifest, data = details.manifest, details.manifest.data
    low_rank = (
        f"rank {manifest.rank}, alpha {manifest.alpha:g}, on {', '.join(manifest.targets)}" if manifest.rank else ""
    )
    rows = {
        "checkpoint": f"{details.serves_as} ({'active' if details.active else 'not active'})",
        "method": " ".join(filter(None, (manifest.method, low_rank))),
        "base": f"{manifest.base}@{manifest.base_sha256[:8]}",
        "file": f"{manifest.file}, {manifest.bytes / 1e6:.2f} MB, sha256 {manifest.sha256[:16]}…",
        "licence": manifest.licence or "unknown: does not trade on a live venue",
        "created": manifest.created or "unknown",
        "cutoff": "unknown" if manifest.cutoff is None else moment(manifest.cutoff),
        "trained on": "unknown"
        if data is None
        else f"{len(data.symbols)} symbols, {data.bars:,} bars, {day(data.train_from)} to {day(data.train_to)}",
        "input statistics": "none" if manifest.inputs is None else f"of {manifest.inputs.windows:,} windows",
        "origin": manifest.origin or "",
    }
    shown = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            shown.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return shown


def _history(pointer: Pointer) -> Table:
    shown = table("Activated", "At (UTC)", "By")
    for number, one in enumerate((pointer.current, *reversed(pointer.history))):
        name = Text(f"{one.checkpoint} (now)", style="green") if not number else Text(one.checkpoint)
        shown.add_row(name, moment(one.at), one.by)
    return shown
