"""A group of commands whose first word may be left out."""

from typing import Any

from typer.core import TyperGroup


class MadeByDefault(TyperGroup):
    """`forecast VARIANTS` means `forecast make VARIANTS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)
