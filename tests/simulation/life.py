"""One process from its start to its death: a dead one sends nothing, writes nothing and hears nothing."""

from collections.abc import Callable

import anyio
import msgspec


class ProcessDied(BaseException):
    """Raised where a dead process reaches for the world; nothing of the bot may catch it."""


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """When one process dies: at a moment of its life, or at its nth call or commit, before or after it takes effect."""

    at_seconds: float | None = None  # since its start
    call: int | None = None
    commit: int | None = None
    after: bool = False
    outage_seconds: float = 30.0  # that the world goes on without it
    gently: bool = False  # at a moment of its life it is asked to stop, and does what a process does then

    def __str__(self) -> str:
        if self.at_seconds is not None:
            when = f"{self.at_seconds:.0f} s after its start"
        else:
            place = f"call {self.call}" if self.call is not None else f"commit {self.commit}"
            when = f"{'after' if self.after else 'before'} its {place}"
        return f"{'is stopped' if self.gently else 'dies'} {when}, back after {self.outage_seconds:.0f} s"


class Life:
    """Counts what a process does and ends it where the day says so."""

    def __init__(self, number: int, crash: Crash | None, tell: Callable[[str], None]) -> None:
        self.number = number
        self.dead = False
        self.scope = anyio.CancelScope()
        self.calls = 0
        self.commits = 0
        self.ask_to_stop: Callable[[], None] = self.die
        self._crash = crash
        self._tell = tell

    def alive(self) -> None:
        """Raise ProcessDied once it is not."""
        if self.dead:
            raise ProcessDied

    def before_call(self) -> None:
        self.alive()
        self.calls += 1
        self._die_at(self.calls, self._crash.call if self._crash else None, after=False)

    def after_call(self) -> None:
        self.alive()
        self._die_at(self.calls, self._crash.call if self._crash else None, after=True)

    def before_commit(self) -> None:
        self.alive()
        self.commits += 1
        self._die_at(self.commits, self._crash.commit if self._crash else None, after=False)

    def after_commit(self) -> None:
        self.alive()
        self._die_at(self.commits, self._crash.commit if self._crash else None, after=True)

    async def die_in_time(self) -> None:
        if self._crash is not None and self._crash.at_seconds is not None:
            await anyio.sleep(self._crash.at_seconds)
            if self._crash is not None and self._crash.gently:
                self._tell(f"process {self.number} is asked to stop")
                self.ask_to_stop()
            elif self._crash is not None:
                self.die()

    def spare(self) -> None:
        """What it was to die of does not come."""
        self._crash = None

    def die(self) -> None:
        if not self.dead:
            self._tell(f"process {self.number} dies: {self._crash}")
        self.dead = True
        self.scope.cancel()

    def _die_at(self, count: int, wanted: int | None, *, after: bool) -> None:
        if self._crash is not None and wanted == count and self._crash.after is after:
            self.die()
            raise ProcessDied
