"""Faults at the edge to the venue: what an answer means, and how often it may be asked."""

from tests.mutants.campaign import Mutant

CLIENT = "tests/exchange/test_binance.py"

VENUE = (
    Mutant(
        name="server-error-is-refusal",
        fault="a 5xx on an order is read as a refusal",
        path="bot/exchange/answers.py",
        old="        return VenueRejected(code, message)\n    return unclear(words, ask)",
        new="        return VenueRejected(code, message)\n    return VenueRejected(code, message)",
        caught_by=(f"{CLIENT}::test_every_bad_answer_to_an_order_has_its_one_meaning",),
    ),
    Mutant(
        name="refusal-is-unknown",
        fault="a clear refusal is read as an unknown outcome",
        path="bot/exchange/answers.py",
        old="        return VenueRejected(code, message)\n",
        new="        return unclear(words, ask)\n",
        caught_by=(f"{CLIENT}::test_every_bad_answer_to_an_order_has_its_one_meaning",),
    ),
    Mutant(
        name="codes-of-doubt-refuse",
        fault="-1006 and -1007 in a 400 are read as refusals",
        path="bot/exchange/answers.py",
        old="OUTCOME_UNKNOWN = (-1000, -1006, -1007)",
        new="OUTCOME_UNKNOWN = ()",
        caught_by=(f"{CLIENT}::test_every_bad_answer_to_an_order_has_its_one_meaning",),
    ),
    Mutant(
        name="lost-answer-not-sent",
        fault="a connection that breaks after the request counts as never sent",
        path="bot/exchange/answers.py",
        old="        return unclear(answer.reason, ask) if answer.sent else VenueUnavailable(answer.reason)",
        new="        return VenueUnavailable(answer.reason)",
        caught_by=(f"{CLIENT}::test_every_bad_answer_to_an_order_has_its_one_meaning",),
    ),
    Mutant(
        name="throttled-stop-not-sent",
        fault="-1008 on a stop or a cancel counts as never sent",
        path="bot/exchange/answers.py",
        old="code == THROTTLED and not ask.spared",
        new="code == THROTTLED",
        caught_by=(f"{CLIENT}::test_throttling_is_no_clear_word_on_orders_that_are_exempt_from_it",),
    ),
    Mutant(
        name="clock-is-refusal",
        fault="-1021, our clock is off, is read as a refusal of the order",
        path="bot/exchange/answers.py",
        old="CLOCK_IS_OFF = (-1021, -5028)",
        new="CLOCK_IS_OFF = (-5028,)",
        caught_by=(f"{CLIENT}::test_a_clock_that_is_off_is_no_refusal_of_the_order",),
    ),
    Mutant(
        name="ban-cut-short",
        fault="the end of a ban that the venue names is not read",
        path="bot/exchange/answers.py",
        old="    if banned:\n",
        new="    if False:\n",
        caught_by=(f"{CLIENT}::test_nothing_is_sent_while_the_venue_wants_silence",),
    ),
    Mutant(
        name="refused-query-is-missing",
        fault="a query that the venue refuses is read as: no such order",
        path="bot/exchange/binance.py",
        old="            if refusal.code == answers.NO_SUCH_ORDER:",
        new="            if True:",
        caught_by=(f"{CLIENT}::test_every_bad_answer_to_a_question_has_its_one_meaning",),
    ),
    Mutant(
        name="first-page-of-fills",
        fault="only the first page of executions is fetched",
        path="bot/exchange/binance.py",
        old="            if len(page) < PAGE:\n                return found\n            from_trade_id",
        new="            if page or not page:\n                return found\n            from_trade_id",
        caught_by=(f"{CLIENT}::test_fills_are_paged_by_trade_id",),
    ),
    Mutant(
        name="one-book-read",
        fault="open orders are those of the regular book alone",
        path="bot/exchange/binance.py",
        old="        return [*regular, *algo]",
        new="        return [*regular]",
        caught_by=(f"{CLIENT}::test_open_orders_are_those_of_both_books",),
    ),
)
