"""The platform's clock: event time as a recorded function of wall time.

In production the two are the same. When past data are replayed, the replay records how far it has come, and an Airflow
run of wall time ``t`` reads the event time that was in force at ``t``. The record is append-only, so a run that is
cleared tomorrow sees the same ``as_of`` as it did today.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

Tick = tuple[datetime, datetime]
"""(wall time, event time reached)."""


class Clock(Protocol):
    """Translates wall time to event time."""

    def as_of(self, wall: datetime) -> datetime:
        """The event time in force at this wall time."""
        ...


def event_time(ticks: Sequence[Tick], wall: datetime) -> datetime:
    """The event time at ``wall``: that of the last tick at or before it; wall time itself before the first tick.

    A step function and not an interpolation: nothing is ever claimed that had not been replayed yet.

    >>> from datetime import UTC, timedelta
    >>> t = lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
    >>> event_time([(t(0), t(-900)), (t(10), t(-800))], t(9)) == t(-900)
    True
    """
    place = bisect_right(ticks, wall, key=lambda tick: tick[0])
    return ticks[place - 1][1] if place else wall
