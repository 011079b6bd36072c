"""Kills the real bot again and again and says what came of it: `python -m tests.flow.campaign --kills 100`."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from benchmarks.report import Report, Row, Table, describe_machine, show, utc_now, write
from bot.clock import Stopwatch
from tests.flow import kill_days, verdicts
from tests.flow.kill_days import Day, Life
from tests.flow.processes import remove

A_DAY = 10  # kills
PROTECTED_SECONDS = 10.0


class Outcome(msgspec.Struct, frozen=True):
    """One day of the campaign."""

    seed: int
    planned: int  # kills
    day: Day
    doubled: list[str]
    lost: list[str]
    seconds: float

    @property
    def naked_seconds(self) -> float:
        """Simulated, while a bot was connected."""
        seconds: float = self.day.journey.exchange["naked_seconds_connected"]
        return seconds

    @property
    def faults(self) -> list[str]:
        naked = [f"{self.naked_seconds} simulated seconds without a stop"] if self.naked_seconds else []
        return [f"seed {self.seed}: {fault}" for fault in (*self.doubled, *self.lost, *naked)]


class Progress:
    def __init__(self, kills: int) -> None:
        self._kills = kills
        self.done = 0
        self._since = Stopwatch()

    def tell(self, life: Life) -> None:
        if life.kill is None:
            return
        self.done += 1
        sys.stderr.write(f"kill {self.done} of {self._kills}, {self._since.seconds:.0f} s: {life.kill}\n")


def day(folder: Path, seed: int, kills: int, progress: Progress) -> Outcome:
    took = Stopwatch()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        played = kill_days.play(folder, seed, kill_days.kills(seed, kills), progress.tell)
        return Outcome(
            seed, kills, played, verdicts.doubled(played.journey), verdicts.lost(played.journey), took.seconds
        )
    finally:
        remove(folder / "state")


def rows(outcomes: Sequence[Outcome], seconds: float) -> tuple[Row, ...]:
    lives = [life for outcome in outcomes for life in outcome.day.lives]
    killed = [life for life in lives if life.kill is not None]
    covered = [life.covered_after for life in lives if life.covered_after is not None]

    def row(figure: str, value: float, unit: str = "", required: float | None = None) -> Row:
        return Row(figure=figure, value=value, unit=unit, required=required, better="lower")

    return (
        Row(figure="kills", value=len(killed), unit="", better="higher"),
        row("of them before the bot had connected", sum(life.connected_after is None for life in killed)),
        row("sessions with the exchange", sum(outcome.day.journey.exchange["sessions"] for outcome in outcomes)),
        row("things done or written twice", sum(len(outcome.doubled) for outcome in outcomes), required=0),
        row("things lost", sum(len(outcome.lost) for outcome in outcomes), required=0),
        row("days whose fills' digests differ", sum(not _equal(outcome.day) for outcome in outcomes), required=0),
        row("simulated seconds without a stop while connected", sum(o.naked_seconds for o in outcomes), "s", 0),
        row(
            "connected until all is covered, longest", max(life.naked_seconds for life in lives), "s", PROTECTED_SECONDS
        ),
        row("started until all is covered, longest", max(covered), "s", PROTECTED_SECONDS),
        row("wall time", seconds, "s"),
    )


def _equal(day: Day) -> bool:
    return bool(day.journey.left.report["ledger_equal"])


def tables(outcomes: Sequence[Outcome]) -> dict[str, Table]:
    kinds = Counter(life.kill.at for outcome in outcomes for life in outcome.day.lives if life.kill is not None)
    return {
        "days": Table(
            title="Day by day",
            columns=("seed", "kills", "sessions", "orders", "entries", "doubled", "lost", "seconds"),
            rows=tuple(
                (
                    outcome.seed,
                    len(outcome.day.lives) - 1,
                    outcome.day.journey.exchange["sessions"],
                    outcome.day.journey.exchange["orders"],
                    outcome.day.journey.report["entries_filled"],
                    len(outcome.doubled),
                    len(outcome.lost),
                    round(outcome.seconds, 1),
                )
                for outcome in outcomes
            ),
        ),
        "moments": Table(
            title="When it was killed",
            columns=("kills", "moment"),
            rows=tuple((count, kill_days.MOMENTS[kind]) for kind, count in sorted(kinds.items())),
        ),
    }


def main(
    kills: Annotated[int, typer.Option(min=1, help="SIGKILLs, ten of them in each simulated day.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the first day; the next one's is one more.")] = 1,
    state: Annotated[Path, typer.Option(help="Where bench/kills.json is written.")] = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    took, progress, outcomes = Stopwatch(), Progress(kills), list[Outcome]()
    while progress.done < kills:
        number = min(A_DAY, kills - progress.done)
        outcomes.append(day(state / "bench" / "kills", seed + len(outcomes), number, progress))
        for fault in outcomes[-1].faults:
            sys.stderr.write(f"{fault}\n")
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    bad = {outcome.seed: outcome.planned for outcome in outcomes if outcome.faults}
    replays = [f"python -m tests.flow.campaign --seed {one} --kills {count}" for one, count in bad.items()]
    report = Report(
        name="kills",
        command=f"python -m tests.flow.campaign --kills {kills} --seed {seed}",
        measured_at=utc_now(),
        machine=describe_machine(),
        rows=rows(outcomes, took.seconds),
        tables=tables(outcomes),
        notes=(*faults[:20], *(f"the same day again: {line}" for line in replays)),
    )
    write(report, state)
    show(report, as_json=as_json)
    raise typer.Exit(1 if faults else 0)


if __name__ == "__main__":
    typer.run(main)
