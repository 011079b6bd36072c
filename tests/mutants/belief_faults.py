"""Faults of what is believed: executions, reconciliation, trading states, strangers, time."""

from tests.mutants.campaign import Mutant

BELIEF = (
    Mutant(
        name="stopped-half-done",
        fault="a process that is asked to stop ends at once, whatever it has begun",
        path="bot/orders/desk.py",
        old="        if self._settle is None or any(on_its_way(self.book, self._cover)):",
        new="        if self._settle is not None:\n            self._settle.done.set()\n        if True:",
        caught_by=(
            "tests/orders/test_settle.py::test_a_market_entry_is_settled_once_its_fill_has_its_stop",
            "tests/simulation/test_stopping.py",
        ),
    ),
    # Executions
    Mutant(
        name="fill-booked-twice",
        fault="an execution that is told twice is booked twice",
        path="bot/orders/intake.py",
        old="            if not self._reconciler.is_new(fill):",
        new="            if not (self._reconciler.is_new(fill) or True):",
        caught_by=("tests/orders/test_lost_frames.py::test_any_single_frame[to_target-double-armed]",),
    ),
    Mutant(
        name="child-unknown-fill-dropped",
        fault="an execution whose order is not linked yet is booked as somebody else's",
        path="bot/orders/reconcile.py",
        old="        if unattributed:",
        new="        if False:",
        caught_by=(
            "tests/orders/test_unnamed_executions.py::test_the_child_of_a_stop_or_target_is_booked_on_its_position",
        ),
    ),
    Mutant(
        name="owed-fills-not-fetched",
        fault="executions that a report counts and nobody told of are not asked for",
        path="bot/orders/intake.py",
        old="            self._sender.recheck(row.client_id, RECHECK_MS)\n            await self.pull(report.symbol)",
        new="            pass",
        caught_by=(
            "tests/orders/test_unnamed_executions.py::test_the_child_of_a_stop_or_target_is_booked_on_its_position",
        ),
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
        caught_by=(
            "tests/orders/test_book.py::test_what_a_twin_closed_too_much_is_booked_on_the_sibling_that_lost_it",
        ),
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
        old="            self._sender.recheck_within(WATCH, HELD_MS if few else MANY_MS)",
        new="""            for row in stops:
                row.state = type(row.state).REJECTED
            await self._tending.tend([self._book.positions[row.position_id] for row in stops])""",
        caught_by=("tests/orders/test_watchdog.py::test_a_look_that_gets_no_answer_says_nothing",),
    ),
    Mutant(
        name="failed-look-not-repeated",
        fault="a look for the stops that gets no answer is not repeated before the next one is due",
        path="bot/orders/checks.py",
        old="            self._sender.recheck_within(WATCH, HELD_MS if few else MANY_MS)\n",
        new="",
        caught_by=(
            "tests/orders/test_watchdog.py"
            "::test_a_look_that_gets_no_answer_is_repeated_within_seconds_however_seldom_one_looks",
        ),
    ),
    Mutant(
        name="flat-is-not-compared",
        fault="while nothing of ours is open the account is not compared with the venue",
        path="bot/orders/desk.py",
        old="            self._sender.recheck_within(CHECK, self._check_ms)\n            if self.book.positions:\n",
        new="            if self.book.positions:\n                self._sender.recheck_within(CHECK, self._check_ms)\n",
        caught_by=(
            "tests/orders/test_strangers.py"
            "::test_what_a_person_trades_and_pays_in_silence_is_known_within_a_check_while_nothing_of_ours_is_open",
        ),
    ),
    Mutant(
        name="no-reconciliation",
        fault="nothing is asked for when the user stream is back",
        path="bot/orders/checks.py",
        old="        self._failures = 0\n        await self.reconcile()",
        new='        self._failures = 0\n        self._gate.lift("starting", "user_stream_lost", "reconciling")',
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
        caught_by=(
            "tests/orders/test_bad_days.py::test_nothing_opens_while_the_user_stream_is_down_however_often_the_desk_reconciles",
        ),
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
        caught_by=(
            "tests/orders/test_restart.py::test_a_leg_of_a_closed_position_that_ended_with_nobody_there_has_ended_by_the_journal_too",
        ),
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
        caught_by=(
            "tests/orders/test_strangers.py::test_a_liquidation_closes_our_positions_drops_their_legs_and_waits_for_a_person",
        ),
    ),
    Mutant(
        name="trades-on-after-liquidation",
        fault="trading goes on after a liquidation",
        path="bot/orders/strangers.py",
        old="        if reason == LIQUIDATED:",
        new="        if False:",
        caught_by=(
            "tests/orders/test_strangers.py::test_a_liquidation_closes_our_positions_drops_their_legs_and_waits_for_a_person",
        ),
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
        caught_by=("tests/exits/test_guard.py::test_a_fill_that_comes_before_the_stop_was_moved_keeps_the_best_price",),
    ),
    Mutant(
        name="exit-asked-twice",
        fault="the guard asks for an exit again at every price",
        path="bot/exits/guard.py",
        old="                watched.asked = True",
        new="                watched.asked = False",
        caught_by=(
            "tests/exits/test_guard.py::test_a_position_is_left_once_when_its_time_is_up_even_without_a_new_price",
        ),
    ),
)
