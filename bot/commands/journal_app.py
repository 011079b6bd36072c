"""The command line of `journal`."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.options import Config, Json, Limit, State, Symbol, Variant, config_path

app = typer.Typer(rich_markup_mode=None, help="Print what the bot saw, decided and did, newest first.")


@app.command("signals")
def journal_signals(
    variant: Variant = None,
    symbol: Symbol = None,
    decision: Annotated[str | None, typer.Option(help="enter | refuse")] = None,
    limit: Limit = 50,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """One row for every variant, symbol and cycle, acted on or not."""
    from bot.commands.journal import Reading, print_signals

    reading = Reading(state=state, config=config_path(config), limit=limit, as_json=as_json)
    print_signals(reading, variant, symbol, decision)


@app.command("positions")
def journal_positions(
    variant: Variant = None,
    symbol: Symbol = None,
    status: Annotated[str | None, typer.Option(help="pending | open | closing | closed")] = None,
    limit: Limit = 50,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Entries with their stop, target and result."""
    from bot.commands.journal import Reading, print_positions

    reading = Reading(state=state, config=config_path(config), limit=limit, as_json=as_json)
    print_positions(reading, variant, symbol, status)


@app.command("orders")
def journal_orders(
    symbol: Symbol = None,
    position: Annotated[str | None, typer.Option(help="Only of this position id.")] = None,
    order_state: Annotated[str | None, typer.Option(help="Only in this state, as working or filled.")] = None,
    limit: Limit = 50,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Every order that was meant to be sent, and what became of it."""
    from bot.commands.journal import Reading, print_orders

    reading = Reading(state=state, config=config_path(config), limit=limit, as_json=as_json)
    print_orders(reading, symbol, position, order_state)


@app.command("fills")
def journal_fills(
    symbol: Symbol = None,
    position: Annotated[str | None, typer.Option(help="Only of this position id.")] = None,
    limit: Limit = 50,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Executions, and the position each was booked to."""
    from bot.commands.journal import Reading, print_fills

    print_fills(Reading(state=state, config=config_path(config), limit=limit, as_json=as_json), symbol, position)


@app.command("events")
def journal_events(
    name: Annotated[str | None, typer.Option(help="Only events of this name.")] = None,
    severity: Annotated[str | None, typer.Option(help="info | warning | error")] = None,
    limit: Limit = 50,
    state: State = Path("var"),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """What an operator may want to know: starts, stops, gaps, refusals, differences."""
    from bot.commands.journal import Reading, print_events

    print_events(Reading(state=state, config=config_path(config), limit=limit, as_json=as_json), name, severity)


@app.command("days")
def journal_days(limit: Limit = 50, state: State = Path("var"), config: Config = None, as_json: Json = False) -> None:
    """One row for each UTC day."""
    from bot.commands.journal import Reading, print_days

    print_days(Reading(state=state, config=config_path(config), limit=limit, as_json=as_json))
