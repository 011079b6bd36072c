"""Decoders under atheris, which looks for the inputs that reach new code: `python -m tests.fuzz.campaign market`."""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bot"]):
    from bot.config import BotFile, VariantFile, read_toml
    from bot.errors import ModelRefused, OperatorError, VenueError
    from bot.exchange import wire
    from bot.exchange.faults import read_scenario
    from bot.exchange.frames import read_market_frame, read_user_frame
    from bot.forecast import pointers, registry

SCRATCH = Path(tempfile.mkdtemp()) / "t1"


def rest(raw: bytes) -> None:
    """Each kind of row is tried on its own; a refusal of one says nothing about the next."""
    readers: tuple[Callable[[bytes], object], ...] = (
        lambda raw: wire.decode(raw, wire.OrderAnswer).report(),
        lambda raw: wire.decode(raw, wire.AlgoAnswer).report(),
        lambda raw: wire.decode(raw, wire.UserTrade).fill(),
        lambda raw: wire.decode(raw, wire.Income).funding_paid(),
        lambda raw: wire.decode(raw, wire.PositionRisk).position(),
    )
    for read in readers:
        with contextlib.suppress(VenueError):
            read(raw)


def symbols(raw: bytes) -> None:
    wire.instruments(raw)


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    def look(raw: bytes) -> None:
        path = SCRATCH / name
        path.write_bytes(raw)
        read(path)

    return look


TARGETS: dict[str, Callable[[bytes], object]] = {
    "market": read_market_frame,
    "user": read_user_frame,
    "rest": rest,
    "symbols": symbols,
    "bot": from_file("bot.toml", lambda path: read_toml(path, BotFile)),
    "variant": from_file("variant.toml", lambda path: read_toml(path, VariantFile)),
    "scenario": from_file("scenario.toml", read_scenario),
    "manifest": from_file("manifest.json", lambda path: registry.read_manifest(path.parent)),
    "pointer": from_file("active.json", lambda path: pointers.read(path.parent.parent, "t1")),
}
REFUSALS = (VenueError, OperatorError, ModelRefused)


def main(arguments: list[str]) -> None:
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.campaign {'|'.join(TARGETS)} [options of libFuzzer]")
    read = TARGETS[arguments[1]]
    SCRATCH.mkdir(parents=True)

    def one(raw: bytes) -> None:
        with contextlib.suppress(*REFUSALS):
            read(raw)

    atheris.Setup([arguments[0], *arguments[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
