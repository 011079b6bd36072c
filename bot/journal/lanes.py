"""One writer's records in their order: to the database, or to its spool while the database is away."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from bot.errors import DatabaseAway, OperatorError
from bot.journal.connection import of_numpy
from bot.journal.database import Database
from bot.journal.spool import Spool

R = TypeVar("R")


class Lane(Generic[R]):
    """`write` must come to the same when it is given a record a second time: an answer may have been lost."""

    def __init__(self, spool: Spool, database: Database, kind: Any, write: Callable[[R], Awaitable[object]]) -> None:
        self._spool = spool
        self._database = database
        self._write = write
        self._encoder = msgspec.msgpack.Encoder(enc_hook=of_numpy)
        self._decoder: msgspec.msgpack.Decoder[R] = msgspec.msgpack.Decoder(kind)

    @property
    def waiting(self) -> int:
        return len(self._spool)

    async def put(self, record: R) -> tuple[bool, object]:
        """Whether the record is in the database, and the answer; else it is on the disk. One caller at a time."""
        if not self._database.away:
            try:
                return True, await self._write(record)
            except DatabaseAway:
                pass
        await self._spool.append(self._encoder.encode(record))
        return False, None

    async def drain(self) -> int:
        """Write what waits, oldest first; DatabaseAway where it went away again. How many were written."""
        count = 0
        while (raw := await self._spool.oldest()) is not None:
            await self._write(self._decode(raw))
            await self._spool.drop_oldest()
            count += 1
        return count

    def _decode(self, raw: bytes) -> R:
        try:
            return self._decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise OperatorError(
                f"the spool was written by another version of the bot ({error}); start that version once"
            ) from None
