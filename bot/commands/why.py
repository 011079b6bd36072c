"""The command `why`: one signal's whole story."""

import os
from pathlib import Path

import anyio

from bot.commands.output import configure_logs, console, moment, print_json
from bot.commands.telling import tell
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.journal.connection import read_journal
from bot.journal.stories import MOST, Stories, Story
from bot.messages import Signal


def print_why(prefix: str, state: Path, config: Path, *, as_json: bool) -> None:
    configure_logs()
    settings = read_toml(config, BotFile) if config.exists() else BotFile()

    async def read() -> Story:
        async with read_journal(state, settings.journal, os.environ) as pool:
            stories = Stories(pool)
            return await stories.story(_only(prefix, await stories.find(prefix)))

    story = anyio.run(read)
    sentences = tell(story)
    if as_json:
        print_json({"signal": story.signal, "position": story.position, "orders": story.orders,
                    "fills": story.fills, "sentences": sentences})  # fmt: skip
        return
    for sentence in sentences:
        console().print(sentence, soft_wrap=True, markup=False)


def _only(prefix: str, found: list[Signal]) -> Signal:
    """The signal that is meant. OperatorError where there is none, or several."""
    exact = [signal for signal in found if signal.signal_id == prefix]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise OperatorError(f"{prefix}: no signal's id begins so; `journal signals --json` lists them")
    named = ", ".join(f"{one.signal_id} ({one.variant} {one.symbol} {moment(one.cycle_at)})" for one in found[:5])
    count = f"{len(found)}" if len(found) < MOST else f"at least {MOST}"
    raise OperatorError(f"{prefix}: {count} signals' ids begin so: {named}; give more of it")
