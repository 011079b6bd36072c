"""Records that wait for the database: one append-only file, each record with its length and checksum, synced to disk.

A record that was acknowledged is on the disk. One that was torn by a crash was not, and is dropped at the next start; a
damaged one with others after it is not explained by a crash, and nothing is guessed about it.
"""

import os
import struct
import zlib
from collections import deque
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from bot.errors import OperatorError, SpoolLost

_HEAD = struct.Struct("<II")  # length and CRC-32 of what follows

log = structlog.get_logger(__name__)


class Spool:
    """Oldest record first. One task appends; another may read and drop meanwhile."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._limit = limit_bytes
        self._waiting: deque[tuple[int, int]] = deque()  # (offset, length) of each record's payload
        self._appending = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = self._scan()

    def close(self) -> None:
        os.close(self._file)

    def __len__(self) -> int:
        return len(self._waiting) + self._appending

    async def append(self, payload: bytes) -> None:
        """Return once the record is on the disk. SpoolLost where the file is full or the disk fails."""
        if self._end + _HEAD.size + len(payload) > self._limit:
            raise SpoolLost(f"{self._path} is full ({self._limit} bytes); the database has been away for too long")
        offset, self._end = self._end, self._end + _HEAD.size + len(payload)
        self._appending += 1
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._write, offset, payload)
        finally:
            self._appending -= 1
        self._waiting.append((offset + _HEAD.size, len(payload)))

    async def oldest(self) -> bytes | None:
        if not self._waiting:
            return None
        offset, length = self._waiting[0]
        return await anyio.to_thread.run_sync(os.pread, self._file, length, offset)

    async def drop_oldest(self) -> None:
        """It is in the database. When nothing waits any more the file is emptied, on the disk too.

        Else a power cut could bring the records back, and the next start would write them over newer rows.
        """
        self._waiting.popleft()
        if not len(self):
            self._end = 0
            os.ftruncate(self._file, 0)
            await anyio.to_thread.run_sync(os.fsync, self._file)

    def _write(self, offset: int, payload: bytes) -> None:
        try:
            os.pwrite(self._file, _HEAD.pack(len(payload), zlib.crc32(payload)) + payload, offset)
            os.fsync(self._file)
        except OSError as error:
            raise SpoolLost(f"{self._path}: {error.strerror}") from error

    def _scan(self) -> int:
        """Take up what an earlier process left; where the next record goes."""
        size, offset = os.fstat(self._file).st_size, 0
        while offset < size:
            head = os.pread(self._file, _HEAD.size, offset)
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (size, 0)
            end = offset + _HEAD.size + length
            payload = os.pread(self._file, length, offset + _HEAD.size) if end <= size else b""
            if end > size or zlib.crc32(payload) != checksum:
                self._drop_torn(offset, torn=end >= size)
                break
            self._waiting.append((offset + _HEAD.size, length))
            offset = end
        return offset

    def _drop_torn(self, offset: int, *, torn: bool) -> None:
        if not torn:
            raise OperatorError(
                f"{self._path}: damaged at byte {offset}, with records after it; keep a copy, then remove the file to "
                "start from what the database and the venue have"
            )
        log.warning("spool_torn", file=str(self._path), at_byte=offset)
        os.ftruncate(self._file, offset)
        os.fsync(self._file)
