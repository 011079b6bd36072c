"""What waits on the disk for the database: kept in order whatever ends the process, and refused where it is damaged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from bot.errors import OperatorError, SpoolLost
from bot.journal.spool import Spool

pytestmark = pytest.mark.anyio

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMY = 1_000_000


async def all_of(spool: Spool) -> list[bytes]:
    found = []
    while (payload := await spool.oldest()) is not None:
        found.append(payload)
        await spool.drop_oldest()
    return found


async def test_records_come_back_in_their_order_and_the_file_is_empty_then(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool" / "desk", ROOMY)
    written = [b"one", b"", b"three" * 1_000]
    for payload in written:
        await spool.append(payload)
    assert len(spool) == 3
    assert await all_of(spool) == written
    assert (tmp_path / "spool" / "desk").stat().st_size == 0
    await spool.append(b"later")
    assert await all_of(spool) == [b"later"]
    spool.close()


async def test_what_an_earlier_process_left_comes_first(tmp_path: Path) -> None:
    first = Spool(tmp_path / "desk", ROOMY)
    await first.append(b"left")
    first.close()
    second = Spool(tmp_path / "desk", ROOMY)
    await second.append(b"new")
    assert await all_of(second) == [b"left", b"new"]
    second.close()


async def test_a_record_that_was_written_before_a_crash_is_read_again_until_all_were_written(tmp_path: Path) -> None:
    first = Spool(tmp_path / "desk", ROOMY)
    await first.append(b"one")
    await first.append(b"two")
    await first.drop_oldest()
    first.close()
    second = Spool(tmp_path / "desk", ROOMY)
    assert await all_of(second) == [b"one", b"two"]
    second.close()


@pytest.mark.parametrize("kept", range(1, 8 + 4))
async def test_a_record_torn_by_a_crash_is_dropped_and_those_before_it_are_not(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "desk"
    spool = Spool(path, ROOMY)
    await spool.append(b"whole")
    whole = path.stat().st_size
    await spool.append(b"torn")
    spool.close()
    os.truncate(path, whole + kept)
    spool = Spool(path, ROOMY)
    await spool.append(b"next")
    assert await all_of(spool) == ([b"whole", b"torn", b"next"] if kept == 12 else [b"whole", b"next"])
    spool.close()


async def test_a_damaged_record_with_others_after_it_is_a_persons_to_judge(tmp_path: Path) -> None:
    path = tmp_path / "desk"
    spool = Spool(path, ROOMY)
    await spool.append(b"damaged")
    await spool.append(b"whole")
    spool.close()
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"damaged at byte 0"):
        Spool(path, ROOMY)
    assert path.read_bytes() == content


async def test_a_full_spool_ends_the_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "desk", 100)
    await spool.append(b"x" * 80)
    with pytest.raises(SpoolLost, match="full"):
        await spool.append(b"x" * 20)
    assert await all_of(spool) == [b"x" * 80]
    spool.close()


async def test_a_disk_that_fails_ends_the_process() -> None:
    spool = Spool(Path("/dev/full"), ROOMY)
    with pytest.raises(SpoolLost, match="No space left"):
        await spool.append(b"x")
    spool.close()


def test_what_was_acknowledged_before_a_sigkill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "desk"
    script = (
        "import sys, anyio\nfrom pathlib import Path\nfrom bot.journal.spool import Spool\n"
        "async def main():\n"
        f"    spool = Spool(Path({str(path)!r}), 10**9)\n"
        "    for number in range(10**9):\n"
        "        await spool.append(str(number).encode() * 50)\n"
        "        print(number, flush=True)\n"
        "anyio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 40:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged = [40, *map(int, process.stdout.read().split())]

    async def read() -> list[bytes]:
        spool = Spool(path, 10**9)
        found = await all_of(spool)
        spool.close()
        return found

    found = anyio.run(read)
    assert [int(payload[: len(payload) // 50]) for payload in found][: acknowledged[-1] + 1] == list(
        range(acknowledged[-1] + 1)
    )
    assert len(found) <= acknowledged[-1] + 2
