"""Faults of the desk and the guard: what is sent when, what is believed, what is covered."""

from tests.mutants.campaign import Mutant

DESK = (
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
        caught_by=("tests/orders/test_watchdog.py::test_a_stop_that_a_query_does_not_show_yet_is_not_placed_twice",),
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
        caught_by=("tests/orders/test_bad_days.py::test_an_order_is_not_held_for_missing_because_the_venue_could_not_be_asked",),
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
        caught_by=("tests/orders/test_watchdog.py::test_a_cancel_that_finds_nothing_open_is_asked_about_before_it_is_believed",),
    ),
    Mutant(
        name="cancel-once",
        fault="a cancel that got lost is not repeated",
        path="bot/orders/sender.py",
        old="        if row.state in LIVE:  # asked again, or canceled again, before long",
        new="        if False:",
        caught_by=("tests/orders/test_bad_days.py::test_a_twin_whose_cancel_is_lost_is_cancelled_again_until_it_is_gone",),
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
        name="filled-before-executions",
        fault="an order counts as filled before its executions are booked",
        path="bot/orders/book.py",
        old="        if event is OrderEvent.FILLED and row.filled < report.filled:",
        new="        if False:",
        caught_by=("tests/orders/test_any_order_of_arrival.py",),
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
        caught_by=("tests/orders/test_desk.py", "tests/orders/test_prearmed.py",),
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
        old="        return any(r.state in _CONFIRMED and price is not None and self._fits(r, position, price) for r in stops)",
        new="        return True",
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
        caught_by=("tests/orders/test_trailing.py",),
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
        caught_by=("tests/orders/test_desk.py::test_an_entry_fills_is_covered_and_ends_at_its_target_with_its_twin_cancelled",),
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
        old="            return [] if leaving or too_early or owed or position.open_quantity <= 0 else [(Leg.EXIT, None)]",
        new="            return [] if too_early or owed or position.open_quantity <= 0 else [(Leg.EXIT, None)]",
        caught_by=("tests/orders/test_desk.py::test_an_exit_that_comes_after_the_stop_was_faster_is_sent_once_and_harms_nothing", "tests/orders/test_never_flips.py",),
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
        caught_by=("tests/orders/test_book.py::test_a_full_fill_asks_for_a_stop_and_then_a_target_of_its_own_quantity",),
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
        caught_by=("tests/orders/test_prearmed.py::test_a_stop_stays_while_the_venue_counts_a_fill_of_a_cancelled_entry_that_nobody_told",),
    ),
    Mutant(
        name="halt-sends",
        fault="orders are sent while trading is halted",
        path="bot/orders/protection.py",
        old="        if self._gate.halted:",
        new="        if False:",
        caught_by=("tests/orders/test_halted.py",),
    ),
    # Executions
    Mutant(
        name="fill-booked-twice",
        fault="an execution that is told twice is booked twice",
        path="bot/orders/intake.py",
        old="            if not self._reconciler.is_new(fill):",
        new="            if not (self._reconciler.is_new(fill) or True):",
        caught_by=("tests/orders/test_lost_frames.py",),
    ),
    Mutant(
        name="child-unknown-fill-dropped",
        fault="an execution whose order is not linked yet is booked as somebody else's",
        path="bot/orders/reconcile.py",
        old="        if unattributed:",
        new="        if False:",
        caught_by=("tests/orders/test_bad_days.py::test_a_twin_that_took_from_a_sibling_while_nobody_looked_is_booked_after_the_restart", "tests/orders/test_lost_frames.py",),
    ),
    Mutant(
        name="owed-fills-not-fetched",
        fault="executions that a report counts and nobody told of are not asked for",
        path="bot/orders/intake.py",
        old="            self._sender.recheck(row.client_id, RECHECK_MS)\n            await self.pull(report.symbol)",
        new="            pass",
        caught_by=("tests/orders/test_lost_frames.py",),
    ),
    Mutant(
        name="impossible-fill-booked",
        fault="an execution beyond the order's quantity is booked as it comes",
        path="bot/orders/book.py",
        old="        if row.filled + fill.quantity > request.quantity:",
        new="        if False:",
        caught_by=("tests/orders/test_surprises.py::test_an_execution_beyond_the_orders_quantity",),
    ),
    Mutant(
        name="sibling-not-booked",
        fault="what an exit took from another position of the symbol is booked on nobody",
        path="bot/orders/book.py",
        old="""        owners = [position] + [
            p for p in self.open_positions(position.symbol) if p is not position and p.side is position.side
        ]
""",
        new="        owners = [position]\n",
        caught_by=("tests/orders/test_book.py::test_what_a_twin_closed_too_much_is_booked_on_the_sibling_that_lost_it",),
    ),
    # Reconciliation
    Mutant(
        name="empty-is-flat",
        fault="an empty answer about positions closes what the book holds",
        path="bot/orders/checks.py",
        old="            closed = await self._strangers.close_elsewhere(symbol, difference.shortfall)\n",
        new="""            closed = await self._strangers.close_elsewhere(symbol, difference.shortfall)
            if not closed and difference.venue == 0:
                closed = list(self._book.open_positions(symbol))
                for position in closed:
                    position.status = type(position.status).CLOSED
""",
        caught_by=("tests/orders/test_empty_answers.py",),
    ),
    Mutant(
        name="no-answer-no-stop",
        fault="a look for the stops that gets no answer finds that all are gone",
        path="bot/orders/checks.py",
        old="            return  # looked at again; want of an answer says nothing",
        new="            missing = stops",
        caught_by=("tests/orders/test_watchdog.py::test_a_look_that_gets_no_answer_says_nothing",),
    ),
    Mutant(
        name="no-reconciliation",
        fault="nothing is asked for when the user stream is back",
        path="bot/orders/checks.py",
        old="        self._stream_up = True\n        await self.reconcile()",
        new='        self._stream_up = True\n        self._gate.lift("starting", "user_stream_lost", "not_reconciled", "reconciling")',
        caught_by=("tests/orders/test_desk.py::test_after_a_restart_the_book_is_what_it_would_have_been",),
    ),
    Mutant(
        name="opens-unreconciled",
        fault="entries are taken though a reconciliation has failed",
        path="bot/orders/checks.py",
        old='        self._gate.hold("not_reconciled", error)',
        new='        self._gate.lift("starting")',
        caught_by=("tests/orders/test_watchdog.py::test_a_failed_check_keeps_entries_out_until_one_succeeds",),
    ),
    Mutant(
        name="opens-blind",
        fault="entries are taken while the user stream is lost",
        path="bot/orders/checks.py",
        old='        self._gate.hold("user_stream_lost", reason)',
        new="        pass",
        caught_by=("tests/orders/test_bad_days.py::test_nothing_opens_while_the_user_stream_is_down_however_often_the_desk_reconciles",),
    ),
    Mutant(
        name="foreign-order-cancelled",
        fault="orders that are not ours are swept from the account",
        path="bot/orders/reconcile.py",
        old="        self._report_foreign(on_venue.values(), findings)\n",
        new="""        self._report_foreign(on_venue.values(), findings)
        for report in on_venue.values():
            if not self._book.ours(report.client_id):
                await self._port.cancel(report.symbol, report.client_id, report.book)
""",
        caught_by=("tests/orders/test_desk.py::test_foreign_orders_and_positions_are_reported_and_never_touched",),
    ),
    Mutant(
        name="orphan-left",
        fault="an order that has ended by our book and lives at the venue is told and left",
        path="bot/orders/checks.py",
        old="            await self._sender.cancel(row)\n        if not findings.differences:",
        new="            pass\n        if not findings.differences:",
        caught_by=("tests/orders/test_watchdog.py::test_an_order_of_a_closed_position_that_lives_on_is_swept",),
    ),
    Mutant(
        name="difference-ignored",
        fault="positions that differ from the venue's keep nothing from opening",
        path="bot/orders/checks.py",
        old='        self._gate.hold("venue_disagrees", words)',
        new="        pass",
        caught_by=("tests/orders/test_desk.py::test_a_position_that_is_not_ours_keeps_the_desk_from_opening",),
    ),
    Mutant(
        name="leg-of-closed-forgotten",
        fault="a start does not look for live orders of positions that are closed",
        path="bot/orders/reconcile.py",
        old="            await self._adopt_closed(row.position_id)\n        return Ledger(",
        new="            pass\n        return Ledger(",
        caught_by=("tests/orders/test_restart.py::test_a_leg_that_outlived_its_position_and_process_is_cancelled_at_the_next_start",),
    ),
    Mutant(
        name="other-account-accepted",
        fault="a venue that knows none of the journal's trades is traded on",
        path="bot/orders/reconcile.py",
        old="        if traded:\n            raise OperatorError(",
        new="        if False:\n            raise OperatorError(",
        caught_by=("tests/orders/test_restart.py::test_a_venue_that_knows_none_of_the_journals_trades_is_refused",),
    ),
    # Trading states and strangers
    Mutant(
        name="standing-forgotten",
        fault="an order to reduce or to halt is forgotten with the process",
        path="bot/orders/gate.py",
        old="            await self._store.set_fact(STANDING, msgspec.to_builtins(self._standing.lasting))",
        new="            pass",
        caught_by=("tests/orders/test_gate.py::test_what_waits_for_a_person_still_stands_after_a_restart",),
    ),
    Mutant(
        name="released-by-itself",
        fault="what waits for a person is lifted by the bot",
        path="bot/orders/standing.py",
        old="        if hold.waits_for_a_person and not person:",
        new="        if False:",
        caught_by=("tests/orders/test_standing.py::test_any_other_reason_waits_for_a_person",),
    ),
    Mutant(
        name="liquidation-ignored",
        fault="a liquidation is booked as somebody's own order",
        path="bot/orders/strangers.py",
        old='    ("autoclose-", LIQUIDATED),\n',
        new="",
        caught_by=("tests/orders/test_strangers.py::test_a_liquidation_closes_our_positions_drops_their_legs_and_waits_for_a_person",),
    ),
    Mutant(
        name="trades-on-after-liquidation",
        fault="trading goes on after a liquidation",
        path="bot/orders/strangers.py",
        old="        if reason == LIQUIDATED:",
        new="        if False:",
        caught_by=("tests/orders/test_strangers.py::test_a_liquidation_closes_our_positions_drops_their_legs_and_waits_for_a_person",),
    ),
    # Time
    Mutant(
        name="entry-outlives-its-time",
        fault="an entry rests on beyond its time to live",
        path="bot/orders/desk.py",
        old="            if row.client_id not in self._sender.recheck_at:",
        new="            if False:",
        caught_by=("tests/orders/test_desk.py::test_an_entry_that_does_not_fill_is_cancelled_when_its_hour_is_over",),
    ),
    Mutant(
        name="opposite-taken",
        fault="an entry against what is held is sent, and the venue nets the two",
        path="bot/orders/desk.py",
        old="        if any(p.side is not intent.side for p in self.book.open_positions(intent.symbol)):",
        new="        if False:",
        caught_by=("tests/orders/test_desk.py::test_an_opposite_entry_is_denied_while_the_symbol_is_held",),
    ),
    Mutant(
        name="naked-time-not-counted",
        fault="a stop that has triggered still counts as cover in the time without it",
        path="bot/orders/nakedness.py",
        old="for s in stops if s.state is OrderState.WORKING)",
        new="for s in stops)",
        caught_by=("tests/orders/test_nakedness.py::test_a_stop_that_has_triggered_covers_nothing_any_more",),
    ),
    Mutant(
        name="best-price-forgotten",
        fault="a further fill makes the trailing stop forget the best price",
        path="bot/exits/guard.py",
        old="            best = known.state.best if known is not None else None",
        new="            best = None",
        caught_by=("tests/exits/test_guard.py::test_further_fills_do_not_make_the_guard_forget_the_best_price",),
    ),
    Mutant(
        name="exit-asked-twice",
        fault="the guard asks for an exit again at every price",
        path="bot/exits/guard.py",
        old="                watched.asked = True",
        new="                watched.asked = False",
        caught_by=("tests/exits/test_guard.py::test_a_position_is_left_once_when_its_time_is_up_even_without_a_new_price",),
    ),
)
