"""The PostgreSQL that ships as a wheel: one server per state directory, on a socket that only its owner reaches."""

import contextlib
import fcntl
import functools
import hashlib
import os
import pwd
import secrets
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import asyncpg
import msgspec
import structlog

from bot.errors import DatabaseAway, OperatorError
from bot.journal.programs import ROOT_BASE, VERSION, binaries, closed_folder

ACCOUNT = "tsfm-bot"  # whom the server runs as where we are root, which PostgreSQL refuses to be
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 103  # bytes; sun_path holds 104 on macOS and 108 on Linux, with the closing NUL
_START_SECONDS = 60
_LEAVE_SECONDS = 5  # for a word from a server that was started again while we used it
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "io_method": "sync",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_SYNC = "syncfs" if sys.platform == "linux" else "fsync"  # one call instead of a thousand: seconds on a busy disk

log = structlog.get_logger(__name__)


class Place(msgspec.Struct, frozen=True):
    """Where the server of one state directory lives, and whom it runs as."""

    folder: Path  # holds the data directory `postgres` and `postgres.log`
    sockets: Path
    lock: Path
    account: str | None = None  # None: whoever runs the bot

    @property
    def data(self) -> Path:
        return self.folder / "postgres"

    @property
    def server_log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.sockets}"


def locate(state: Path, base: Path = ROOT_BASE) -> Place:
    """The place of the state directory's database; as root one below `base`, named by `<state>/postgres.id`.

    Nothing is created but the state directory, that file and, as root, the folder that the file names. The permissions
    of folders that exist are never changed; where they do not do, OperatorError says so.
    """
    state = state.resolve()
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"{state}: cannot be the state directory: {error.strerror}") from None
    if os.geteuid() == 0:
        return _locate_as_root(state, base)
    return Place(state, _socket_folder(state / "postgres"), state / "postgres.lock")


def exists(state: Path, base: Path = ROOT_BASE) -> bool:
    """Whether the state directory has a database of its own."""
    if os.geteuid() != 0:
        return (state / "postgres" / "PG_VERSION").exists()
    name = state / "postgres.id"
    return name.exists() and (base / name.read_text().strip() / "postgres" / "PG_VERSION").exists()


def _locate_as_root(state: Path, base: Path) -> Place:
    if not base.exists():
        base.mkdir(parents=True)
        base.chmod(0o755)  # ours and new; a strict umask would have closed it
    closed = closed_folder(base)
    if closed is not None:
        raise OperatorError(
            f"{closed}: as root the database belongs below {base}, and its account must be able to pass through this "
            "folder; open it (chmod o+x), set BOT_DSN, or run as a normal user"
        )
    account = _ensure_account()
    name = state / "postgres.id"
    if not name.exists():
        name.write_text(secrets.token_hex(8) + "\n")
    folder = base / name.read_text().strip()
    if not folder.exists():
        _sweep(base)
        folder.mkdir(mode=0o700)
        (folder / "state").write_text(f"{state}\n")
        entry = pwd.getpwnam(account)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return Place(folder, folder / "postgres", folder / "lock", account)


def _ensure_account() -> str:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/",
            "--shell",
            "/usr/sbin/nologin",
            ACCOUNT,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            raise OperatorError(
                f"the embedded PostgreSQL cannot run as root, and the account {ACCOUNT} could not be created "
                f"({shlex.join(command)}); create it, set BOT_DSN, or run as a normal user"
            ) from None
    return ACCOUNT


def _socket_folder(data: Path) -> Path:
    """The data directory, or where its path is too long for a socket, a private folder of ours in the temporary one."""
    if len(os.fsencode(data / _SOCKET)) <= _LONGEST_SOCKET:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tsfm-bot-{os.geteuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OperatorError(f"{folder}: expected a folder of ours that nobody else may enter; remove it")
    return folder


def _sweep(base: Path) -> None:
    """Drop databases whose state directory lay in the temporary folder and is gone: nothing can ask for them again."""
    temporary = Path(tempfile.gettempdir()).resolve()
    for note in base.glob("*/state"):
        state = Path(note.read_text().strip())
        if temporary in state.parents and not state.exists():
            place = Place(note.parent, note.parent / "postgres", note.parent / "lock", ACCOUNT)
            _run(place, "pg_ctl", "stop", "-D", str(place.data), "-m", "immediate", "-w")
            shutil.rmtree(note.parent, ignore_errors=True)


def _run(place: Place, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the server's programs as the server's account."""
    base = place.folder.parent if place.account else ROOT_BASE
    with tempfile.TemporaryFile("w+") as output:  # not a pipe: the server would hold it open
        finished = subprocess.run(
            [str(binaries(base) / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=place.account,
            group=pwd.getpwnam(place.account).pw_gid if place.account else None,
            extra_groups=[] if place.account else None,
            umask=0o077,
        )
        output.seek(0)
        return subprocess.CompletedProcess(finished.args, finished.returncode, output.read())


async def _run_in_thread(place: Place, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(functools.partial(_run, place, program, *arguments))


async def _answers(place: Place) -> "asyncpg.Connection | None":
    """A connection to the server; None where none runs. Waits for one that is starting or stopping."""
    with anyio.move_on_after(_START_SECONDS):
        while True:  # a server says that it is starting or stopping, not when that will be over
            try:
                return await asyncpg.connect(host=str(place.sockets), user="postgres", database="postgres")
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, ConnectionResetError):
                await anyio.sleep(0.02)
    raise DatabaseAway(f"{place.data}: the database does not get ready; see {place.server_log}")


async def _ensure_created(place: Place) -> None:
    """Make the data directory under another name first, so that a killed start leaves no half of one."""
    version = place.data / "PG_VERSION"
    if version.exists():
        made_by = version.read_text().strip()
        if made_by != VERSION:
            raise OperatorError(f"{place.data}: made by PostgreSQL {made_by}, this bot brings {VERSION}; upgrade it")
        return
    fresh = place.folder / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    how = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--sync-method={_SYNC}"]
    made = await _run_in_thread(place, "initdb", "-D", str(fresh), *how)
    if made.returncode:
        raise OperatorError(f"{fresh}: initdb failed: {made.stdout.strip()}")
    fresh.rename(place.data)


def _drop_stale_pid(place: Place) -> None:
    """PostgreSQL refuses to start while the pid of its last run belongs to any process of its account.

    After a power cut or in a container that is often a stranger, so one that is no server of this directory is told
    from /proc; where there is no /proc the judgement is left to PostgreSQL.
    """
    note = place.data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, IndexError):
        command = Path("/proc") / note.read_text().split()[0] / "cmdline"
        if Path("/proc/self/cmdline").exists() and os.fsencode(place.data) not in _read_or_empty(command):
            note.unlink()


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def _launch(place: Place) -> None:
    settings = {**_SETTINGS, "recovery_init_sync_method": _SYNC, "unix_socket_directories": f'"{place.sockets}"'}
    options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    for _ in range(20):  # children of a killed server need a moment to notice and let go of its memory
        _drop_stale_pid(place)
        begun = await _run_in_thread(
            place, "pg_ctl", "start", "-D", str(place.data), "-l", str(place.server_log), "-o", options, "-w",
            "-t", str(_START_SECONDS),
        )  # fmt: skip
        if begun.returncode == 0:
            return
        await anyio.sleep(0.25)
    raise DatabaseAway(f"{place.data}: the database does not start; see {place.server_log}")


@contextlib.contextmanager
def _held(lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(lock)


@contextlib.asynccontextmanager
async def _alone(place: Place) -> AsyncIterator[None]:
    """Only one process at a time starts or stops the server of a state directory."""
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with _held(descriptor):
        with anyio.move_on_after(2 * _START_SECONDS) as waiting:
            while True:  # a blocking flock could not be cancelled
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await anyio.sleep(0.02)
        if waiting.cancelled_caught:
            raise DatabaseAway(f"{place.lock}: another process has been starting or stopping the database for minutes")
        yield


@contextlib.asynccontextmanager
async def running(state: Path, base: Path = ROOT_BASE) -> AsyncIterator[Place]:
    """The server of this state directory, started where it does not run; who leaves last stops it.

    Survives a SIGKILL of any of its users, and of itself: the next start uses or replaces what was left.
    DatabaseAway where it does not start or answer, OperatorError where it may not.
    """
    place = locate(state, base)
    if place.account:
        log.warning("database_outside_state", reason="running as root", folder=str(place.folder), account=place.account)
    async with _alone(place):
        await _ensure_created(place)
        presence = await _answers(place)
        if presence is None:
            await _launch(place)
            presence = await _answers(place)
        if presence is None:
            raise DatabaseAway(f"{place.data}: the database has stopped again; see {place.server_log}")
    try:
        yield place
    finally:
        with anyio.CancelScope(shield=True):
            await _leave(place, presence)


async def revive(place: Place) -> None:
    """Start the server again where it has died under its users; one that hangs is left to whoever made it hang."""
    async with _alone(place):
        if await _nobody_listens(place):
            log.warning("database_restarted", folder=str(place.folder))
            await _launch(place)


async def _nobody_listens(place: Place) -> bool:
    try:
        stream = await anyio.connect_unix(place.sockets / _SOCKET)
    except (FileNotFoundError, ConnectionRefusedError):
        return True
    await stream.aclose()
    return False


async def _leave(place: Place, presence: "asyncpg.Connection | None") -> None:
    """Stop the server unless somebody else is connected."""
    async with _alone(place):
        if presence is None or presence.is_closed():  # it was started again meanwhile, or is gone
            with anyio.move_on_after(_LEAVE_SECONDS):
                presence = None if await _nobody_listens(place) else await _answers(place)
        if presence is None or presence.is_closed():
            return
        try:
            if await _others(presence):
                return
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            return  # the server is gone already
        finally:
            presence.terminate()
        stopped = await _run_in_thread(place, "pg_ctl", "stop", "-D", str(place.data), "-m", "fast", "-w")
        if stopped.returncode:
            log.warning("database_did_not_stop", folder=str(place.folder), answer=stopped.stdout.strip())


async def _others(presence: "asyncpg.Connection") -> bool:
    """Whether other clients stay; those that have just closed their connections get a moment to vanish."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    for _ in range(20):
        if await presence.fetchval(query) == 0:
            return False
        await anyio.sleep(0.02)
    return True
