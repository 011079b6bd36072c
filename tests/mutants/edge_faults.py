"""Faults at the edges: the request budget, the clock, the countdown, the journal's spool, a person's word."""

from tests.mutants.campaign import Mutant

EDGES = (
    Mutant(
        name="reserve-for-all",
        fault="ordinary calls may use what is kept back for stops and cancels",
        path="bot/exchange/budget.py",
        old="        limit = self.limit if protective else self.limit - int(self.limit * RESERVE)",
        new="        limit = self.limit",
        caught_by=(
            "tests/exchange/test_budget.py::test_ordinary_calls_stop_before_the_limit_and_protective_ones_at_it",
        ),
    ),
    Mutant(
        name="calls-in-a-ban",
        fault="protective calls are sent while the venue wants silence",
        path="bot/exchange/budget.py",
        old="        if self.closed_until > 0 and now < opens_at:",
        new="        if self.closed_until > 0 and now < opens_at and not protective:",
        caught_by=(
            "tests/exchange/test_budget.py::test_in_a_silence_nothing_leaves_and_after_it_what_protects_goes_first",
        ),
    ),
    Mutant(
        name="ban-not-remembered",
        fault="a ban is forgotten with the process",
        path="bot/exchange/budget.py",
        old="        self.closed_until = closed_until\n",
        new="        self.closed_until = 0\n",
        caught_by=("tests/exchange/test_budget.py::test_a_silence_that_an_earlier_process_was_told_of_counts",),
    ),
    Mutant(
        name="clock-not-set",
        fault="after -1021 the call is signed again by the same wrong clock",
        path="bot/exchange/binance.py",
        old="            if unavailable.code not in answers.CLOCK_IS_OFF or not await self._resync():",
        new="            if unavailable.code not in answers.CLOCK_IS_OFF:",
        caught_by=(
            "tests/exchange/test_contract.py::"
            "test_a_clock_that_is_off_is_set_at_once_and_the_same_order_is_signed_again",
        ),
    ),
    Mutant(
        name="surprise-in-silence",
        fault="an answer that no document explains is not told, and trading goes on",
        path="bot/exchange/binance.py",
        old="            hear(self._surprised, name, unreadable)\n",
        new="",
        caught_by=(
            "tests/exchange/test_contract.py::"
            "test_a_surprise_is_told_with_its_endpoint_and_what_came_and_stops_entries",
        ),
    ),
    Mutant(
        name="reduce-only-not-sent",
        fault="reduceOnly is lost on the way to the venue",
        path="bot/exchange/order_parameters.py",
        old='({"reduce_only": "true"} if request.reduce_only else {})',
        new="{}",
        caught_by=("tests/exchange/test_binance.py::test_a_stop_goes_to_the_algo_book",),
    ),
    Mutant(
        name="countdown-not-renewed",
        fault="the countdown of resting entries is armed once and never renewed",
        path="bot/orders/dead_man.py",
        old="            if self._renew_at.get(symbol, now) <= now:",
        new="            if symbol not in self._renew_at:",
        caught_by=(
            "tests/orders/test_dead_man.py::"
            "test_while_we_live_the_countdown_is_renewed_at_a_third_of_its_time_and_no_more_often",
        ),
    ),
    Mutant(
        name="countdown-left-on",
        fault="the countdown runs on where no entry rests any more",
        path="bot/orders/dead_man.py",
        old="            if await self._set(symbol, 0):\n",
        new="            if True:\n",
        caught_by=("tests/orders/test_dead_man.py::test_where_nothing_rests_any_more_the_countdown_is_taken_back",),
    ),
    Mutant(
        name="entry-from-the-spool",
        fault="an entry is sent though its row is in the spool alone",
        path="bot/orders/protection.py",
        old="        if self._cover.armed(position) and self._store.at_hand:",
        new="        if self._cover.armed(position):",
        caught_by=(
            "tests/orders/test_commit_before_send.py::test_an_entry_whose_row_is_in_the_spool_alone_is_not_sent_and_its_stop_goes",
        ),
    ),
    Mutant(
        name="record-dropped-first",
        fault="a record leaves the spool before the database has it",
        path="bot/journal/lanes.py",
        old="            await self._write(self._decode(raw))\n            await self._spool.drop_oldest()\n",
        new="            await self._spool.drop_oldest()\n            await self._write(self._decode(raw))\n",
        caught_by=("tests/journal/test_lanes.py",),
    ),
    Mutant(
        name="spool-overtaken",
        fault="rows go to the database directly while older ones wait in the spool",
        path="bot/journal/lanes.py",
        old="        if not self._database.away:",
        new="        if True:",
        caught_by=(
            "tests/journal/test_lanes.py::"
            "test_while_the_database_is_away_a_record_waits_behind_older_ones_though_it_could_be_written",
        ),
    ),
    Mutant(
        name="not-synced",
        fault="a record counts as kept before the disk has it",
        path="bot/journal/spool.py",
        old="            os.pwrite(self._file, _HEAD.pack(len(payload), zlib.crc32(payload)) + payload, offset)\n",
        new="",
        caught_by=("tests/journal/test_spool.py",),
    ),
    Mutant(
        name="torn-record-believed",
        fault="a record whose checksum is wrong is written",
        path="bot/journal/spool.py",
        old="            if end > size or zlib.crc32(payload) != checksum:",
        new="            if end > size:",
        caught_by=("tests/journal/test_spool.py",),
    ),
    Mutant(
        name="batch-written-twice",
        fault="a batch of events whose answer was lost is written again",
        path="bot/journal/records.py",
        old="            if await connection.fetchval(_NUMBER, number) is None:\n                return []\n",
        new="            await connection.fetchval(_NUMBER, number)\n",
        caught_by=(
            "tests/journal/test_outage.py::test_a_batch_that_was_written_without_an_answer_is_not_written_again",
        ),
    ),
)
