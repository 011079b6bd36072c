"""The actor that keeps closed bars on disk; the files are of the kind that a replay plays (`--bars DIR`)."""

import anyio
import anyio.to_thread

from bot.history.bars import BarFiles
from bot.messages import Bar, BarClosed
from bot.streams import Stream

BATCH = 256  # bars that may wait in memory; after a crash they are fetched from the venue again


class HistoryWriter:
    """Actor: closed bars in, files out, in batches and off the event loop; what is left is written at the end."""

    def __init__(self, files: BarFiles, inbox: Stream[BarClosed], batch: int = BATCH) -> None:
        self._files = files
        self._inbox = inbox
        self._batch = batch
        self._waiting: list[Bar] = []
        self._thread = anyio.CapacityLimiter(1)

    async def run(self) -> None:
        try:
            async for closed in self._inbox:
                self._waiting.append(closed.bar)
                if len(self._waiting) >= self._batch:
                    await self._flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self._flush()

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            await anyio.to_thread.run_sync(self._files.append, batch, limiter=self._thread)
