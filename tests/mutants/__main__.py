"""`python -m tests.mutants`: plant every fault of the catalogue and print which test caught it."""

import argparse
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from tests.mutants.campaign import Unusable, Verdict, run
from tests.mutants.catalogue import MUTANTS


def main() -> int:
    """Exit status: 0 where every fault was caught, 1 where one survived, 2 where one could not be judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time (default: 2)")
    parser.add_argument("--json", action="store_true", help="the table as JSON on stdout")
    options = parser.parse_args()
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no mutant is called {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    progress = Console(stderr=True)

    def told(verdict: Verdict) -> None:
        progress.print(f"{'caught' if verdict.caught else 'SURVIVED'}: {verdict.fault}", style="dim", soft_wrap=True)

    try:
        verdicts = run(chosen, options.jobs, told)
    except Unusable as fault:
        progress.print(str(fault), style="red", soft_wrap=True)
        return 2
    if options.json:
        print(msgspec.json.encode(verdicts).decode())
    else:
        _print(verdicts)
    return 0 if all(verdict.caught for verdict in verdicts) else 1


def _print(verdicts: list[Verdict]) -> None:
    caught = sum(verdict.caught for verdict in verdicts)
    table = Table(title=f"{caught} of {len(verdicts)} deliberate faults caught")
    for heading in ("the fault", "caught by", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for verdict in verdicts:
        by = verdict.by if verdict.caught else f"SURVIVED {verdict.by}"
        table.add_row(verdict.fault, by, f"{verdict.seconds:.1f}", style="" if verdict.caught else "red")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    sys.exit(main())
