"""The command line of the simulated days: a campaign of seeds, or one seed with its trace."""

import argparse
import gc
import os
import sys

from tests.simulation.campaign import Tally, live_all, words
from tests.simulation.day import day
from tests.simulation.world import live

ENOUGH_DAYS = 300  # from which on every kind of fault must have struck


def main() -> int:
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts are walked in an order that it decides
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    gc.freeze()  # the modules: to look through them for garbage takes a sixth of a day's time
    return _one(options.seed, trace=options.trace) if options.seed is not None else _many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many days (100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help="these seeds instead")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print all that happens on it")
    parser.add_argument("--describe", action="store_true", help="print what the days are made of and live none")
    options = parser.parse_args()
    if options.describe:
        for seed in [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds):
            print(day(seed))
        sys.exit(0)
    return options


def _one(seed: int, *, trace: bool) -> int:
    made = day(seed)
    print(made)
    lived = live(made, trace=trace).lived
    print(f"{lived.signals} signals, {lived.entries} entries, {lived.fills} fills, {lived.calls} calls, ", end="")
    print(f"{lived.starts} starts, longest without cover {lived.longest_ms} ms; struck: {dict(lived.fired)}")
    for broken in lived.broken:
        print(f"BROKEN {broken}")
    return 1 if lived.broken else 0


def _many(options: argparse.Namespace) -> int:
    tally, terminal = Tally(), sys.stderr.isatty()
    seeds = options.only or range(options.first, options.first + options.seeds)
    for lived in live_all(seeds, options.jobs):
        tally.add(lived)
        if lived.broken:
            print(words(lived), flush=True)
        if terminal or tally.days % 50 == 0:
            print(tally.progress(len(seeds)), end="\r" if terminal else "\n", file=sys.stderr, flush=True)
    print(tally.table())
    print(tally.progress(len(seeds)), f"on {options.jobs} processes")
    missing = tally.never_fired() if tally.days >= ENOUGH_DAYS else []
    if missing:
        print(f"never struck: {', '.join(missing)}")
    return 1 if tally.failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
