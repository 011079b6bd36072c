"""`parity` of a replay: what bars and variants at hand can tell, and in which words."""

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.commands.parity import NOT_PLAYED, Journalled, Told, _show, held_against, unknown_variants
from bot.errors import OperatorError
from bot.messages import Bars, Position, Signal
from bot.research.backtest.daily import Facing
from bot.research.backtest.market import SymbolMarket
from bot.research.backtest.parity import market_of
from bot.research.backtest.trade import simulators_terms, walk
from bot.strategy.cycle import decide
from bot.strategy.risk import Exposure
from bot.strategy.walk import in_ticks
from bot.strategy.window import tail, upto
from tests.strategy.days import walk as bars_of_days
from tests.strategy.scenes import CONTEXT, HOUR, MONDAY, make_forecast, make_seen, make_variant

VARIANT = make_variant(variant={"entry": "market"})
HOURS = bars_of_days(1)
AT = MONDAY + 5 * HOUR + 180_000
FILES = (Path("deploy/variants"),)
FACING = Facing(variants=(VARIANT,), context=CONTEXT, horizon=4, terms=simulators_terms(), exact=True)


def detail() -> Bars:
    """Bars of five minutes that go where the hours go, by steps of their own."""
    count = HOUR_MS // 300_000
    steps = np.linspace(0, 1, count + 1)
    waves = np.sin(np.arange(count + 1) * 2.0) * 0.002 * steps * (1 - steps)
    points = HOURS.open[:, None] + (HOURS.close - HOURS.open)[:, None] * steps + HOURS.open[:, None] * waves
    opened, closed = points[:, :-1].ravel(), points[:, 1:].ravel()
    times = (HOURS.open_time[:, None] + np.arange(count) * 300_000).ravel()
    high, low = np.maximum(opened, closed) * 1.0004, np.minimum(opened, closed) * 0.9996
    return Bars("BTCUSDT", 300_000, times, opened, high, low, closed, np.ones(len(opened)))


def market(rows: list[Signal], bars: Bars) -> SymbolMarket:
    found = market_of("BTCUSDT", rows, HOURS, lambda tick: in_ticks(upto(bars, MONDAY + DAY_MS), tick))
    assert found is not None
    return found


def replayed() -> tuple[Signal, Position]:
    """One row that entered at market on the played bars of five minutes, and its trade along them."""
    window = tail(upto(HOURS, MONDAY + 5 * HOUR), CONTEXT)
    seen = make_seen(window, forecast=make_forecast(window, 0.004), cycle_at=AT, now=AT)
    first, _ = decide(VARIANT, seen, Exposure())
    price = market([first], detail()).ticks_at(AT)
    assert price is not None
    row, intent = decide(VARIANT, msgspec.structs.replace(seen, mark_price=int(price) * Decimal("0.10")), Exposure())
    assert intent is not None
    return row, walk(intent, market([row], detail()), FACING.terms, 0.004).position


def told(bars: Bars, *more: Signal, given: bool = False, unknown: tuple[str, ...] = ()) -> Told:
    row, position = replayed()
    journal = Journalled([row, *more], [position], "replay")
    markets = {"BTCUSDT": market([row], bars)}
    return held_against(journal, FACING, markets, MONDAY, MONDAY + DAY_MS, given=given, unknown=unknown)


def test_along_the_played_bars_a_trade_is_the_same_to_the_digit() -> None:
    said = told(detail())
    assert (said.found.trades, said.found.excluded, said.found.differences, said.not_played) == (1, {}, [], [])


@pytest.mark.parametrize("given", [False, True])
def test_along_coarser_bars_than_the_played_ones_trades_are_left_out_and_told(
    given: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(HOURS, given=given)
    assert (said.found.rows, said.found.trades, said.found.differences) == (1, 0, [])
    assert (said.found.excluded, said.not_played) == ({NOT_PLAYED: 1}, ["BTCUSDT"])
    _show(said, FILES)
    words = capsys.readouterr().out
    assert "trades of BTCUSDT are not compared: the replay played other bars than these" in words
    assert "--bars DIR" in words
    assert f"{NOT_PLAYED} 1" in words


def test_bars_that_no_mark_tells_of_are_believed_where_the_operator_named_them() -> None:
    row, position = replayed()
    row = msgspec.structs.replace(row, mark_price=None)
    journal = Journalled([row], [position], "replay")
    markets = {"BTCUSDT": market([row], HOURS)}
    for given, left_out in ((True, []), (False, ["BTCUSDT"])):
        said = held_against(journal, FACING, markets, MONDAY, MONDAY + DAY_MS, given=given)
        assert said.not_played == left_out


def test_at_a_real_venue_the_hours_do() -> None:
    row, position = replayed()
    facing = msgspec.structs.replace(FACING, exact=False)
    journal = Journalled([row], [position], "live")
    said = held_against(journal, facing, {"BTCUSDT": market([row], HOURS)}, MONDAY, MONDAY + DAY_MS, given=False)
    assert (said.found.trades, said.not_played) == (1, [])


def test_a_variant_that_is_not_among_the_files_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    row, _ = replayed()
    others = [msgspec.structs.replace(row, variant="HOLDER", signal_id=f"h{n}") for n in range(3)]
    journal = Journalled([row, *others], [], "replay")
    unknown = unknown_variants(journal, FACING, FILES)
    assert unknown == ["HOLDER"]
    said = told(detail(), *others, unknown=tuple(unknown))
    assert (said.found.rows, said.found.differences, said.unknown_variants) == (1, [], ["HOLDER"])
    _show(said, FILES)
    words = capsys.readouterr().out
    assert "HOLDER stands in the journal and not among --variants deploy/variants: give the files the bot ran" in words


def test_where_no_variant_of_the_journal_is_known_the_command_is_wrong() -> None:
    row, _ = replayed()
    others = [msgspec.structs.replace(row, variant=name) for name in ("MARKET", "HOLDER")]
    with pytest.raises(OperatorError, match="HOLDER, MARKET stand in the journal and not among --variants deploy/"):
        unknown_variants(Journalled(others, [], "replay"), FACING, FILES)


def test_times_are_read_in_utc_and_all_days_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    row, position = replayed()
    assert position.closed_at is not None
    later = msgspec.structs.replace(position, closed_at=position.closed_at + 1_234)
    markets = {"BTCUSDT": market([row], detail())}
    journal = Journalled([row], [later], "replay")
    said = held_against(journal, FACING, markets, MONDAY, MONDAY + 2 * DAY_MS, given=True)
    assert [one.what for one in said.found.differences] == ["closed_at"]
    _show(said, FILES)
    words = capsys.readouterr().out
    assert "2025-03-10 to 2025-03-11: 1 decisions" in words
    assert str(later.closed_at) not in words
    assert "2025-03-10 " in words.split("closed_at")[1]
