"""One process of the bot: the real session over a connection to the database and a wire to the venue."""

import contextlib
import io
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from rich.console import Console

from bot.app import Parts, Session
from bot.config import AccountTable, BotFile, GuardsTable, ModelTable, OrdersTable, VariantFile, decode
from bot.errors import DatabaseAway, OperatorError, VenueError
from bot.exchange.budget import RequestBudget
from bot.forecast.watch import HealthWatch
from bot.journal.durable import Durable
from bot.journal.spool import Spool
from bot.messages import BotEvent, Severity
from bot.metrics import Metrics
from bot.plugin_host import PluginHost
from bot.strategy import exits
from bot.strategy.variant import Variant, resolve
from bot.terminal.board import TerminalMessage
from bot.terminal.view import TerminalView, terminal_stream
from bot.venues import LIMITS_LAG_MS, Venue
from tests.simulation.database import Connection, GuardRows, Link, Tables
from tests.simulation.exchange import Exchange
from tests.simulation.invariants import CallWatch
from tests.simulation.life import Life, ProcessDied
from tests.simulation.model import CONTEXT, SeededForecaster
from tests.simulation.ports import Market, Trading, User
from tests.simulation.wire import Wire


@cache
def plugins() -> PluginHost:
    exits.prepare()
    return PluginHost.load(installed=False)


def make_variants(tables: tuple[dict[str, Any], ...]) -> tuple[Variant, ...]:
    files = [decode(table, VariantFile, f"{table['variant']['name']}.toml") for table in tables]
    return tuple(resolve(f"{file.variant.name}.toml", file, plugins().plugins, 44) for file in files)


SPOOL_BYTES = 10_000_000


class NoWords:
    """Nobody gives the bot an order."""

    async def follow(self, send: Callable[[object], None]) -> None:
        await anyio.sleep_forever()


class Process:
    """Runs until it is stopped, dies or fails; `ended` then says which."""

    def __init__(
        self,
        exchange: Exchange,
        tables: Tables,
        life: Life,
        watch: CallWatch,
        network: TaskGroup,
        *,
        variants: tuple[Variant, ...],
        guards: GuardsTable,
        orders: OrdersTable,
        seed: int,
        folder: Path,
    ) -> None:
        self.exchange, self.life = exchange, life
        self.started = anyio.Event()
        self.stop = anyio.Event()
        life.ask_to_stop = self.stop.set
        self.over = anyio.Event()
        self.ended = ""
        self.failure: BaseException | None = None
        self._tables, self._folder = tables, folder
        self._network, self._calls = network, watch
        self._settings = BotFile(
            model=ModelTable(context=CONTEXT), account=AccountTable(client_prefix="tsb"), guards=guards, orders=orders
        )
        self._variants, self._seed = variants, seed
        self.session: Session | None = None

    @contextlib.contextmanager
    def _parts(self) -> Iterator[Parts]:
        """As `bot.run` opens them, the lanes and the spools included."""
        tables, life, metrics, link = self._tables, self.life, Metrics(), Link(self._tables)
        hasty, patient = Connection(tables, life, link), Connection(tables, life, link, patient=True)
        spools = self._folder / "spool"
        with (
            contextlib.closing(Spool(spools / "desk", SPOOL_BYTES)) as desk,
            contextlib.closing(Spool(spools / "journal", SPOOL_BYTES)) as journal,
        ):
            self.durable = Durable(hasty, hasty, link, desk, journal, link.reach)
            yield Parts(
                settings=self._settings,
                variants=self._variants,
                symbols=self.exchange.symbols,
                model=SeededForecaster(self._seed),
                store=self.durable.store,
                guards=GuardRows(patient),
                records=self.durable.records,
                hold_database=self.durable.run,
                words=NoWords(),
                audit=patient,
                recent=hasty.recent,
                bars=self._folder / "bars",
                show=self._show,
                view=TerminalView(terminal_stream(), Console(file=io.StringIO())),
                metrics=metrics,
                watch=HealthWatch(metrics),
            )

    def _venue(self) -> Venue:
        budget = RequestBudget(self._tables.closed_until, self._remember)
        wire = Wire(self.exchange, self.life, self._network, self._calls, budget)
        return Venue(
            name="live", clock=self.exchange.clock, market=Market(wire), user=User(wire), trading=Trading(wire)
        )

    def _remember(self, closed_until: int) -> None:
        """What the venue said of silence outlives the process."""
        self._tables.closed_until = closed_until

    async def _live(self) -> None:
        clock = self.exchange.clock
        with self._parts() as parts:
            await self.durable.begin()
            await clock.sleep_until(self._tables.closed_until + LIMITS_LAG_MS)
            self.session = Session(parts)
            await self.session.trade_while(self._venue(), self._until_stopped)

    async def run(self) -> None:
        try:
            with self.life.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self.life.die_in_time)
                    await self._live()
                    group.cancel_scope.cancel()
        except BaseException as failure:
            self._judge(failure)
        else:
            self.ended = "died" if self.life.dead else "stopped"
        self.life.dead = True
        self.over.set()

    def _judge(self, failure: BaseException) -> None:
        """A death of ours, a venue that was away at the start, or a fault of the bot."""
        kinds = {type(one) for one in _leaves(failure)}
        if kinds <= {ProcessDied, anyio.get_cancelled_exc_class()}:
            self.ended = "died"
        elif all(issubclass(kind, VenueError | DatabaseAway) for kind in kinds) and not self.started.is_set():
            self.ended = "not started"
        elif kinds == {OperatorError}:
            self.ended, self.failure = "refused", failure
        else:
            self.ended, self.failure = "failed", failure

    async def _until_stopped(self) -> bool:
        self.started.set()
        await self.stop.wait()
        return True

    def _show(self, message: TerminalMessage) -> None:
        if isinstance(message, BotEvent) and self.exchange.trace.on:
            shout = "" if message.severity is Severity.INFO else f"[{message.severity}] "
            detail = ", ".join(f"{key}={value}" for key, value in message.detail.items())
            self.exchange.trace.note(self.exchange.clock.now(), "bot", f"{shout}{message.name} {detail}")


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for one in failure.exceptions for leaf in _leaves(one)]
    return [failure]
