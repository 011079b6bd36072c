"""The commands `state` and `flatten`: what a person reads, and the word that is left for the bot."""

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import anyio
import asyncpg
import pytest

from bot.commands.state import leave_word, print_state
from bot.config import JournalTable
from bot.journal.connection import open_journal
from bot.journal.words import LOOK_SECONDS, Said, Words, orders_of
from bot.messages import Flatten, StandingOrder, StandingReleased, TradingState


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")

    async def make() -> None:
        async with open_journal(folder, JournalTable(), {}) as pool:
            held = '[{"state": "reducing", "reason": "contract_surprise", "by": "venue", "at": 1740787200000}]'
            await pool.execute("INSERT INTO bot.account VALUES ('standing_orders', $1)", json.loads(held))

    anyio.run(make)
    return folder


@pytest.fixture
def config(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BOT_DSN", raising=False)
    return state / "absent.toml"


def with_journal(state: Path, work: Callable[[asyncpg.Pool], object]) -> None:
    async def run() -> None:
        async with open_journal(state, JournalTable(), {}) as pool:
            await work(pool)  # type: ignore[misc]  # an async function of the test

    anyio.run(run)


def test_what_holds_trading_back_is_told_with_who_and_why(
    state: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_state(state, config, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["running"] is False
    assert [(held["state"], held["reason"], held["by"]) for held in told["held"]] == [
        ("reducing", "contract_surprise", "venue")
    ]
    print_state(state, config, as_json=False)
    assert "contract_surprise" in capsys.readouterr().out


def test_a_word_is_left_with_who_and_when_and_taken_by_the_bot_in_order(
    state: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_word(state, config, "halt", "looks odd", as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "word": "halt",
        "reason": "looks odd",
        "by": getpass.getuser(),
        "running": False,
    }
    leave_word(state, config, "activate", "", as_json=False)
    assert "the next one" in capsys.readouterr().out
    print_state(state, config, as_json=False)
    assert "not taken yet: halt" in capsys.readouterr().out
    sent: list[object] = []

    async def follow(pool: asyncpg.Pool) -> None:
        words = Words(pool)
        async with anyio.create_task_group() as group:
            group.start_soon(words.follow, sent.append)
            with anyio.fail_after(5 * LOOK_SECONDS):
                while await words.waiting():  # noqa: ASYNC110  # what is waited for is a row
                    await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    with_journal(state, follow)
    by = f"person:{getpass.getuser()}"
    assert sent == [
        StandingOrder(state=TradingState.HALTED, reason="person", by=by, detail="looks odd"),
        StandingReleased(reason=None, by=by),
    ]


def test_who_has_everything_closed_has_nothing_opened_after_it() -> None:
    order, flatten = orders_of(Said(id=1, word="flatten", reason="", by="ann", asked_at=0))
    assert isinstance(order, StandingOrder)
    assert (order.state, order.detail) == (TradingState.REDUCING, "flatten")
    assert isinstance(flatten, Flatten)
    assert flatten.by == "person:ann"
