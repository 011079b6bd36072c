"""The commands `state` and `flatten`: why trading is held back, and a person's word for the bot that runs."""

import getpass
import os
from pathlib import Path

import anyio
import msgspec

from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table
from bot.config import BotFile, read_toml
from bot.journal.connection import read_journal, word_for_bot
from bot.journal.instance import is_held
from bot.journal.words import Said, Word, Words
from bot.messages import TradingState

STANDING = "standing_orders"  # the desk's fact

_TAKES = {
    "reduce": "opens nothing more; exits and stops go on",
    "halt": "sends nothing but cancels; stops stay at the venue",
    "activate": "trades again, where nothing else holds it back",
    "flatten": "closes everything and opens nothing until `state activate`",
}


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One standing order that waits for a person."""

    state: TradingState
    reason: str
    by: str
    at: int
    detail: str = ""


class StateShown(msgspec.Struct, frozen=True, kw_only=True):
    running: bool
    held: list[Held]
    asked: list[Said]  # and not taken by a bot yet


def print_state(state: Path, config: Path, as_json: bool) -> None:
    configure_logs()
    shown = anyio.run(_read, state, _settings(config))
    if as_json:
        print_json(shown)
        return
    grid = Grid("Since UTC", "State", "Reason", "By", "Detail")
    for held in shown.held:
        grid.add_row(moment(held.at), str(held.state), held.reason, held.by, held.detail)
    if shown.held:
        print_table(grid)
    else:
        console().print("nothing waits for a person")
    for said in shown.asked:
        console().print(f"asked for and not taken yet: {said.word} (by {said.by}, {moment(said.asked_at)} UTC)")
    console().print("a bot is running" if shown.running else "no bot is running", style="dim")


def leave_word(state: Path, config: Path, word: Word, reason: str, as_json: bool) -> None:
    """Leave word for the bot that runs, or for the next one."""
    configure_logs()
    settings, by = _settings(config), getpass.getuser()

    async def leave() -> bool:
        async with word_for_bot(state, settings.journal, os.environ) as pool:
            await Words(pool).leave(word, reason, by)
            return await is_held(pool)

    running = anyio.run(leave)
    if as_json:
        print_json({"word": word, "reason": reason, "by": by, "running": running})
    else:
        when = "within seconds the bot" if running else "no bot is running; the next one, from its start,"
        console().print(f"asked for: {when} {_TAKES[word]}")


async def _read(state: Path, settings: BotFile) -> StateShown:
    async with read_journal(state, settings.journal, os.environ) as pool:
        held = await pool.fetchval("SELECT value FROM bot.account WHERE key = $1", STANDING)
        return StateShown(
            running=await is_held(pool),
            held=msgspec.convert(held or [], list[Held]),
            asked=await Words(pool).waiting(),
        )


def _settings(config: Path) -> BotFile:
    return read_toml(config, BotFile) if config.exists() else BotFile()
