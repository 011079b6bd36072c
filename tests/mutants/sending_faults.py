"""Faults of sending: what an answer means, what is committed when, what is covered by what."""

from tests.mutants.campaign import Mutant

SENDING = (
    # What an answer to an order means
    Mutant(
        name="timeout-is-refusal",
        fault="an order whose answer got lost is taken for refused",
        path="bot/orders/sender.py",
        old="""        except OutcomeUnknown as error:
            self._book.apply_event(row, OrderEvent.UNKNOWN, now(), str(error))
""",
        new="""        except OutcomeUnknown as error:
            self._book.apply_event(row, OrderEvent.REFUSED, now(), str(error))
            return Sent.REFUSED
""",
        caught_by=("tests/orders/test_desk.py::test_an_entry_whose_answer_is_lost_is_never_executed_twice",),
    ),
    Mutant(
        name="unknown-sent-again",
        fault="an order that the venue does not show at once is sent again",
        path="bot/orders/sender.py",
        old="""            self._unseen[row.client_id] = times + 1
""",
        new="""            self._unseen[row.client_id] = times + 1
            await self._port.place(row.request)
""",
        caught_by=("tests/orders/test_desk.py::test_an_entry_whose_answer_is_lost_is_never_executed_twice",),
    ),
    Mutant(
        name="duplicate-is-refusal",
        fault="-4116, the order is there already, is taken for a failure",
        path="bot/orders/sender.py",
        old="            if error.code == DUPLICATE_CLIENT_ID:",
        new="            if False:",
        caught_by=("tests/orders/test_watchdog.py::test_an_id_that_the_venue_has_already_is_adopted",),
    ),
    Mutant(
        name="missing-at-first-sight",
        fault="an order that one query does not show is held for never arrived",
        path="bot/orders/sender.py",
        old="        if times >= len(pauses):",
        new="        if times >= 0:",
        caught_by=("tests/orders/test_bad_days.py::test_an_order_that_worked_is_not_held_for_missing_after_one_lag",),
    ),
    Mutant(
        name="failed-query-is-missing",
        fault="an order that could not be asked for is held for never arrived",
        path="bot/orders/sender.py",
        old="""            self.recheck(row.client_id, SECOND_MS if row.request.reduce_only else RECHECK_MS)
            return False
""",
        new="""            self._book.apply_event(row, OrderEvent.MISSING, self._clock.now(), "never arrived")
            return False
""",
        caught_by=(
            "tests/orders/test_bad_days.py::test_an_order_is_not_held_for_missing_because_the_venue_could_not_be_asked",
        ),
    ),
    Mutant(
        name="cancel-believed",
        fault="-2011 on a cancel is believed: the order counts as gone",
        path="bot/orders/sender.py",
        old="""        if report is None:
            await self.ask(row)
""",
        new="""        if report is None:
            self._book.apply_event(row, OrderEvent.CANCELED, self._clock.now())
""",
        caught_by=(
            "tests/orders/test_bad_days.py::test_an_entry_whose_fill_was_never_told_is_found_filled_when_its_hour_is_over",
        ),
    ),
    Mutant(
        name="cancel-once",
        fault="a cancel that got lost is not repeated",
        path="bot/orders/sender.py",
        old="        if row.state in LIVE:  # asked again, or canceled again, before long",
        new="        if False:",
        caught_by=(
            "tests/orders/test_bad_days.py::test_a_twin_whose_cancel_is_lost_is_cancelled_again_until_it_is_gone",
        ),
    ),
    Mutant(
        name="trigger-is-cover",
        fault="a stop that has triggered and made no order counts as cover for ever",
        path="bot/orders/sender.py",
        old="        stuck = self._clock.now() - row.updated_at >= STUCK_MS",
        new="        stuck = False",
        caught_by=("tests/orders/test_bad_days.py::test_a_trigger_that_no_order_comes_of_does_not_pass_for_cover",),
    ),
    Mutant(
        name="finished-is-filled",
        fault="FINISHED in the algo book is read as filled without asking for the child",
        path="bot/orders/states.py",
        old="    VenueStatus.FINISHED: E.TRIGGERED,",
        new="    VenueStatus.FINISHED: E.FILLED,",
        caught_by=("tests/orders/test_states.py::test_finished_alone_does_not_mean_filled",),
    ),
    Mutant(
        name="late-new-revives",
        fault="a NEW that comes late turns a triggered stop into a waiting one",
        path="bot/orders/states.py",
        old="        E.ACCEPTED: S.TRIGGERED,  # a late NEW",
        new="        E.ACCEPTED: S.WORKING,",
        caught_by=("tests/orders/test_states.py::test_the_odd_but_real_moves",),
    ),
    Mutant(
        name="owed-forgotten",
        fault="executions that the venue counts are forgotten where the first question for them got no answer",
        path="bot/orders/sender.py",
        old="        if self._book.owed_symbols():",
        new="        if False:",
        caught_by=(
            "tests/orders/test_prearmed.py::test_a_stop_stays_while_the_venue_counts_a_fill_of_a_cancelled_entry_that_nobody_told",
        ),
    ),
    # Commit before send, and ids
    Mutant(
        name="sent-before-commit",
        fault="orders are sent first and committed afterwards",
        path="bot/orders/protection.py",
        old="""        await self.commit(positions, fills, funding)
        sent: list[OrderRow] = []
""",
        new="""        await self._store.save(fills=fills, funding=funding)
        sent: list[OrderRow] = []
""",
        caught_by=("tests/orders/test_commit_before_send.py",),
    ),
    Mutant(
        name="id-from-the-clock",
        fault="a client id is made of the time and not of the intent",
        path="bot/orders/book.py",
        old='        client_id = f"{self._prefix}-{position.position_id}-{leg}{revision}"',
        new='        client_id = f"{self._prefix}-{now}-{leg}{revision}"',
        caught_by=("tests/orders/test_book.py::test_a_client_id_names_signal_leg_and_revision_in_the_venues_alphabet",),
    ),
    # Cover
    Mutant(
        name="entry-not-armed",
        fault="a resting entry is sent though its stop is not confirmed",
        path="bot/orders/cover.py",
        old="any(r.state in _CONFIRMED and price is not None and self._fits(r, position, price) for r in stops)",
        new="True",
        caught_by=("tests/orders/test_prearmed.py::test_an_entry_whose_stop_did_not_arrive_is_not_sent",),
    ),
    Mutant(
        name="unresolved-is-cover",
        fault="a stop of which nobody knows whether it arrived counts as confirmed",
        path="bot/orders/cover.py",
        old="_CONFIRMED = frozenset({OrderState.WORKING, OrderState.TRIGGERED})",
        new="_CONFIRMED = frozenset({OrderState.WORKING, OrderState.TRIGGERED, OrderState.UNRESOLVED})",
        caught_by=("tests/orders/test_prearmed.py::test_an_entry_whose_stop_nobody_can_see_is_not_sent",),
    ),
    Mutant(
        name="first-fill-covered",
        fault="only the first fill of an entry gets a stop of its quantity",
        path="bot/orders/cover.py",
        old="        return row.request.quantity == self._quantity(position, row.leg)",
        new="        return True",
        caught_by=("tests/orders/test_book.py::test_each_partial_fill_is_covered_before_the_smaller_cover_is_dropped",),
    ),
    Mutant(
        name="cancel-before-rearm",
        fault="the old stop is cancelled before the new one is placed",
        path="bot/orders/tending.py",
        old="        rows = await self._protection.cover(positions, new, fills, funding)",
        new="""        for position in positions:
            for row in self._book.legs(position.position_id, Leg.STOP, live=True):
                if row.request.trigger_price != position.stop_price:
                    await self._sender.cancel(row)
        rows = await self._protection.cover(positions, new, fills, funding)""",
        caught_by=("tests/orders/test_trailing.py::test_a_stop_is_not_taken_away_before_the_next_one_stands",),
    ),
    Mutant(
        name="twin-forgotten",
        fault="when one leg has closed the position, its twin stays at the venue",
        path="bot/orders/cover.py",
        old="""        if position.status is PositionStatus.CLOSED:
            return live
""",
        new="""        if position.status is PositionStatus.CLOSED:
            return []
""",
        caught_by=(
            "tests/orders/test_desk.py::test_an_entry_fills_is_covered_and_ends_at_its_target_with_its_twin_cancelled",
        ),
    ),
    Mutant(
        name="rest-of-entry-left",
        fault="the rest of an entry goes on resting while its position is left",
        path="bot/orders/cover.py",
        old="        leaving = position.closed > 0 or position.status is PositionStatus.CLOSING",
        new="        leaving = False",
        caught_by=("tests/orders/test_prearmed.py::test_an_exit_before_the_entry_has_filled_whole_drops_the_rest",),
    ),
    Mutant(
        name="no-room-for-stops",
        fault="entries are taken until the venue has no room for another stop",
        path="bot/orders/cover.py",
        old="        return needed > CONDITIONAL_LIMIT - KEPT_FREE",
        new="        return False",
        caught_by=("tests/orders/test_prearmed.py::test_entries_are_denied_before_the_venue_has_no_room_for_stops",),
    ),
    Mutant(
        name="exits-pile-up",
        fault="a second exit is sent while the first is on its way",
        path="bot/orders/cover.py",
        old="return [] if leaving or too_early or owed or position.open_quantity <= 0",
        new="return [] if too_early or owed or position.open_quantity <= 0",
        caught_by=(
            "tests/orders/test_bad_days.py::test_an_exit_of_which_nobody_knows_whether_it_arrived_is_not_joined_by_a_second_one",
        ),
    ),
    Mutant(
        name="stop-moves-back",
        fault="a trailing stop may move away from profit",
        path="bot/orders/book.py",
        old="(wanted - current) * position.side.sign <= 0:",
        new="wanted == current:",
        caught_by=("tests/orders/test_book.py::test_a_stop_only_ever_moves_in_the_positions_favour",),
    ),
    Mutant(
        name="stop-not-reduce-only",
        fault="stops are sent without reduceOnly",
        path="bot/orders/book.py",
        old="            reduce_only=True,",
        new="            reduce_only=leg is not Leg.STOP,",
        caught_by=(
            "tests/orders/test_book.py::test_a_full_fill_asks_for_a_stop_and_then_a_target_of_its_own_quantity",
        ),
    ),
    Mutant(
        name="refused-stop-accepted",
        fault="a position whose stop the venue refuses is kept without one",
        path="bot/orders/protection.py",
        old="            position.status = PositionStatus.CLOSING  # the next round of cover sends the market exit",
        new="            return",
        caught_by=("tests/orders/test_desk.py::test_a_position_whose_stop_the_venue_refuses_is_closed_at_market",),
    ),
    Mutant(
        name="passed-stop-retried",
        fault="-2021, the price is past the stop already, is tried again instead of leaving at once",
        path="bot/orders/protection.py",
        old='POSITION_NOT_SEEN = ("-2022", "-4118")',
        new='POSITION_NOT_SEEN = ("-2021", "-2022", "-4118")',
        caught_by=("tests/orders/test_desk.py::test_a_stop_that_the_price_has_passed_already_means_leaving_now",),
    ),
    Mutant(
        name="uncovered-not-seen-again",
        fault="what could not be covered at once is not looked at again",
        path="bot/orders/protection.py",
        old="                self._sender.recheck_within(COVER, SECOND_MS)",
        new="                pass",
        caught_by=("tests/orders/test_bad_days.py::test_a_stop_that_could_not_be_sent_is_sent_when_the_venue_is_back",),
    ),
    Mutant(
        name="stop-dropped-with-fill-owed",
        fault="a stop is dropped though the venue counts a fill of the entry that is not booked",
        path="bot/orders/book.py",
        old="        return any(row.state in LIVE or self.owes(row) for",
        new="        return any(row.state in LIVE for",
        caught_by=(
            "tests/orders/test_prearmed.py::test_a_stop_stays_while_the_venue_counts_a_fill_of_a_cancelled_entry_that_nobody_told",
        ),
    ),
    Mutant(
        name="halt-sends",
        fault="orders are sent while trading is halted",
        path="bot/orders/protection.py",
        old="        if self._gate.halted:",
        new="        if False:",
        caught_by=("tests/orders/test_halted.py",),
    ),
)
