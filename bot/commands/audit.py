"""The command `audit`: the rows of the last days held against themselves, from the journal and the bars on disk."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import anyio
from rich.text import Text

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SystemClock
from bot.commands.output import Grid, configure_logs, console, moment, print_json, print_table
from bot.config import BotFile, read_toml
from bot.errors import OperatorError
from bot.history.bars import BarFiles
from bot.journal.audit import AuditRows
from bot.journal.connection import read_journal
from bot.journal.store import VENUE, Store
from bot.messages import Position, Severity
from bot.strategy.audit import Expectations, Expected, Finding, findings, ordered
from bot.strategy.drift import drift, drifted
from bot.strategy.exit_review import Missed, missed_exit, review
from bot.strategy.tally import Tally
from bot.venue import REPLAY

LATE_RETURN_MS = 2 * HOUR_MS
WRITTEN_MS = 5 * MINUTE_MS  # after a cycle its forecasts have come or are overdue, and its rows are written
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: ""}


def print_audit(days: int, state: Path, config: Path, *, as_json: bool) -> int:
    """Print what was found; the exit status: 1 where an error is among it."""
    configure_logs()
    settings = read_toml(config, BotFile) if config.exists() else BotFile()

    async def read() -> tuple[list[Finding], int, int]:
        async with read_journal(state, settings.journal, os.environ) as pool:
            rows, venue = AuditRows(pool), await Store(pool).get_fact(VENUE)
            newest, expectations = await rows.newest(), await rows.expectations()
            if expectations is None or not newest:
                raise OperatorError(f"{state}: no signal has been written here yet; nothing to audit")
            until = end_of_days(venue, newest, SystemClock().now())
            since = until - days * DAY_MS
            return await _found(rows, expectations, BarFiles(state / "bars" / venue), since, until), since, until

    found, since, until = anyio.run(read)
    if as_json:
        print_json({"since_at": since, "until_at": until, "findings": found})
    else:
        _show(found, since, until)
    return int(any(one.severity is Severity.ERROR for one in found))


def end_of_days(venue: str, newest: int, now: int) -> int:
    """Where the days that are audited end: a replay's with its last row, those of an account just now, so that a bot
    that has died is found, and no cycle whose rows are still being written."""
    return newest + 1 if venue == REPLAY else now - WRITTEN_MS


async def _found(
    rows: AuditRows, expectations: Expectations, history: BarFiles, since: int, until: int
) -> list[Finding]:
    tally = Tally()
    async for page in rows.signals(since, until):
        tally.update(page)
    expected = Expected(symbols=expectations.symbols, since=since, until=until, up_since=expectations.up_since)
    returns = await rows.returns(since, until - expectations.horizon_ms - LATE_RETURN_MS)
    missed = _missed(await rows.held_positions(since, until), history, until)
    exits = review(missed, await rows.fired(since, until))
    differing = [drift(one, history.load(one.symbol, HOUR_MS), expectations.context) for one in tally.newest.values()]
    differences = drifted(one for one in differing if one is not None)
    return ordered([*findings(tally, expected, returns), *exits, *differences])


def _missed(positions: Iterable[Position], history: BarFiles, until: int) -> list[Missed]:
    by_symbol: defaultdict[str, list[Position]] = defaultdict(list)
    for position in positions:
        by_symbol[position.symbol].append(position)
    missed: list[Missed] = []
    for symbol, those in by_symbol.items():
        bars = history.load(symbol, HOUR_MS)
        missed += [found for one in those if (found := missed_exit(one, bars, until)) is not None]
    return missed


def _show(found: list[Finding], since: int, until: int) -> None:
    if found:
        shown = Grid("Severity", "Rule", "Subject", "Finding", fold="Finding")
        for one in found:
            shown.add_row(Text(one.severity, STYLES[one.severity]), one.rule, one.subject, one.words)
        print_table(shown)
    errors = sum(one.severity is Severity.ERROR for one in found)
    console().print(
        f"{moment(since)} to {moment(until)} UTC: {len(found)} findings, {errors} of them errors", style="dim"
    )
