"""On what terms a destination is served: which results, in which order, when, and how long one is tried again."""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from worker.sending.rules import Rules

LONGEST_WAIT_S: Final = 300.0
"""The longest wait before what is away is tried again, in seconds."""

MOST_DEFERRALS: Final = 20
"""How often a destination may ask for one result to be sent later, before that is a refusal."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day in which nothing is sent, by the clock of a time zone (IANA), from a time until another.

    ``start`` may be later than ``end``: the hours are then those over midnight.
    """

    start: time
    end: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """Return when the hours end that ``now``, with a time zone, is in; ``None``: it is in none."""
        local = now.astimezone(self.zone)
        clock = local.time().replace(tzinfo=None)
        over_midnight = self.start > self.end
        is_quiet = (clock >= self.start or clock < self.end) if over_midnight else self.start <= clock < self.end
        if not is_quiet:
            return None
        day = local.date() + timedelta(days=over_midnight and clock >= self.start)
        return datetime.combine(day, self.end, self.zone)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one destination.

    Attributes:
        rules: which results it takes.
        by_priority: stat studies go first, then urgent ones; otherwise whatever is due longest.
        first_wait_s: before what could not be delivered is tried again, in seconds; it doubles. ``None``: the sender's.
        longest_wait_s: until it is this, in seconds.
        most_deferrals: how often the destination may ask for one result to be sent later.
        quiet: when nothing is sent.
        commitment_wait_s: by when a PACS has to report that it keeps a result, in seconds; ``None``: it is not asked.
    """

    rules: Rules = field(default_factory=Rules)
    by_priority: bool = True
    first_wait_s: float | None = None
    longest_wait_s: float = LONGEST_WAIT_S
    most_deferrals: int = MOST_DEFERRALS
    quiet: QuietHours | None = None
    commitment_wait_s: float | None = None
