"""Opens the journal's database: which server, a pool whose values are ours, one bot per database."""

import contextlib
import functools
import socket
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import msgspec
import numpy as np
from anyio.lowlevel import checkpoint

from bot.config import JournalTable
from bot.errors import DatabaseAway, OperatorError
from bot.journal import embedded
from bot.journal.database import APPLICATION, LOST
from bot.journal.instance import InstanceLock, held
from bot.journal.migrations import migrate, require_current
from bot.logs import protect_dsn

POOL_SIZE = 4
_POSTGRES_EPOCH_MS = 946_684_800_000  # 2000-01-01
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60  # a database that is silent for longer ends the process
_JSONB_VERSION = b"\x01"  # what precedes the text in the binary format, the only one that whole rows can carry


def _encode_time(at: int) -> tuple[int]:
    return ((at - _POSTGRES_EPOCH_MS) * 1_000,)


def _decode_time(value: tuple[int]) -> int:
    return value[0] // 1_000 + _POSTGRES_EPOCH_MS


def _encode_json(value: Any) -> bytes:
    return _JSONB_VERSION + msgspec.json.encode(value, enc_hook=of_numpy)


def of_numpy(value: Any) -> Any:
    """A filter's values come straight from its arithmetic, which is numpy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _decode_json(value: bytes) -> Any:
    return msgspec.json.decode(value[1:])


def values_of(row: "asyncpg.Record") -> dict[str, Any]:
    """The columns by name; numbers without an exponent, as a venue wants them (asyncpg makes 1E+2 of 100)."""
    return {name: _plain(value) if type(value) is Decimal else value for name, value in row.items()}


def _plain(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return Decimal(format(value, "f")) if isinstance(exponent, int) and exponent > 0 else value


async def _speak_our_types(connection: "asyncpg.Connection") -> None:
    """timestamptz is ms UTC, jsonb is what msgspec makes of it; numeric is Decimal already."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encode_time, decoder=_decode_time, format="tuple"
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_json, decoder=_decode_json, format="binary"
    )


async def _keep_session(connection: "asyncpg.Connection") -> None:
    """Nothing here changes a session, so the pool's reset, a round trip for each use, is left out."""


class Address(msgspec.Struct, frozen=True):
    """How to reach the server. `named` is what an error may print: never the DSN, it holds a password."""

    named: str
    arguments: dict[str, Any]
    revive: Callable[[], Awaitable[None]]  # starts a server of our own again that has died; DatabaseAway where it fails

    async def connect(self, **settings: str) -> "asyncpg.Connection":
        """DatabaseAway where nobody answers, OperatorError where we are refused or were told nonsense."""
        try:
            connection = await asyncpg.connect(
                **self.arguments,
                timeout=_CONNECT_SECONDS,
                server_settings={"application_name": APPLICATION, **settings},
            )
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = type(error).__name__ if isinstance(error, ValueError) else str(error) or type(error).__name__
            kind = DatabaseAway if _passes(error) else OperatorError
            raise kind(f"{self.named}: cannot connect to the database: {reason}") from None
        await _speak_our_types(connection)
        return connection

    @contextlib.asynccontextmanager
    async def pool(self, size: int, **settings: str) -> AsyncIterator["asyncpg.Pool"]:
        pool = await asyncpg.create_pool(
            **self.arguments,
            min_size=0,  # else the pool tries by itself, over and over, to reach a server that is away
            max_size=size,
            max_inactive_connection_lifetime=0,
            timeout=_CONNECT_SECONDS,
            command_timeout=_ANSWER_SECONDS,
            init=_speak_our_types,
            reset=_keep_session,
            server_settings={"application_name": APPLICATION, **settings},
        )
        try:
            yield pool
        finally:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(_CONNECT_SECONDS):
                    await pool.close()
                pool.terminate()


def _passes(error: Exception) -> bool:
    """Whether the same connection may be made later, with nothing changed by a person."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, LOST) and not isinstance(error, ValueError)  # the latter: a certificate, a DSN's words


@contextlib.asynccontextmanager
async def server(state: Path, settings: JournalTable, environment: Mapping[str, str]) -> AsyncIterator[Address]:
    """The server that the environment names, or the embedded one of the state directory."""
    dsn = environment.get(settings.dsn_env)
    if dsn:
        protect_dsn(dsn)
        scheme = urllib.parse.urlsplit(dsn).scheme
        if scheme not in ("postgresql", "postgres"):
            raise OperatorError(f"{settings.dsn_env}: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        yield Address(settings.dsn_env, {"dsn": dsn}, checkpoint)
        return
    async with embedded.running(state) as place:
        arguments = {"host": str(place.sockets), "port": 5432, "user": "postgres", "database": "postgres"}
        yield Address(str(place.data), arguments, functools.partial(_revive, place))


async def _revive(place: embedded.Place) -> None:
    try:
        await embedded.revive(place)
    except (OSError, OperatorError) as error:
        raise DatabaseAway(str(error)) from None


def whereabouts(state: Path, settings: JournalTable, environment: Mapping[str, str]) -> str:
    """For people: where the journal of an opened state directory lies, and why where it surprises."""
    if environment.get(settings.dsn_env):
        return f"the server that {settings.dsn_env} names"
    place = embedded.locate(state)
    return f"{place.data}" + (f" (as root not below {state}, see docs/journal.md)" if place.account else "")


@contextlib.asynccontextmanager
async def open_journal(
    state: Path, settings: JournalTable, environment: Mapping[str, str], pool_size: int = POOL_SIZE
) -> AsyncIterator["asyncpg.Pool"]:
    """A writer's way in beside no bot: starts the server, migrates, and holds the database against a second one.

    Raises OperatorError where the database is in use, refuses us or is not of this version, DatabaseAway where it does
    not answer.
    """
    async with server(state, settings, environment) as address, held(InstanceLock(address)) as lock:
        await migrate(lock.connection)
        async with address.pool(pool_size) as pool:
            yield pool


@contextlib.asynccontextmanager
async def read_journal(
    state: Path, settings: JournalTable, environment: Mapping[str, str]
) -> AsyncIterator["asyncpg.Pool"]:
    """A reader's way in, beside a running bot or without one; cannot write.

    Raises OperatorError where there is no journal, or one of another version, DatabaseAway where nobody answers.
    """
    async with _beside(state, settings, environment, default_transaction_read_only="on") as pool:
        yield pool


@contextlib.asynccontextmanager
async def word_for_bot(
    state: Path, settings: JournalTable, environment: Mapping[str, str]
) -> AsyncIterator["asyncpg.Pool"]:
    """As `read_journal`, for a command that leaves word for the bot that runs or for the next one."""
    async with _beside(state, settings, environment) as pool:
        yield pool


@contextlib.asynccontextmanager
async def _beside(
    state: Path, settings: JournalTable, environment: Mapping[str, str], **session: str
) -> AsyncIterator["asyncpg.Pool"]:
    if not environment.get(settings.dsn_env) and not embedded.exists(state):
        raise OperatorError(f"{state}: no journal here yet; run the bot with this state directory first")
    async with server(state, settings, environment) as address:
        reader = await address.connect()
        try:
            await require_current(reader)
        finally:
            reader.terminate()
        async with address.pool(1, **session) as pool:
            yield pool
