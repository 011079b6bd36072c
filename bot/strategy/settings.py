"""Resolving a variant's keys: each value from its file, else from its tier, with its origin on record."""

import msgspec

from bot.config import Option
from bot.errors import OperatorError
from bot.hookspecs import TierTemplate


class Setting(msgspec.Struct, frozen=True):
    """One resolved key and where its value comes from."""

    key: str  # as in the TOML file
    value: Option | list[str] | None
    origin: str  # "file", "tier NAME", "plugin NAME" or "default"


class Resolver:
    """Picks each value from the file, else from the tier, and remembers which it was."""

    def __init__(self, source: str, tier: TierTemplate) -> None:
        self.source = source
        self.tier = tier
        self.settings: list[Setting] = []

    def fault(self, key: str, allowed: str) -> OperatorError:
        return OperatorError(f"{self.source}: key {key}: {allowed}")

    def note(self, key: str, value: Option | list[str] | None, origin: str) -> None:
        self.settings.append(Setting(key, value, origin))

    def pick(self, key: str, given: float | None, template: float | None) -> float | None:
        """The file's value or the tier's; None: there is none."""
        value = template if given is None else given
        self.note(key, value, f"tier {self.tier.name}" if given is None else "file")
        return value

    def needed(self, key: str, given: float | None, template: float) -> float:
        value = self.pick(key, given, template)
        assert value is not None
        return value

    def optional(self, key: str, given: float | None, template: float | None) -> float | None:
        """As `pick`, but 0 switches the rule off."""
        value = self.pick(key, given, template)
        return value or None
