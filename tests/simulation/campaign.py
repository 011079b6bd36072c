"""Many days on all cores, and what is told of them."""

import gc
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.day import MENU, day
from tests.simulation.invariants import Broken
from tests.simulation.world import Lived, live

REPLAY = "python -m tests.simulation --seed {seed} --trace"


def live_seed(seed: int) -> Lived:
    """A day of a campaign; a fault of the harness itself is told like a broken rule."""
    began = time.process_time()
    try:
        lived = live(day(seed)).lived
    except Exception as failure:
        place = traceback.format_exception(failure)[-1].strip()
        lived = Lived(seed=seed, broken=[Broken(0, "the_simulation_itself", place)])
    lived.cpu_seconds = time.process_time() - began
    return lived


def live_all(seeds: Iterable[int], jobs: int) -> Iterator[Lived]:
    """In any order."""
    if jobs == 1:
        yield from map(live_seed, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=gc.freeze) as pool:
        yield from pool.map(live_seed, seeds, chunksize=1)


class Tally:
    """Adds up the days of a campaign."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.days = 0
        self.failed: list[Lived] = []
        self.fired: Counter[str] = Counter()
        self.days_of: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()
        self.longest_ms = 0
        self.cpu_seconds = 0.0

    def add(self, lived: Lived) -> None:
        self.days += 1
        self.fired.update(lived.fired)
        self.days_of.update(set(lived.fired))
        for name in ("starts", "deaths", "signals", "entries", "fills", "calls", "naked_ms"):
            self.sums[name] += getattr(lived, name)
        self.longest_ms = max(self.longest_ms, lived.longest_ms)
        self.cpu_seconds += lived.cpu_seconds
        if lived.broken:
            self.failed.append(lived)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def progress(self, of: int) -> str:
        pace = self.days / self.cpu_seconds if self.cpu_seconds else 0.0
        return f"{self.days}/{of} days, {len(self.failed)} broken, {self.seconds:.0f} s, {pace:.2f} days/s/core"

    def never_fired(self) -> list[str]:
        return sorted(str(kind) for kind in MENU if not self.fired[str(kind)])

    def table(self) -> str:
        lines = [f"{'fault':<22}{'struck':>8}{'on days':>9}"]
        lines += [f"{name:<22}{self.fired[name]:>8}{self.days_of[name]:>9}" for name in sorted(self.fired)]
        sums = ", ".join(f"{value} {name}" for name, value in self.sums.items() if name != "naked_ms")
        return "\n".join([*lines, "", sums])


def words(lived: Lived) -> str:
    told = [f"seed {lived.seed}: {broken}" for broken in lived.broken[:3]]
    return "\n".join([*told, f"  replay: {REPLAY.format(seed=lived.seed)}"])
