"""Variant files to variants."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bot.config import VariantFile, decode, parse_toml
from bot.errors import OperatorError
from bot.strategy.variant import Plugins, Variant, resolve


def variant_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and of each folder named its `*.toml` in order of name."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not inside:
            raise OperatorError(f"{path}: no *.toml in this folder; expected variant files")
        found += inside
    return list(dict.fromkeys(found))


def load_variants(paths: Iterable[Path], plugins: Plugins, account_max_positions: int) -> Sequence[Variant]:
    """All variants of the files and folders, resolved. OperatorError for the first fault, two of one name included."""
    variants: dict[str, Variant] = {}
    origins: dict[str, Path] = {}
    for path in variant_files(paths):
        raw = parse_toml(path)
        file = decode(raw, VariantFile, str(path))
        variant = resolve(str(path), file, plugins, account_max_positions, raw["variant"].keys())
        if variant.name in variants:
            raise OperatorError(f"{path}: key variant.name: '{variant.name}' is taken by {origins[variant.name]}")
        variants[variant.name], origins[variant.name] = variant, path
    return list(variants.values())
