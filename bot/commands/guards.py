"""The command `guards`: what the account guards measure, and a person's release. Works beside a running bot."""

import os
from pathlib import Path

import anyio
import msgspec
from rich.text import Text

from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.journal.connection import read_journal, word_for_bot
from bot.journal.guards import GuardRows
from bot.strategy.guards import LOSING_STREAK, NAMES, Guard, Track, measures, rules_of


class GuardRow(msgspec.Struct, frozen=True, kw_only=True):
    """One guard as it stood when the account was last read."""

    guard: str
    on: bool
    measure: float | None  # percent, of the streak a count; None: nothing was read yet
    limit: float | None
    release: str | int | None  # "day", "manual" or minutes
    tripped_at: int | None = None
    until_at: int | None = None  # None while tripped: until it is released by hand


class GuardsShown(msgspec.Struct, frozen=True, kw_only=True):
    equity_at: int | None
    guards: list[GuardRow]


def print_guards(state: Path, config: Path, as_json: bool) -> None:
    configure_logs()
    settings = _settings(config)

    async def read() -> Track | None:
        async with read_journal(state, settings.journal, os.environ) as pool:
            return await GuardRows(pool).load()

    track = anyio.run(read)
    shown = _shown(track, settings)
    if as_json:
        print_json(shown)
        return
    print_table(_grid(shown))
    read_at = "never" if shown.equity_at is None else f"{moment(shown.equity_at)} UTC"
    console().print(f"the account was last read: {read_at}", style="dim")


def ask_release(state: Path, config: Path, name: str, as_json: bool) -> None:
    """Leave word that the guard `name` be released. OperatorError where it is none, or not tripped."""
    configure_logs()
    if name not in NAMES:
        raise OperatorError(f"guards release {name}: expected one of {', '.join(NAMES)}")
    settings = _settings(config)

    async def ask() -> None:
        async with word_for_bot(state, settings.journal, os.environ) as pool:
            rows = GuardRows(pool)
            track = await rows.load()
            tripped = [] if track is None else [trip.guard for trip in track.tripped]
            if name not in tripped:
                raise OperatorError(
                    f"guards release {name}: it is not tripped; tripped now: {', '.join(tripped) or 'none'}"
                )
            await rows.ask_release(name)

    anyio.run(ask)
    if as_json:
        print_json({"guard": name, "asked": True})
    else:
        console().print(f"asked for: a running bot releases {name} within a minute, another one at its next start")


def _settings(config: Path) -> BotFile:
    return read_toml(config, BotFile) if config.exists() else BotFile()


def _shown(track: Track | None, settings: BotFile) -> GuardsShown:
    on = {guard.name: guard for guard in rules_of(settings.guards).guards}
    rows = [_row(name, on.get(name), track) for name in NAMES]
    known = None if track is None or track.reading is None else track.reading.at
    return GuardsShown(equity_at=known, guards=rows)


def _row(name: str, guard: Guard | None, track: Track | None) -> GuardRow:
    known = track is not None and (name == LOSING_STREAK or track.reading is not None)
    trip = None if track is None else next((trip for trip in track.tripped if trip.guard == name), None)
    return GuardRow(
        guard=name,
        on=guard is not None,
        measure=measures(track)[name] if track is not None and known else None,
        limit=None if guard is None else guard.limit,
        release=None if guard is None else guard.release,
        tripped_at=None if trip is None else trip.at,
        until_at=None if trip is None else trip.until,
    )


def _grid(shown: GuardsShown) -> Grid:
    grid = Grid("Guard", "Now", "Limit", "State", "Since UTC", "Until UTC", right="Now Limit")
    for row in shown.guards:
        until = "" if row.tripped_at is None else "release by hand" if row.until_at is None else moment(row.until_at)
        grid.add_row(
            row.guard, _amount(row, row.measure), _amount(row, row.limit), _state(row), moment(row.tripped_at), until
        )
    return grid


def _amount(row: GuardRow, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if row.guard == LOSING_STREAK else f"{value:.2f} %"


def _state(row: GuardRow) -> Text:
    if row.tripped_at is not None:
        return Text("tripped", "bold red")
    return Text("ok", "green") if row.on else Text("off", "dim")
