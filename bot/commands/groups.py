"""A group of commands whose first word may be left out."""

import typer
from typer.core import TyperGroup


class MadeByDefault(TyperGroup):
    """`forecast VARIANTS` means `forecast make VARIANTS`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)
