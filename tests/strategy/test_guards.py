"""The account guards: hand-computed tables of what trips and releases each, and what may never do so."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from bot.config import GuardsTable
from bot.messages import GuardState, GuardTrip
from bot.strategy import guards
from bot.strategy.guards import Glance, Reading, Track
from bot.venue import Transfer

MIDNIGHT = 20_000 * DAY_MS
NOON = MIDNIGHT + 12 * HOUR_MS
OFF = {"day_drawdown_pct": 0, "drawdown_pct": 0, "daily_loss_pct": 0, "losing_streak": 0}
ALL = guards.rules_of(GuardsTable())


def rules(**table: Any) -> guards.GuardRules:
    """Only the guards that `table` names."""
    return guards.rules_of(GuardsTable(**(OFF | table)))


class Account:
    """An account whose wallet moves by trades (which its ledger knows) and transfers (which it does not)."""

    def __init__(self, rules: guards.GuardRules, equity: str = "10000", at: int = NOON) -> None:
        self.rules, self.at = rules, at
        self.wallet = self.ledger = Decimal(equity)
        self.transfers: list[Transfer] = []
        self.track = guards.begin(at)
        self.read()

    def read(self, open_profit: str = "0") -> None:
        self.track = guards.take(guards.pass_time(self.track, self.at), self.reading(open_profit), self.rules)

    def reading(self, open_profit: str = "0") -> Reading:
        return Reading(
            at=self.at,
            equity=self.wallet + Decimal(open_profit),
            wallet=self.wallet,
            ledger=self.ledger,
            transfers=tuple(one for one in self.transfers if one.at >= self.at - HOUR_MS),
        )

    def earn(self, amount: str, after: int = 5 * MINUTE_MS) -> None:
        self.at += after
        self.wallet += Decimal(amount)
        self.ledger += Decimal(amount)
        self.read()

    def move(self, amount: str, after: int = 5 * MINUTE_MS) -> None:
        self.at += after
        self.wallet += Decimal(amount)
        self.transfers.append(Transfer(f"TRANSFER:{len(self.transfers)}", Decimal(amount), self.at))
        self.read()

    def tripped(self) -> list[str]:
        return [trip.guard for trip in guards.state_of(self.track, self.rules).tripped]


@pytest.mark.parametrize(
    ("guard", "limit", "earned", "tripped"),
    [
        # 10,000 -> 9,601 is 3.99 % below the day's beginning, 9,600 is 4 %
        ("daily_loss_pct", 4.0, ["-399"], False),
        ("daily_loss_pct", 4.0, ["-400"], True),
        ("daily_loss_pct", 4.0, ["1000", "-1399"], False),
        ("daily_loss_pct", 4.0, ["1000", "-1400"], True),
        # the day's peak is 11,000: 10,450 is 5 % below it and still a good day
        ("day_drawdown_pct", 5.0, ["1000", "-549"], False),
        ("day_drawdown_pct", 5.0, ["1000", "-550"], True),
        ("drawdown_pct", 20.0, ["2500", "-2499"], False),
        ("drawdown_pct", 20.0, ["2500", "-2500"], True),
        ("drawdown_pct", 20.0, ["-10000"], True),
    ],
)
def test_a_loss_trips_its_guard_at_the_limit_and_not_before(
    guard: str, limit: float, earned: list[str], tripped: bool
) -> None:
    account = Account(rules(**{guard: limit}))
    for amount in earned:
        account.earn(amount)
    assert account.tripped() == [guard.removesuffix("_pct")] * tripped


def test_open_positions_count_at_their_marks() -> None:
    account = Account(rules(daily_loss_pct=4.0))
    account.at += MINUTE_MS
    account.read(open_profit="-400")
    (trip,) = account.track.tripped
    assert (trip.value, trip.limit, trip.at) == (pytest.approx(4.0), 4.0, account.at)


@pytest.mark.parametrize(
    ("newest_first", "losses"),
    [
        ([], 0),
        (["-1", "-2", "-0.01"], 3),
        (["-1", "0", "-1", "-1"], 1),  # breaking even ends a streak
        (["5", "-1", "-1"], 0),
    ],
)
def test_losses_in_a_row_are_counted_from_the_newest_trade_on(newest_first: list[str], losses: int) -> None:
    three = rules(losing_streak=3)
    track = guards.count_losses(guards.begin(NOON), [Decimal(text) for text in newest_first], three, NOON + 1)
    assert track.losses == losses
    assert [trip.guard for trip in track.tripped] == ["losing_streak"] * (losses >= 3)


@pytest.mark.parametrize(
    ("release", "still", "released"),
    [
        ("day", MIDNIGHT + DAY_MS - 1, MIDNIGHT + DAY_MS),
        (240, NOON + 5 * MINUTE_MS + 4 * HOUR_MS - 1, NOON + 5 * MINUTE_MS + 4 * HOUR_MS),
        ("manual", NOON + 400 * DAY_MS, None),
    ],
)
@pytest.mark.parametrize("guard", ["day_drawdown", "drawdown", "daily_loss"])
def test_a_guard_is_released_when_its_time_is_over_and_then_measures_anew(
    guard: str, release: str | int, still: int, released: int | None
) -> None:
    account = Account(rules(**{f"{guard}_pct": 4.0, f"{guard}_release": release}))
    account.earn("-500")
    assert [trip.guard for trip in guards.pass_time(account.track, still).tripped] == [guard]
    if released is None:
        account.track = guards.release(account.track, guard, still)
    else:
        account.track = guards.pass_time(account.track, released)
    assert account.track.tripped == ()
    account.at = max(still, released or 0)
    account.earn("-379")  # 9,500 -> 9,121 is 3.99 %
    assert account.tripped() == []
    account.earn("-1")
    assert account.tripped() == [guard]


def test_a_released_streak_counts_only_what_closes_later() -> None:
    three = rules(losing_streak=3, losing_streak_release=60)
    track = guards.count_losses(guards.begin(NOON), [Decimal(-1)] * 3, three, NOON)
    released = guards.pass_time(track, NOON + HOUR_MS)
    assert (released.tripped, released.losses, released.losses_since) == ((), 0, NOON + HOUR_MS)


def test_a_tripped_guard_stays_so_whatever_is_earned_back() -> None:
    account = Account(rules(drawdown_pct=20.0))
    account.earn("-2000")
    account.earn("9000")
    assert account.tripped() == ["drawdown"]


def test_releasing_what_is_not_tripped_changes_nothing() -> None:
    account = Account(ALL)
    account.earn("-100")
    assert guards.release(account.track, "drawdown", account.at) == account.track


def test_a_guard_that_was_switched_off_lets_go() -> None:
    account = Account(rules(drawdown_pct=20.0))
    account.earn("-2000")
    assert guards.adopt(account.track, rules(daily_loss_pct=4.0)).tripped == ()


def test_a_loss_is_a_share_of_the_capital_that_was_there() -> None:
    account = Account(rules(daily_loss_pct=4.0))
    account.move("10000")
    account.earn("-799")  # of 20,000
    assert account.tripped() == []
    account.earn("-1")
    assert account.tripped() == ["daily_loss"]


def test_a_new_day_begins_where_the_last_one_ended() -> None:
    account = Account(rules(daily_loss_pct=4.0))
    account.earn("-300")
    account.earn("-300", after=DAY_MS)  # 300 / 9,700 = 3.1 %
    assert account.tripped() == []
    assert account.track.day_start == pytest.approx(0.97)


def test_an_account_that_was_wiped_out_and_refilled_begins_anew_and_stays_tripped() -> None:
    account = Account(rules(drawdown_pct=20.0))
    account.earn("-10500")
    account.move("2500")
    assert (account.track.index, account.track.peak, account.tripped()) == (1.0, 1.0, ["drawdown"])


@pytest.mark.parametrize(
    ("equities", "seconds", "agreed"),
    [
        (("10000", "10050"), 2, True),  # 0.5 % of 10,050 is 50.25
        (("10000", "10051"), 2, False),
        (("10051", "10000"), 2, False),
        (("10000", "10000"), 30, True),
        (("10000", "10000"), 31, False),
        (("10000", "10000"), -1, False),
    ],
)
def test_two_readings_agree_where_they_are_fresh_and_near(
    equities: tuple[str, str], seconds: int, agreed: bool
) -> None:
    second = Account(ALL, equities[1]).reading()
    first = Glance(second.at - seconds * SECOND_MS, Decimal(equities[0]))
    assert guards.agree(first, second, ALL) is agreed


def test_a_change_that_nothing_explains_counts_after_two_minutes() -> None:
    account = Account(rules(daily_loss_pct=4.0))
    account.at += 5 * MINUTE_MS
    account.wallet -= 500  # neither the ledger nor the list of transfers knows of it
    account.read()
    doubted = account.at
    assert (account.tripped(), account.track.doubt_since) == ([], doubted)
    account.at = doubted + 2 * MINUTE_MS - 1
    account.read()
    assert account.tripped() == []
    account.at += 1
    account.read()
    assert (account.tripped(), account.track.doubt_since) == (["daily_loss"], None)


def test_a_transfer_that_is_told_a_minute_late_trips_nothing() -> None:
    account = Account(ALL)
    for amount in (-5_000, 50_000):
        account.at += 5 * MINUTE_MS
        account.wallet += amount
        account.read()
        account.at += MINUTE_MS
        account.transfers.append(Transfer(f"TRANSFER:{amount}", Decimal(amount), account.at - MINUTE_MS))
        account.read()
        assert (account.tripped(), account.track.index, account.track.doubt_since) == ([], 1.0, None)


TRIP = GuardTrip("drawdown", NOON, 21.5, 20.0, None)
LOSS = GuardTrip("daily_loss", NOON, 4.25, 4.0, MIDNIGHT + DAY_MS)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (GuardState(), "allowed"),
        (GuardState(equity_at=NOON - 30 * MINUTE_MS, unknown_after_ms=30 * MINUTE_MS), "allowed"),
        (GuardState(equity_at=NOON - 30 * MINUTE_MS - 1, unknown_after_ms=30 * MINUTE_MS), "guard_equity_unknown"),
        (GuardState(unknown_after_ms=30 * MINUTE_MS), "guard_equity_unknown"),
        (GuardState(tripped=(TRIP, LOSS), equity_at=NOON, unknown_after_ms=MINUTE_MS), "guard_drawdown"),
        (GuardState(tripped=(LOSS,), unknown_after_ms=MINUTE_MS), "guard_daily_loss"),
    ],
)
def test_the_check_refuses_with_the_first_trip_and_its_numbers(state: GuardState, reason: str) -> None:
    verdict = guards.guards_check(state, NOON)
    assert (verdict.filter, verdict.allow, verdict.reason) == ("guards", reason == "allowed", reason)
    for trip in state.tripped:
        assert verdict.values[f"{trip.guard}_value"] == trip.value
        assert verdict.values[f"{trip.guard}_limit"] == trip.limit


def test_without_a_guard_that_needs_the_equity_it_may_be_unknown() -> None:
    streak_only = rules(losing_streak=3)
    assert guards.guards_check(guards.state_of(guards.begin(NOON), streak_only), NOON + DAY_MS).allow
    assert not guards.guards_check(guards.state_of(guards.begin(NOON), ALL), NOON).allow


AMOUNTS = st.integers(-3_000, 3_000).map(str)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["earn", "move", "late", "wait", "losses", "release"]), AMOUNTS, st.integers(1, 20)),
    max_size=25,
)


def play(account: Account, event: tuple[str, str, int]) -> None:
    what, amount, number = event
    match what:
        case "earn":
            account.earn(amount)
        case "move":
            account.move(amount)
        case "late":
            account.at += number * MINUTE_MS
            account.wallet += Decimal(amount)
            account.read()
        case "wait":
            account.at += number * HOUR_MS
            account.track = guards.pass_time(account.track, account.at)
        case "losses":
            account.track = guards.count_losses(account.track, [Decimal(-1)] * number, ALL, account.at)
        case "release":
            account.track = guards.release(account.track, guards.NAMES[number % 4], account.at)


@settings(max_examples=80, deadline=None)
@given(events=EVENTS, transfers=st.lists(st.integers(-2_000, 5_000), min_size=1, max_size=4))
def test_deposits_and_withdrawals_never_trip_or_release_a_guard(
    events: list[tuple[str, str, int]], transfers: list[int]
) -> None:
    account = Account(ALL)
    for event in events:
        play(account, event)
    account.earn("0", after=3 * MINUTE_MS)  # what was doubted is settled
    before, worth = account.track, account.wallet
    for amount in transfers:
        if amount == 0 or worth <= 0 or worth + amount < 1:
            continue
        worth += amount
        account.move(str(amount), after=SECOND_MS)
        assert account.track.tripped == guards.pass_time(before, account.at).tripped
        assert account.track.index == pytest.approx(guards.pass_time(before, account.at).index, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, cut=st.integers(0, 25))
def test_a_restart_at_any_point_changes_nothing(events: list[tuple[str, str, int]], cut: int) -> None:
    through, restarted = Account(ALL), Account(ALL)
    for number, event in enumerate(events):
        if number == cut:
            kept = msgspec.json.decode(msgspec.json.encode(restarted.track))
            restarted.track = guards.adopt(msgspec.convert(kept, Track), ALL)
        play(through, event)
        play(restarted, event)
        assert restarted.track == through.track
