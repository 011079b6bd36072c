"""Triggers that go wrong: what the engine then does with the order, the position and the events."""

from decimal import Decimal

from bot.exchange.matching.engine import Engine
from bot.exchange.matching.fates import Fate
from bot.exchange.matching.records import Algo, AlgoUpdated
from bot.venue import VenueStatus
from tests.exchange.plays import SYMBOL, play, venue

D = Decimal
HELD = "last 100\nmarket buy 2 m\nstop sell 2 @ 95 s"


def doomed(**fate: object) -> Engine:
    """An engine with a long position of 2 and a stop, whose trigger has this fate."""
    engine = play(venue(), HELD)
    engine.fate_of = lambda algo: Fate(**fate)  # type: ignore[arg-type]
    engine.take_events()
    return engine


def statuses(engine: Engine) -> list[VenueStatus]:
    return [event.algo.status for event in engine.take_events() if isinstance(event, AlgoUpdated)]


def stop(engine: Engine) -> Algo:
    return engine.algo(client_id="s")


def test_a_stuck_trigger_sends_no_child_and_no_cancel_finds_it() -> None:
    engine = play(doomed(stuck=True), "last 90\nlast 80")
    assert statuses(engine) == [VenueStatus.TRIGGERING]
    assert engine.position(SYMBOL).quantity == 2
    assert engine.open_algos() == []


def test_a_rejected_trigger_says_why_and_leaves_the_position() -> None:
    engine = play(doomed(reject_reason="Margin is insufficient."), "last 90")
    assert statuses(engine) == [VenueStatus.TRIGGERING, VenueStatus.REJECTED]
    assert stop(engine).reject_reason == "Margin is insufficient."
    assert engine.position(SYMBOL).quantity == 2


def test_a_late_trigger_executes_at_the_price_of_its_time() -> None:
    engine = play(doomed(late_ms=1_000), "last 94")
    triggered = engine.now
    play(engine, "last 80")
    assert statuses(engine) == [VenueStatus.TRIGGERING]
    engine.step(triggered + 999)
    assert engine.position(SYMBOL).quantity == 2
    assert engine.late_triggers.next_at == triggered + 1_000
    engine.step(triggered + 1_000)
    assert statuses(engine) == [VenueStatus.TRIGGERED, VenueStatus.FINISHED]
    assert engine.position(SYMBOL).quantity == 0
    assert engine.fills[-1].price == D("79.9")  # 80, slipped by 10 bps to the next tick
    assert engine.late_triggers.next_at is None


def test_a_late_trigger_of_a_position_that_is_gone_is_rejected_then() -> None:
    engine = play(doomed(late_ms=1_000), "last 94\nmarket sell 2 x reduce")
    engine.step(engine.now + 1_000)
    assert statuses(engine) == [VenueStatus.TRIGGERING, VenueStatus.REJECTED]


def test_a_child_that_fills_a_share_expires_and_the_parent_says_how_much() -> None:
    engine = play(doomed(share=D("0.25")), "last 94")
    assert stop(engine).status is VenueStatus.FINISHED
    assert stop(engine).actual_quantity == D("0.5")
    child = engine.orders[stop(engine).order_id or 0]
    assert (child.status, child.executed, child.expire_reason) == (VenueStatus.EXPIRED, D("0.5"), 9)
    assert engine.position(SYMBOL).quantity == D("1.5")


def test_two_late_triggers_of_one_moment_both_go_on() -> None:
    engine = play(venue(), "last 100\nmarket buy 2 m\nstop sell 1 @ 95 a\nstop sell 1 @ 95 b")
    engine.fate_of = lambda algo: Fate(late_ms=10)
    play(engine, "last 90")
    engine.step(engine.now + 10)
    assert engine.position(SYMBOL).quantity == 0


def test_the_venue_may_drop_a_waiting_stop() -> None:
    engine = doomed()
    engine.expire_algo(stop(engine).algo_id)
    assert statuses(engine) == [VenueStatus.EXPIRED]
    play(engine, "last 80")
    assert engine.position(SYMBOL).quantity == 2
