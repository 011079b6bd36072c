"""The command `run`: what the operator asked for is opened, a session trades, and a report is left behind."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from rich.console import Console

from bot import logs
from bot.app import Parts, Session
from bot.audit.auditor import FINDING
from bot.config import BotFile, Secrets, read_toml
from bot.errors import OperatorError
from bot.forecast.checkpoints import CHECKPOINTS, Loaded, load
from bot.forecast.health import KEPT_MS
from bot.forecast.memory import Ceiling
from bot.forecast.serving import Serving
from bot.forecast.watch import TOLD, HealthWatch
from bot.journal.audit import AuditRows
from bot.journal.connection import whereabouts
from bot.journal.database import Patient
from bot.journal.guards import GuardRows
from bot.journal.instance import account_lock
from bot.journal.opening import Journal, open_for_bot
from bot.journal.queries import Queries
from bot.journal.store import Store
from bot.journal.words import Words
from bot.messages import BotEvent
from bot.metrics import Metrics
from bot.plugin_host import PluginHost
from bot.replay import MarketOptions
from bot.research.report import print_report, write_report
from bot.research.run_facts import RunFacts, audit_words, max_drawdown
from bot.strategy import exits, follow
from bot.strategy.variant import Variant
from bot.terminal.view import TerminalView, terminal_stream
from bot.variants.files import load_variants
from bot.venue import REPLAY, VENUES
from bot.venues import Ears, SimulatorReport, open_venue

STARTS = "starts"  # fact: how often this journal's bot was started
REPLAY_ANSWER_SECONDS = 60.0
CLOSED_UNTIL = "venue_closed_until"  # fact: ms UTC; before it the venue wants no calls


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `run`."""

    variants: tuple[Path, ...]
    venue: str
    config: Path
    state: Path
    plugins: tuple[Path, ...] = ()
    checkpoints: Path | None = None
    market: MarketOptions = MarketOptions()
    simulator_url: str | None = None
    keep: bool = False
    flatten: bool = False  # when stopped, close everything
    view: bool = True


def run_bot(options: RunOptions) -> int:
    """Trade until the venue's market ends or a signal stops it; the exit status."""
    return anyio.run(_run, options, backend_options={"use_uvloop": sys.platform != "win32"})


def read_settings(config: Path) -> BotFile:
    return read_toml(config, BotFile) if config.exists() else BotFile()


async def _run(options: RunOptions) -> int:
    if options.venue not in VENUES:
        raise OperatorError(f"--venue {options.venue}: expected one of {', '.join(VENUES)}")
    began = time.monotonic()
    settings = read_settings(options.config)
    plugins = PluginHost.load(options.plugins).plugins
    found = load_variants(options.variants, plugins, settings.account.max_positions)
    variants = tuple(variant for variant in found if variant.enabled)
    if not variants:
        raise OperatorError("no variant is enabled: set variant.enabled = true in one of the files")
    symbols = tuple(dict.fromkeys(symbol for variant in variants for symbol in variant.symbols))
    _refuse_early(options, settings, symbols)
    logs.configure(logs.log_file(options.state))
    console = Console(stderr=True)
    console.print(f"loading the model {settings.model.base} ...", style="dim", soft_wrap=True)
    loaded, serving = await anyio.to_thread.run_sync(_load_model, options, settings, variants)
    for prepare in (exits.prepare, follow.prepare):
        await anyio.to_thread.run_sync(prepare)
    console.print("opening the journal ...", style="dim", soft_wrap=True)
    async with _open_journal(options, settings) as journal:
        where = whereabouts(options.state, settings.journal, os.environ)
        console.print(f"the journal is in {where}", style="dim", soft_wrap=True)
        store, patient = Store(journal.database), Patient(journal.database)
        queries = Queries(journal.database)
        inbox, metrics = terminal_stream(), Metrics()
        parts = Parts(
            settings=settings,
            variants=variants,
            symbols=symbols,
            model=serving,
            store=journal.durable.store,
            guards=GuardRows(patient),
            records=journal.durable.records,
            hold_database=journal.run,
            words=Words(patient),
            flatten=options.flatten,
            audit=AuditRows(patient),
            recent=queries.recent,
            bars=options.state / "bars" / options.venue,
            show=inbox.send_nowait,
            view=TerminalView(inbox, _view_console(options), title=_title(options, variants)),
            metrics=metrics,
            watch=HealthWatch(metrics),
        )
        async with _measured(metrics, settings.metrics.port):
            return await _trade(options, parts, loaded, store, queries, began)


def _open_journal(options: RunOptions, settings: BotFile) -> contextlib.AbstractAsyncContextManager[Journal]:
    """A replay waits for its database, because nothing happens meanwhile; elsewhere the market does not wait."""
    if options.venue == REPLAY:
        return open_for_bot(options.state, settings.journal, os.environ, answer_seconds=REPLAY_ANSWER_SECONDS)
    account = account_lock(Secrets.from_environment().api_key, settings.account.client_prefix)
    return open_for_bot(options.state, settings.journal, os.environ, account=account)


@contextlib.asynccontextmanager
async def _measured(metrics: Metrics, port: int) -> AsyncIterator[None]:
    """The metrics page, and what only a running loop can tell of itself; port 0: neither."""
    async with anyio.create_task_group() as group:
        if port:
            group.start_soon(metrics.watch_loop)
        with metrics.served(port):
            yield
        group.cancel_scope.cancel()


def _refuse_early(options: RunOptions, settings: BotFile, symbols: tuple[str, ...]) -> None:
    """What can be known to be wrong before anything is loaded, opened or emptied."""
    try:
        options.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"--state {options.state}: {error.strerror}; expected a folder for its files") from None
    if options.venue != REPLAY:
        Secrets.from_environment()
    elif options.simulator_url is None and options.keep:
        raise OperatorError(
            "--keep: goes with --simulator URL alone; a simulator of the run's own starts a new account"
        )
    elif options.simulator_url is None:
        options.market.options(symbols, str(settings.account.starting_balance), 0, until_stdin_closes=True)


async def _begin(options: RunOptions, store: Store) -> int:
    """Tie the journal to the venue, which has answered, so that a mistyped market empties nothing; count the start."""
    await store.bind(options.venue, fresh=options.venue == REPLAY and not options.keep)
    starts = int(await store.get_fact(STARTS) or 0) + 1
    await store.set_fact(STARTS, starts)
    return starts


async def _trade(
    options: RunOptions, parts: Parts, loaded: Loaded, store: Store, queries: Queries, began: float
) -> int:
    session = Session(parts)
    session.check.may_heal = options.market.scenario is not None
    async with open_venue(
        options.venue,
        parts.settings,
        parts.symbols,
        options.market,
        options.simulator_url,
        session.activity,
        await _ears(options, parts, session, store),
        session.on_quiet,
    ) as venue:
        starts = await _begin(options, store)
        started_at = venue.clock.now()
        await _remember(parts.watch, queries, started_at)
        await session.trade(venue)
        if not session.flattened:  # the simulator told its digest before
            session.check.compare_fills(venue.clock.now(), await store.fills_digest())
        told = await venue.replay.facts() if venue.replay is not None else None
        span = (told.started_at if told is not None else started_at, venue.clock.now())
    facts = await _facts(options, parts, loaded, queries, session, span, told, starts, time.monotonic() - began)
    write_report(options.state / "report", facts)
    print_report(Console(), facts)
    _say_what_is_open(facts, session.unfinished, goes_on=options.venue != REPLAY or options.simulator_url is not None)
    Console(stderr=True).print(f"written to {options.state / 'report' / 'report.html'}", style="dim", soft_wrap=True)
    if session.check.differences:
        Console(stderr=True).print("the ledger does not equal the venue's: see the event ledger_differs", style="red")
        return 1
    return 0


async def _ears(options: RunOptions, parts: Parts, session: Session, store: Store) -> Ears:
    """What the venue's edge tells, and to whom; a replay's time is its own, so that no silence outlives it."""
    closed_until = await store.get_fact(CLOSED_UNTIL) if options.venue != REPLAY else None
    return Ears(
        report=session.streams.journal.send_nowait,
        stand=session.streams.desk.send_nowait,
        measured=parts.metrics.clock_measured,
        remember=functools.partial(parts.store.set_fact, CLOSED_UNTIL),
        closed_until=int(closed_until or 0),
    )


async def _remember(watch: HealthWatch, queries: Queries, now: int) -> None:
    """What the models said and what was told of it before this start."""
    told = await queries.told(TOLD, now - KEPT_MS)
    events = [BotEvent(at=event.at, name=event.name, severity=event.severity, detail=event.detail) for event in told]
    watch.restore(await queries.said(now, KEPT_MS), events)


async def _facts(
    options: RunOptions,
    parts: Parts,
    loaded: Loaded,
    queries: Queries,
    session: Session,
    span: tuple[int, int],
    told: SimulatorReport | None,
    starts: int,
    wall_seconds: float,
) -> RunFacts:
    journal = await queries.run_facts()
    start = journal.ledger.starting_wallet or Decimal(0)
    if told is not None:
        equity = told.equity
    else:  # of a real venue only what was realised is on record
        equity = ((span[0], start), *((point.at, point.wallet) for point in await queries.equity_curve()))
    trades = tuple(await queries.closed_positions())
    held = tuple(await parts.store.load_open_positions())
    return RunFacts(
        venue=options.venue,
        started_at=span[0],
        ended_at=span[1],
        symbols=parts.symbols,
        variants=tuple(variant.name for variant in parts.variants),
        signals=journal.signals,
        refusals={row.reason: row.count for row in journal.reasons if row.decision == "refuse"},
        orders=journal.orders,
        entries_filled=journal.entries_filled,
        exits=journal.exits,
        fees=journal.ledger.fees,
        funding=journal.ledger.funding,
        net_pnl=journal.net_pnl,
        max_drawdown=max_drawdown(equity),
        naked_seconds=told.naked_seconds if told is not None else float(sum(p.naked_seconds for p in [*trades, *held])),
        ledger_equal=session.check.equal,
        ledger_checks=session.check.checks,
        restarts=starts - 1,
        wall_seconds=round(wall_seconds, 1),
        starting_balance=start,
        equity=equity,
        trades=trades,
        still_open=held,
        interrupted=session.interrupted,
        audit=audit_words((event.severity, event.detail) for event in reversed(await queries.events(100_000, FINDING))),
        model=f"{loaded.description.checkpoint} ({loaded.description.licence})",
        market=options.market.describe() if options.venue == REPLAY else options.venue,
    )


def _say_what_is_open(facts: RunFacts, unfinished: Sequence[str], *, goes_on: bool) -> None:
    console = Console(stderr=True)
    for position in facts.still_open:
        quantity = position.open_quantity
        held = f"open {quantity}, stop {position.stop_price}" if quantity > 0 else "its entry rests at the venue"
        console.print(f"left: {position.symbol} {position.side} {held} ({position.position_id})", soft_wrap=True)
    for what in unfinished:
        console.print(f"unfinished: {what}", style="red", soft_wrap=True)
    if unfinished and goes_on:
        advice = "start the bot again, which sees to it first; where trading is halted, a person does (state show)"
        console.print(advice, style="red", soft_wrap=True)


def _load_model(options: RunOptions, settings: BotFile, variants: Sequence[Variant]) -> tuple[Loaded, Serving]:
    """The base, and beside it what each tier is to run on."""
    directory, live = options.checkpoints or CHECKPOINTS, options.venue == "live"
    ceiling = Ceiling(settings.model.memory_limit_mb)
    loaded = load(
        settings.model.base,
        directory,
        context=settings.model.context,
        dtype=settings.model.dtype,
        threads=settings.model.threads,
        live=live,
        ceiling=ceiling,
    )
    choices = {variant.tier: variant.checkpoint for variant in variants}
    return loaded, Serving(loaded, directory, choices, ceiling, live=live)


def _view_console(options: RunOptions) -> Console:
    return Console(stderr=True) if options.view else Console(stderr=True, force_terminal=False)


def _title(options: RunOptions, variants: tuple[Variant, ...]) -> str:
    return f"{options.venue}: {', '.join(variant.name for variant in variants)}"
