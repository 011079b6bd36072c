from bot.messages import PERSON, TradingState
from bot.orders.standing import AUTOMATIC, Hold, Standing

REDUCING, HALTED, ACTIVE = TradingState.REDUCING, TradingState.HALTED, TradingState.ACTIVE
ANNA = f"{PERSON}anna"


def hold(reason: str, state: TradingState = REDUCING, by: str = "desk", detail: str = "") -> Hold:
    return Hold(state=state, reason=reason, by=by, at=1, detail=detail)


def test_with_no_reason_to_hold_back_trading_is_active() -> None:
    assert (Standing().state, Standing().reason) == (ACTIVE, "")


def test_the_strictest_of_all_reasons_counts_and_the_newest_of_those_is_named() -> None:
    standing = Standing([hold("reconciling"), hold("kill", HALTED, ANNA), hold("clock")])
    assert (standing.state, standing.reason) == (HALTED, "kill")
    assert standing.release("kill", ANNA) == ""
    assert (standing.state, standing.reason) == (REDUCING, "clock")


def test_an_automatic_reason_is_lifted_by_its_cause_and_by_no_person() -> None:
    for reason in AUTOMATIC:
        standing = Standing([hold(reason)])
        assert "by itself" in standing.release(reason, ANNA)
        assert standing.state is REDUCING
        assert standing.release(reason, "desk") == ""
        assert standing.state is ACTIVE


def test_any_other_reason_waits_for_a_person() -> None:
    standing = Standing([hold("contract_surprise")])
    assert standing.release("contract_surprise", "desk") == "waits for a person"
    assert standing.state is REDUCING
    assert standing.release("contract_surprise", ANNA) == ""
    assert standing.state is ACTIVE


def test_only_what_waits_for_a_person_outlives_the_process() -> None:
    standing = Standing([hold("reconciling"), hold("liquidated")])
    assert [one.reason for one in standing.lasting] == ["liquidated"]


def test_a_halt_is_softened_by_a_person_alone() -> None:
    standing = Standing([hold("kill", HALTED)])
    assert not standing.order(hold("kill", REDUCING, by="wire", detail="again"))
    assert standing.state is HALTED
    assert standing.order(hold("kill", REDUCING, by=ANNA))
    assert standing.state is REDUCING


def test_the_same_word_twice_says_nothing_new() -> None:
    standing = Standing()
    assert standing.order(hold("clock", detail="off by 2 s"))
    assert not standing.order(hold("clock", detail="off by 2 s"))
    assert standing.order(hold("clock", detail="off by 9 s"))


def test_releasing_what_does_not_stand_is_no_fault() -> None:
    assert Standing().release("clock", ANNA) == ""
