"""How alarms are counted, how detectors are brought to one false-alarm rate, and how soon they then see a drift.

Alarms are arrays ``[streams, windows]``: where in the window the first alarm came, as a share of its rows in
``(0, 1]`` (1: at its end, when all of it was known); NaN where there was none. Needs NumPy alone: it runs in the
environments of the peers, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUIET = 7
"""Windows after a counted alarm in which further ones are the same alarm: for all detectors alike, whether they look
at overlapping windows or start afresh after each alarm."""


def at_window_end(scores: Floats, level: float) -> Floats:
    """Alarms of a detector that looks once a window and warns where its score is above the level."""
    return np.where(scores > level, 1.0, np.nan)


def at_row(scores: Floats, level: float) -> Floats:
    """Alarms of a detector that looks at every row: ``scores`` is ``[streams, windows, rows]``."""
    above = scores > level
    first = (above.argmax(axis=2) + 1) / scores.shape[2]
    return np.where(above.any(axis=2), first, np.nan)


def episodes(alarms: Floats, quiet: int = QUIET) -> NDArray[np.int64]:
    """How many alarms each stream had, those in the ``quiet`` windows after a counted one left out.

    >>> episodes(np.array([[np.nan, 1.0, 1.0, np.nan, 0.5]]), quiet=2)
    array([2])
    """
    counted = np.zeros(len(alarms), dtype=np.int64)
    silent_until = np.zeros(len(alarms), dtype=np.int64)
    for window, column in enumerate(np.isfinite(alarms).T):
        new = column & (window >= silent_until)
        counted += new
        silent_until[new] = window + quiet + 1
    return counted


def alarms_per_100(alarms: Floats) -> float:
    """Counted alarms per hundred windows."""
    return 100.0 * float(episodes(alarms).mean()) / alarms.shape[1]


def half_width(values: Floats) -> float:
    """Half of a 95% normal interval for the mean over streams, which are independent."""
    return 1.96 * float(values.std(ddof=1)) / float(np.sqrt(len(values))) if len(values) > 1 else float("nan")


def calibrate(
    rate: Callable[[float], float], strict: float, lax: float, target: float, *, steps: int = 12, log: bool = False
) -> float:
    """The laxest level found whose rate of false alarms is at most the target, by bisection between two ends.

    ``strict`` is taken to be quiet enough without a try. Where even ``lax`` stays at or below the target it is the
    answer: such a detector cannot be made to warn as often, and its rate, told beside its delay, says so. Rates are
    taken to rise from strict to lax, which restarts after an alarm may break by an alarm or two.
    """
    if rate(lax) <= target:
        return lax
    low, high = (float(np.log(strict)), float(np.log(lax))) if log else (strict, lax)
    for _ in range(steps):
        middle = (low + high) / 2
        level = float(np.exp(middle)) if log else middle
        low, high = (middle, high) if rate(level) <= target else (low, middle)
    return float(np.exp(low)) if log else low


@dataclass(frozen=True, slots=True)
class Seen:
    """How soon a planted drift was seen. ``delay``: mean over streams in windows, a stream that never was counted with
    all ``horizon`` windows; ``half_width``: of its 95% interval; ``missed``: the share of streams without an alarm."""

    delay: float
    half_width: float
    missed: float
    horizon: int

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)


def seen(alarms: Floats) -> Seen:
    """What alarms from the onset on say: the first window of ``alarms`` is the one in which the drift begins.

    >>> seen(np.array([[np.nan, 0.5], [np.nan, np.nan]])).delay
    1.75
    """
    horizon = alarms.shape[1]
    delays = np.array([_first(row, horizon) for row in alarms])
    missed = float((~np.isfinite(alarms).any(axis=1)).mean())
    return Seen(float(delays.mean()), half_width(delays), missed, horizon)


def _first(row: Floats, horizon: int) -> float:
    when = np.flatnonzero(np.isfinite(row))
    return float(when[0] + row[when[0]]) if len(when) else float(horizon)


def by_chance(per_100: float, horizon: int) -> Seen:
    """What alarms thrown at random, this often, would look like: anything no better has seen nothing."""
    quiet = 1 - per_100 / 100
    return Seen(sum(quiet**window for window in range(horizon)), 0.0, quiet**horizon, horizon)
