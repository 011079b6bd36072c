"""Sessions: the time between a variant's skip windows (weekdays and hours of the day, UTC)."""

import msgspec

from bot.clock import DAY_MS, HOUR_MS

EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
HOURS_AHEAD = 8 * 24  # every pattern of weekdays and hours has shown itself by then


class SkipWindows(msgspec.Struct, frozen=True):
    """When a variant opens nothing; both empty: there is one session without an end."""

    weekdays: tuple[int, ...] = ()  # Monday is 0
    hours: tuple[int, ...] = ()

    def skips(self, at: int) -> bool:
        """Whether the time `at` (ms UTC) lies in a skipped weekday or hour."""
        return weekday(at) in self.weekdays or hour(at) in self.hours

    def session_end(self, at: int) -> int | None:
        """The first time after `at` at which a skip window begins: a skipped hour whose hour before is none.

        Within a skip window that is the end of the session after it. None where no session ever ends.
        """
        begin = at - at % HOUR_MS
        for start in range(begin + HOUR_MS, begin + HOURS_AHEAD * HOUR_MS, HOUR_MS):
            if self.skips(start) and not self.skips(start - HOUR_MS):
                return start
        return None


def weekday(at: int) -> int:
    return (at // DAY_MS + EPOCH_WEEKDAY) % 7


def hour(at: int) -> int:
    return at % DAY_MS // HOUR_MS
