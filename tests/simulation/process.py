"""One process of the bot: the real session over a connection to the database and a wire to the venue."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from rich.console import Console

from bot.app import Parts, Session
from bot.config import AccountTable, BotFile, GuardsTable, ModelTable, OrdersTable, VariantFile, decode
from bot.errors import OperatorError, VenueError
from bot.forecast.watch import HealthWatch
from bot.messages import BotEvent, Severity
from bot.metrics import Metrics
from bot.plugin_host import PluginHost
from bot.strategy import exits
from bot.strategy.variant import Variant, resolve
from bot.terminal.board import TerminalMessage
from bot.terminal.view import TerminalView, terminal_stream
from bot.venues import Venue
from tests.simulation.database import Connection, GuardRows, Tables
from tests.simulation.exchange import Exchange
from tests.simulation.invariants import CallWatch
from tests.simulation.life import Life, ProcessDied
from tests.simulation.model import CONTEXT, SeededForecaster
from tests.simulation.ports import Market, Trading, User, Wire

NO_GUARDS = GuardsTable(day_drawdown_pct=0, drawdown_pct=0, daily_loss_pct=0, losing_streak=0)


@cache
def plugins() -> PluginHost:
    exits.prepare()
    return PluginHost.load(installed=False)


def make_variants(tables: tuple[dict[str, Any], ...]) -> tuple[Variant, ...]:
    files = [decode(table, VariantFile, f"{table['variant']['name']}.toml") for table in tables]
    return tuple(resolve(f"{file.variant.name}.toml", file, plugins().plugins, 44) for file in files)


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
        bars: Path,
    ) -> None:
        self.exchange, self.life = exchange, life
        self.started = anyio.Event()
        self.stop = anyio.Event()
        self.over = anyio.Event()
        self.ended = ""
        self.failure: BaseException | None = None
        connection, wire, metrics = Connection(tables, life), Wire(exchange, life, network, watch), Metrics()
        self.session = Session(
            Parts(
                settings=BotFile(
                    model=ModelTable(context=CONTEXT),
                    account=AccountTable(client_prefix="tsb"),
                    guards=guards,
                    orders=orders,
                ),
                variants=variants,
                symbols=exchange.symbols,
                model=SeededForecaster(seed),
                store=connection,
                guards=GuardRows(connection),
                records=connection,
                audit=connection,
                recent=connection.recent,
                bars=bars,
                show=self._show,
                view=TerminalView(terminal_stream(), Console(file=io.StringIO())),
                metrics=metrics,
                watch=HealthWatch(metrics),
            )
        )
        self._venue = Venue(
            name="live", clock=exchange.clock, market=Market(wire), user=User(wire), trading=Trading(wire)
        )

    async def run(self) -> None:
        try:
            with self.life.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self.life.die_in_time)
                    await self.session.trade_while(self._venue, self._until_stopped)
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
        elif all(issubclass(kind, VenueError) for kind in kinds) and not self.started.is_set():
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
