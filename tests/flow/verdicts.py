"""What a bot that was killed may not have done, read from its journal beside the exchange's own log and ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.flow.journeys import Journey

Row = Mapping[str, Any]


def doubled(journey: Journey) -> list[str]:
    """Intents that were executed more than once, and rows that stand twice for one thing."""
    entries = (row["position_id"] for row in journey.orders if row["leg"] == "e")
    cycles = ((row["variant"], row["symbol"], row["cycle_at"]) for row in journey.signals)
    return [
        *executed_beyond_intent(journey.positions, journey.log),
        *(f"position {one} has two entry orders" for one in _twice(entries)),
        *(f"cycle {one} has two signal rows" for one in _twice(cycles)),
        *(f"trade {one} is booked twice" for one in _twice((row["symbol"], row["trade_id"]) for row in journey.fills)),
    ]


def lost(journey: Journey) -> list[str]:
    """What the exchange has and the journal has not, or the other way round."""
    return [
        *unbooked(journey.fills, journey.log),
        *(f"trade {row['trade_id']} is of no position" for row in journey.fills if row["position_id"] is None),
        *other_positions(journey.positions, journey.ledger["positions"]),
        *other_orders(journey),
        *other_sums(journey),
        *without_an_outcome(journey),
    ]


def executed_beyond_intent(positions: Sequence[Row], log: Iterable[Row]) -> list[str]:
    """Entries of which the exchange executed more than the row said, or that have no row."""
    intended = {row["position_id"]: row["intended"] for row in positions}
    entered = _entered(log)
    return [f"{one}: {quantity} for {intended.get(one, 'no intent')}" for one, quantity in sorted(entered.items())
            if quantity > intended.get(one, 0)]  # fmt: skip


def unbooked(fills: Sequence[Row], log: Iterable[Row]) -> list[str]:
    """Trades that one side has and the other does not, by symbol and trade id."""
    booked = {(row["symbol"], row["trade_id"]): row["quantity"] for row in fills}
    executed = {(e["symbol"], e["trade_id"]): Decimal(e["quantity"]) for e in log if e["what"] == "fill"}
    return [f"trade {key}: journal {booked.get(key)}, exchange {executed.get(key)}"
            for key in sorted(booked.keys() | executed.keys()) if booked.get(key) != executed.get(key)]  # fmt: skip


def other_positions(positions: Sequence[Row], theirs: Mapping[str, str]) -> list[str]:
    net: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in positions:
        sign = 1 if row["side"] == "LONG" else -1
        net[row["symbol"]] += sign * (row["filled"] - row["closed"])
    venue = defaultdict(Decimal, {symbol: Decimal(quantity) for symbol, quantity in theirs.items()})
    symbols = sorted(net.keys() | venue.keys())
    return [f"{one}: journal {net[one]}, exchange {venue[one]}" for one in symbols if net[one] != venue[one]]


def other_orders(journey: Journey) -> list[str]:
    ours = {row["client_id"] for row in journey.orders if row["state"] in journey.LIVE_STATES}
    theirs = {*journey.ledger["open_orders"], *(algo["client_id"] for algo in journey.ledger["open_algos"])}
    return [f"order {one} is live on one side alone" for one in sorted(ours ^ theirs)]


def other_sums(journey: Journey) -> list[str]:
    (sums,) = journey.left.rows(
        """SELECT (SELECT coalesce(sum(realized_pnl), 0) FROM bot.fills) AS realized_pnl,
           (SELECT coalesce(sum(fee), 0) FROM bot.fills) AS fees,
           (SELECT coalesce(sum(amount), 0) FROM bot.funding) AS funding"""
    )
    theirs = {name: Decimal(journey.ledger[name]) for name in sums}
    faults = [f"{name}: journal {sums[name]}, exchange {theirs[name]}" for name in sums if sums[name] != theirs[name]]
    if journey.left.fills_digest() != journey.ledger["fills_digest"]:
        faults.append("the digests of the fills differ")
    if journey.report["ledger_equal"] is not True:
        faults.append("the run's own ledger check failed")
    return faults


def without_an_outcome(journey: Journey) -> list[str]:
    """Signals to enter whose row does not say what came of them."""
    positions = {row["position_id"]: row for row in journey.positions}
    faults = []
    for row in journey.signals:
        if row["decision"] != "enter":
            continue
        position = positions.get(row["signal_id"])
        if position is None:  # killed between the decision and the order's commit
            told, expected = (row["fill_status"], row["exit_reason"]), ("denied", "process_ended")
        else:
            over = position["status"] == "closed" and position["filled"] > 0
            came = (position["exit_reason"], position["net_pnl"]) if over else (None, None)
            told = (row["fill_status"], row["exit_reason"], row["net_pnl"])
            expected = (journey.fill_status(position), *came)
        if [_of_the_venue(one) for one in told] != [_of_the_venue(one) for one in expected]:
            faults.append(f"signal {row['signal_id']}: {told}, expected {expected}")
    return faults


def _entered(log: Iterable[Row]) -> dict[str, Decimal]:
    """What the exchange executed of each position's entry."""
    entered: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in log:
        if entry["what"] == "fill":
            _, position, leg = entry["client_id"].split("-")
            if leg.startswith("e"):
                entered[position] += Decimal(entry["quantity"])
    return entered


def _of_the_venue(told: Any) -> Any:
    """A fill that several positions share is divided; beyond the venue's digits the quotients are rounding."""
    return round(told, 12) if isinstance(told, Decimal) else told


def _twice(things: Iterable[Any]) -> list[Any]:
    return [thing for thing, count in Counter(things).items() if count > 1]
