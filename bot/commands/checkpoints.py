"""The command `checkpoints`: what the registry holds, what serves each tier, and how to change it."""

import getpass
import os
import re
import socket
from pathlib import Path

import msgspec
from rich.text import Text

from bot.clock import SystemClock
from bot.commands.checkpoint_tables import Details, Row, Verified, details_table, rows_table, verified_table
from bot.commands.output import configure_logs, print_json, print_table
from bot.config import BotFile, read_toml
from bot.errors import ModelRefused, OperatorError
from bot.forecast import pointers, registry
from bot.forecast.checkpoints import CHECKPOINTS, Base, identify, locate
from bot.forecast.foreign import bring_in
from bot.forecast.registry import BASE
from bot.forecast.verification import verify


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """What an activation, a rollback or an import came to."""

    tier: str
    checkpoint: str
    serves_as: str | None  # None: the base
    changed_at: int | None = None
    by: str | None = None
    steps_back: int | None = None  # how often rollback can go back from here


def print_list(checkpoints: Path | None, tier: str | None, as_json: bool) -> None:
    configure_logs()
    directory = checkpoints or CHECKPOINTS
    wanted = _tiers(directory, tier)
    rows = [_row(directory, one, name) for one in wanted for name in registry.names(directory, one)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        whose = "every tier" if tier is None else f"tier {tier}"
        below = directory / (tier or "")
        print_table(Text(f"no checkpoint below {below}: {whose} runs on the base; see `checkpoints import`"))
        return
    print_table(rows_table(rows))


def print_one(checkpoints: Path | None, tier: str, checkpoint: str | None, as_json: bool) -> None:
    configure_logs()
    directory = checkpoints or CHECKPOINTS
    registry.check_name("tier", tier)
    pointer = pointers.read(directory, tier)
    active = BASE if pointer is None else pointer.current.checkpoint
    wanted = checkpoint or active
    if wanted == BASE:
        raise OperatorError(f"tier {tier} runs on the base, which `python -m bot model` shows; name a checkpoint")
    found = registry.find(directory, tier, wanted)
    details = Details(
        tier=tier,
        id=wanted,
        serves_as=found.serves_as,
        active=wanted == active,
        manifest=found.manifest,
        pointer=pointer,
    )
    if as_json:
        print_json(details)
    else:
        print_table(details_table(details))


def print_verified(
    checkpoints: Path | None, config: Path, tier: str | None, checkpoint: str | None, as_json: bool
) -> None:
    """Verify what was named, or all; the first fault is raised after everything was printed."""
    configure_logs()
    directory = checkpoints or CHECKPOINTS
    base = _base(directory, config)
    if tier is not None and checkpoint is not None:
        wanted = [(tier, checkpoint)]
    else:
        tiers = _tiers(directory, tier)
        wanted = [(one, name) for one in tiers for name in registry.names(directory, one)]
    told = [_verified(directory, one, name, base) for one, name in wanted]
    if as_json:
        print_json(told)
    elif told:
        print_table(verified_table(told, f"{base.name}@{base.sha256[:8]}"))
    else:
        print_table(Text(f"no checkpoint to verify below {directory / (tier or '')}"))
    faults = [one.fault for one in told if one.fault is not None]
    if faults:
        raise ModelRefused(f"{len(faults)} of {len(told)} refused: {faults[0]}")


def activate_one(checkpoints: Path | None, config: Path, tier: str, checkpoint: str, as_json: bool) -> None:
    configure_logs()
    directory = checkpoints or CHECKPOINTS
    base = _base(directory, config)
    pointer = pointers.activate(directory, tier, checkpoint, base, at=SystemClock().now(), by=_operator())
    _tell(directory, tier, pointer, as_json)


def roll_back(checkpoints: Path | None, config: Path, tier: str, as_json: bool) -> None:
    configure_logs()
    directory = checkpoints or CHECKPOINTS
    base = _base(directory, config)
    pointer = pointers.rollback(directory, tier, base, at=SystemClock().now(), by=_operator())
    _tell(directory, tier, pointer, as_json)


def import_one(
    checkpoints: Path | None,
    config: Path,
    tier: str,
    source: Path,
    checkpoint: str | None,
    licence: str | None,
    as_json: bool,
) -> None:
    configure_logs()
    if not source.exists():
        raise OperatorError(f"{source}: no such file or folder")
    directory = checkpoints or CHECKPOINTS
    name = checkpoint or re.sub(r"[^A-Za-z0-9]+", "-", source.resolve().stem).strip("-")[:64]
    base = _base(directory, config)
    found = bring_in(source, directory, tier, name, base, licence=licence)
    if as_json:
        print_json(Activated(tier=tier, checkpoint=name, serves_as=found.serves_as))
        return
    print_table(
        Text(
            f"{found.serves_as}: a {found.manifest.method} checkpoint of {found.manifest.bytes / 1e6:.2f} MB for the "
            f"base {base.name}; `checkpoints activate {tier} {name}` makes it serve"
        )
    )


def _base(directory: Path, config: Path) -> Base:
    settings = (read_toml(config, BotFile) if config.exists() else BotFile()).model
    return identify(locate(settings.base, directory))


def _tiers(directory: Path, named: str | None) -> list[str]:
    """The tier that was named, or all that have a folder. OperatorError where the one that was named has none."""
    every = list(registry.tiers(directory))
    if named is None:
        return every
    registry.check_tier(directory, named)
    if named not in every:
        known = ", ".join(every) or "none"
        raise OperatorError(
            f"{directory / named}: tier {named} has no folder here, and without one it runs on the base; there are: "
            f"{known}"
        )
    return [named]


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _row(directory: Path, tier: str, name: str) -> Row:
    active = pointers.current(directory, tier) == name
    try:
        found = registry.find(directory, tier, name)
    except ModelRefused as refused:
        return Row(tier=tier, id=name, active=active, fault=str(refused))
    manifest = found.manifest
    return Row(
        tier=tier,
        id=name,
        active=active,
        serves_as=found.serves_as,
        method=manifest.method,
        rank=manifest.rank,
        targets=manifest.targets,
        bytes=manifest.bytes,
        base=manifest.base,
        base_sha256=manifest.base_sha256,
        cutoff_at=manifest.cutoff,
        created=manifest.created,
        licence=manifest.licence,
        validation_ic=None if manifest.validation is None else manifest.validation.ic,
        test_ic=None if manifest.test is None else manifest.test.ic,
    )


def _verified(directory: Path, tier: str, name: str, base: Base) -> Verified:
    try:
        verify(registry.find(directory, tier, name), base)
    except ModelRefused as refused:
        return Verified(tier=tier, id=name, ok=False, fault=str(refused))
    return Verified(tier=tier, id=name, ok=True)


def _tell(directory: Path, tier: str, pointer: pointers.Pointer, as_json: bool) -> None:
    now = pointer.current
    serves_as = None if now.checkpoint == BASE else registry.find(directory, tier, now.checkpoint).serves_as
    told = Activated(
        tier=tier,
        checkpoint=now.checkpoint,
        serves_as=serves_as,
        changed_at=now.at,
        by=now.by,
        steps_back=len(pointer.history),
    )
    if as_json:
        print_json(told)
        return
    before = pointer.history[-1].checkpoint if pointer.history else None
    way_back = f"`checkpoints rollback {tier}` goes back to {before}" if before else "nothing was active before"
    print_table(Text(f"tier {tier} now runs on {serves_as or 'the base'}; {way_back}"))
