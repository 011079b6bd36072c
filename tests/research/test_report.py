"""The closing report: its two files and the table on the terminal, from the facts of a run."""

import io
import json
import random
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.messages import ExitPlan, Position, PositionStatus, Severity, Side
from bot.research.report import NO_EDGE, RunFacts, max_drawdown, print_report, write_report
from bot.research.run_facts import audit_words, grouped, profit_factor, thinned

START = 1_740_787_200_000  # 2025-03-01
SYMBOLS = {"BTCUSDT": 85_000.0, "ETHUSDT": 2_200.0, "SOLUSDT": 140.0, "DOGEUSDT": 0.2}
REASONS = {"stop": -2.0, "target": 2.0, "trailing_stop": 0.8, "profit_floor": 0.4, "max_hold": -0.3}
PROMISED = [
    "venue",
    "started_at",
    "ended_at",
    "simulated_days",
    "symbols",
    "variants",
    "signals",
    "orders",
    "entries_filled",
    "exits",
    "fees",
    "funding",
    "net_pnl",
    "max_drawdown",
    "naked_seconds",
    "ledger_equal",
    "restarts",
    "wall_seconds",
]


def trade(number: int, dice: random.Random) -> Position:
    symbol, price = dice.choice(list(SYMBOLS.items()))
    reason = dice.choice(list(REASONS))
    side = dice.choice(list(Side))
    moved = REASONS[reason] * dice.uniform(0.7, 1.2)
    opened = START + number * 3 * HOUR_MS + dice.randrange(60) * MINUTE_MS
    quantity = Decimal(f"{1000 / price:.3g}")
    entry = Decimal(f"{price * dice.uniform(0.9, 1.1):.6g}")
    return Position(
        position_id=f"p{number}",
        variant=symbol.removesuffix("USDT"),
        tier="t1",
        symbol=symbol,
        side=side,
        status=PositionStatus.CLOSED,
        intended=quantity,
        filled=quantity,
        closed=quantity,
        entry_price=entry,
        exit_price=entry * Decimal(f"{1 + side.sign * moved / 100:.6f}"),
        created_at=opened,
        expires_at=opened + HOUR_MS,
        opened_at=opened,
        closed_at=opened + dice.randrange(10, 900) * MINUTE_MS,
        exit_reason=reason,
        fees=Decimal("0.71"),
        funding=Decimal(f"{dice.uniform(-0.2, 0.2):.4f}"),
        gross_pnl=Decimal(f"{10 * moved:.4f}"),
        exits=ExitPlan(stop_pct=2.0, target_pct=2.0),
    )


def run_facts(count: int = 120) -> RunFacts:
    dice = random.Random(4)
    trades = tuple(trade(number, dice) for number in range(count))
    wallet = Decimal(10_000)
    equity = [(START, wallet)]
    for one in trades:
        wallet += one.net_pnl
        equity.append((one.closed_at or 0, wallet))
    equity.sort()
    return RunFacts(
        venue="replay",
        started_at=START,
        ended_at=START + 30 * DAY_MS,
        symbols=tuple(SYMBOLS),
        variants=("BTC", "ETH", "SOL", "DOGE"),
        signals={"enter": 210, "refuse": 5550},
        refusals={
            "below_threshold": 4100,
            "filter rsi": 640,
            "filter session": 520,
            "opposite_position": 180,
            "max_positions": 110,
        },
        orders=640,
        entries_filled=len(trades),
        exits={reason: sum(one.exit_reason == reason for one in trades) for reason in REASONS},
        fees=sum((one.fees for one in trades), Decimal(0)),
        funding=sum((one.funding for one in trades), Decimal(0)),
        net_pnl=wallet - 10_000,
        max_drawdown=max_drawdown(equity),
        naked_seconds=0.0,
        ledger_equal=True,
        ledger_checks=412,
        restarts=0,
        wall_seconds=74.2,
        starting_balance=Decimal(10_000),
        equity=tuple(equity),
        trades=trades,
        model="nano, a small model of the TimesFM 2.5 architecture",
        market="generated market, seed 7, profile normal",
    )


class Outline(HTMLParser):
    """What a page shows, and what it would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.rows: dict[str, int] = {}
        self.open: list[str] = []
        self.table = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loads += [str(named[name]) for name in ("src", "href") if named.get(name)]
        if tag == "table":
            self.table = str(named["id"])
        if tag == "tr":
            self.rows[self.table] = self.rows.get(self.table, 0) + 1
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)


def outline(path: Path) -> Outline:
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.open == []
    return parser


def printed(facts: RunFacts, width: int = 140) -> str:
    console = Console(file=io.StringIO(), record=True, width=width)
    print_report(console, facts)
    return console.export_text()


def test_the_json_report_has_the_promised_keys_first_and_money_as_text(tmp_path: Path) -> None:
    facts = run_facts()
    write_report(tmp_path / "deep" / "report", facts)
    told = json.loads((tmp_path / "deep" / "report" / "report.json").read_text())
    assert list(told)[: len(PROMISED)] == PROMISED
    assert told["net_pnl"] == str(facts.net_pnl)
    assert told["simulated_days"] == 30.0
    assert told["signals"] == {"enter": 210, "refuse": 5550}
    assert told["ledger_equal"] is True
    assert told["equity"][-1] == [facts.equity[-1][0], str(facts.equity[-1][1])]
    assert sum(Decimal(group["net_pnl"]) for group in told["by_symbol"].values()) == facts.net_pnl
    assert sorted(path.name for path in (tmp_path / "deep" / "report").iterdir()) == ["report.html", "report.json"]


def test_the_page_is_one_file_that_loads_nothing_and_shows_the_figures(tmp_path: Path) -> None:
    facts = run_facts()
    write_report(tmp_path, facts)
    shown = outline(tmp_path / "report.html")
    text = re.sub(r"\s+", " ", " ".join(shown.words))
    assert shown.loads == []
    assert shown.rows["trades"] == len(facts.trades) + 1
    assert shown.rows["variants"] == 5
    assert f"{facts.net_pnl:+,.2f}".replace("-", "\N{MINUS SIGN}") in text
    for words in (NO_EDGE, "0 s without a stop", "Ledger equals the venue’s", "30.0 days of 4 symbols", "BTCUSDT"):
        assert words in text


def test_what_went_wrong_is_said(tmp_path: Path) -> None:
    facts = msgspec.structs.replace(run_facts(), naked_seconds=3.5, ledger_equal=False, restarts=5)
    write_report(tmp_path, facts)
    text = " ".join(outline(tmp_path / "report.html").words)
    assert "✗ 3.5 s without a stop" in text
    assert "✗ Ledger differs from the venue’s" in text
    assert "5 restarts survived" in text
    assert re.search(r"ledger equals the venue's +NO", printed(facts))


def test_a_run_without_a_trade_is_reported_all_the_same(tmp_path: Path) -> None:
    zero = Decimal(0)
    facts = msgspec.structs.replace(
        run_facts(0), signals={}, refusals={}, exits={}, equity=(), orders=0, fees=zero, funding=zero
    )
    write_report(tmp_path, facts)
    text = " ".join(outline(tmp_path / "report.html").words)
    assert "No position was closed." in text
    assert "No equity was recorded." in text
    assert "signals" in printed(facts)


def test_names_from_outside_cannot_break_the_page(tmp_path: Path) -> None:
    facts = msgspec.structs.replace(run_facts(), note="<script>alert(1)</script> $about", market="a & b")
    write_report(tmp_path, facts)
    text = " ".join(outline(tmp_path / "report.html").words)
    assert "<script>alert(1)</script> $about" in text
    assert "a & b" in text


def test_the_terminal_shows_result_checks_exits_and_the_honest_word() -> None:
    text = printed(run_facts())
    for words in ("replay: 30.0 simulated days in 74 s", "seconds without a stop", "below_threshold", "trailing_stop"):
        assert words in text
    assert "proves the machinery, not an edge" in text
    assert re.search(r"entries filled +120", text)


def test_groups_add_up_and_the_best_comes_first() -> None:
    facts = run_facts()
    groups = grouped(facts.trades, lambda one: one.symbol)
    results = [group.net_pnl for group in groups.values()]
    assert results == sorted(results, reverse=True)
    assert sum(group.trades for group in groups.values()) == len(facts.trades)


def test_a_drawdown_is_measured_from_the_highest_point_before_it() -> None:
    values = [100, 120, 90, 130, 105, 140]
    assert max_drawdown([(i, Decimal(value)) for i, value in enumerate(values)]) == 30
    assert max_drawdown([]) == 0


def test_thinning_keeps_the_ends_and_the_extremes() -> None:
    dice = random.Random(1)
    equity = [(i, Decimal(dice.randrange(1_000_000))) for i in range(20_000)]
    kept = thinned(equity, most=500)
    assert len(kept) <= 502
    values = [value for _, value in equity]
    assert {0, len(equity) - 1, values.index(min(values)), values.index(max(values))} <= set(kept)


def test_without_a_loser_there_is_no_profit_factor() -> None:
    facts = run_facts()
    winners = [one for one in facts.trades if one.net_pnl > 0]
    assert profit_factor(winners) is None
    assert profit_factor(facts.trades) == pytest.approx(
        sum(one.net_pnl for one in winners) / -sum(one.net_pnl for one in facts.trades if one.net_pnl < 0)
    )


LONG_REASON = "no_entry:retraced_already_and_then_some_more"


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_the_closing_table_is_cut(width: int) -> None:
    facts = run_facts()
    opened = msgspec.structs.replace(facts.trades[0], closed=Decimal(0), stop_price=Decimal("2007.2"))
    facts = msgspec.structs.replace(facts, still_open=(opened,), refusals={**facts.refusals, LONG_REASON: 9})
    text = printed(facts, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert re.search(rf"net PnL +{re.escape(f'{facts.net_pnl:+,.2f}')} +\+\d\.\d\d%", text)
    assert re.search(r"seconds without a stop +0\b", text)
    assert re.search(r"ledger equals the venue's +yes", text)
    assert re.search(r"trailing_stop +28 +\+188\.57", text)
    assert re.search(r"ETHUSDT long +0\.455 +2048\.19 +2007\.2", text)
    assert LONG_REASON[:25] in text  # folded, the rest in the next line
    assert LONG_REASON[-5:] in text
    beside = re.search(r"Result, USDT +Signals and orders", text)
    assert bool(beside) is (width == 120)


def test_a_run_that_was_stopped_by_hand_says_so() -> None:
    assert "stopped by hand" in printed(msgspec.structs.replace(run_facts(), interrupted=True))
    assert "stopped by hand" not in printed(run_facts())
    assert "Still open" not in printed(run_facts())


def test_what_nobody_measured_is_not_called_good() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    print_report(console, msgspec.structs.replace(run_facts(), naked_seconds=None, ledger_checks=0, ledger_equal=False))
    text = console.export_text()
    assert re.search(r"seconds without a stop +not measured", text)
    assert re.search(r"ledger equals the venue's +not compared", text)


def test_what_the_audit_found_is_told_once_with_its_gravest_word(tmp_path: Path) -> None:
    def told(severity: Severity, subject: str, words: str) -> tuple[Severity, dict[str, object]]:
        return severity, {"rule": "column_null", "subject": subject, "words": words, "rows": 48}

    found = audit_words(
        [
            told(Severity.WARNING, "BTC cat_trend", "null on the first day"),
            told(Severity.ERROR, "BTC cat_trend", "null on the second day"),
            told(Severity.WARNING, "BTC cat_trend", "null on the third <day>"),
            told(Severity.INFO, "ETH rsi", "had nothing against it"),
        ]
    )
    assert [(one.subject, one.severity, one.times) for one in found] == [
        ("BTC cat_trend", "error", 3),
        ("ETH rsi", "info", 1),
    ]
    facts = msgspec.structs.replace(run_facts(), audit=found)
    write_report(tmp_path, facts)
    assert json.loads((tmp_path / "report.json").read_text())["audit"][0]["words"] == "null on the third <day>"
    text = " ".join(outline(tmp_path / "report.html").words)
    assert "Audit of the signal log" in text
    assert "null on the third <day>" in text
    assert re.search(r"errors in the audit +1\b", printed(facts))
    assert "had nothing against it" not in printed(facts), "an info is in the files"
