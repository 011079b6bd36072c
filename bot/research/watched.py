"""A variant whose plugins are watched while they answer: what each one said, asked the clock for, opened or changed."""

import contextlib
import gc
import resource
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TypeVar

import msgspec
import numpy as np

from bot.errors import PluginFault
from bot.hookspecs import Candidate, EntryPlan, Options
from bot.messages import Bars, FilterVerdict
from bot.strategy.variant import EntryPlugin, FilterPlugin, Variant
from bot.strategy.window import FIELDS

Answer = FilterVerdict | EntryPlan | str  # a string of an entry: why not; of a fault: what was raised
AnswerT = TypeVar("AnswerT", FilterVerdict, EntryPlan | str)
CLOCKS = {  # C functions by module and qualified name
    *(("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(("time", name) for name in ("process_time", "process_time_ns", "thread_time", "thread_time_ns", "sleep")),
    *(((None, name)) for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")),
}
OPENERS = {("io", "open"), ("_io", "open"), ("posix", "open"), (None, "socket.connect")}
IMPORTING = "<frozen importlib"


class Calls:
    """Owns which plugins asked the clock or opened something, by what they called in C."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """`sources`: plugin by its file."""
        self.asked_clock: dict[str, str] = {}  # plugin: what it called first
        self.opened: dict[str, str] = {}
        self.current: str | None = None  # the plugin that is being asked
        self._sources = sources

    @contextlib.contextmanager
    def noticed(self) -> Iterator[None]:
        """The collector rests meanwhile: what others hang on it would run in the name of the plugin that is asked."""
        before, collects = sys.getprofile(), gc.isenabled()
        gc.disable()
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()

    def _called(self, frame: FrameType, event: str, function: object) -> None:
        if event != "c_call":
            return
        name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
        seen = self.asked_clock if name in CLOCKS else self.opened if name in OPENERS else None
        if seen is not None:
            plugin = self.current or self._plugin_of(frame)
            if plugin is not None:
                seen.setdefault(plugin, ".".join(part for part in name if part))

    def _plugin_of(self, frame: FrameType | None) -> str | None:
        """In whose file the call stands, or what called it; an import's own calls are nobody's."""
        while frame is not None and not frame.f_code.co_filename.startswith(IMPORTING):
            found = self._sources.get(frame.f_code.co_filename)
            if found is not None:
                return found
            frame = frame.f_back
        return None


class Watched:
    """Owns what the plugins of one variant said in the newest decision, and who changed the bars so far."""

    def __init__(self, variant: Variant, calls: Calls) -> None:
        self.answers: dict[str, Answer] = {}
        self.faults: dict[str, str] = {}  # by plugin, of the newest decision
        self.changed: set[str] = set()
        self._calls = calls
        self.variant = msgspec.structs.replace(
            variant,
            filters=tuple(self._filter(plugin) for plugin in variant.filters),
            entry=self._entry(variant.entry),
        )

    def begin(self) -> None:
        """Before every decision."""
        self.answers, self.faults = {}, {}

    def _filter(self, plugin: FilterPlugin) -> FilterPlugin:
        def judge(candidate: Candidate, options: Options) -> FilterVerdict:
            return self._ask(plugin.name, plugin.judge, candidate, options)

        return msgspec.structs.replace(plugin, judge=judge)

    def _entry(self, plugin: EntryPlugin) -> EntryPlugin:
        def propose(candidate: Candidate, options: Options) -> EntryPlan | str:
            return self._ask(plugin.name, plugin.propose, candidate, options)

        return msgspec.structs.replace(plugin, propose=propose)

    def _ask(
        self, name: str, ask: Callable[[Candidate, Options], AnswerT], candidate: Candidate, options: Options
    ) -> AnswerT:
        before = fingerprint(candidate.bars)
        self._calls.current = name
        try:
            answer = ask(candidate, options)
        except PluginFault as fault:
            self.answers[name] = self.faults[name] = fault.reason
            raise
        finally:
            self._calls.current = None
            if fingerprint(candidate.bars) != before:
                self.changed.add(name)
        self.answers[name] = answer
        return answer


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """No file, socket or pipe can be opened while this is open, by native code either."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fingerprint(bars: Bars) -> int:
    """Changes when any value of the bars does."""
    found = 0
    for name in ("open_time", *FIELDS):
        found = zlib.crc32(np.ascontiguousarray(getattr(bars, name)).data, found)
    return found
