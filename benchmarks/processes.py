"""What Linux tells of a process that runs: its memory, file descriptors and threads, and which its children are."""

from pathlib import Path

import msgspec

PROC = Path("/proc")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    resident: int  # bytes
    anonymous: int  # bytes of it that no file holds: what the process itself has allocated
    descriptors: int
    threads: int


def usage(pid: int) -> Usage | None:
    """None once the process is gone."""
    place = PROC / str(pid)
    try:
        status = _fields(place / "status")
        return Usage(
            resident=_kilobytes(status["VmRSS"]),
            anonymous=_kilobytes(status["RssAnon"]),
            descriptors=sum(1 for _ in (place / "fd").iterdir()),
            threads=int(status["Threads"]),
        )
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None  # a zombie has no memory lines


def child(pid: int, word: str) -> int | None:
    """A child of the process whose command line has `word` in it."""
    for thread in (PROC / str(pid) / "task").glob("*"):
        for one in (thread / "children").read_text().split():
            if word.encode() in (PROC / one / "cmdline").read_bytes().split(b"\0"):
                return int(one)
    return None


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024
