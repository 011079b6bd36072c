"""What happened, one line each, for who replays a seed."""

import zlib
from datetime import UTC, datetime


class Trace:
    """Keeps the newest lines; prints each at once where `live`."""

    def __init__(self, *, live: bool = False, keep: int = 0) -> None:
        self.lines: list[str] = []
        self.live = live
        self._keep = keep
        self.digest = 0

    @property
    def on(self) -> bool:
        return self.live or self._keep > 0

    def note(self, at: int, what: str, text: object = "") -> None:
        if not self.on:
            return
        line = f"{datetime.fromtimestamp(at / 1_000, UTC):%H:%M:%S.%f}"[:-3] + f"  {what:<12} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self.live:
            print(line)
        self.lines.append(line)
        del self.lines[: -self._keep or None]
