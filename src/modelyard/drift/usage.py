"""Operational drift beside latency: failed answers, processor time per row, memory, against the first week's.

They come from what replicas count by the hour (``ports.predictions.HourUse``). Hours without counts are no hours
without failures: where the counts cover fewer answers than the prediction log has, nothing is known, and that is said.

Processor time per row falls with the number of rows in a call, hence with traffic. So it is measured by the size of the
calls, and compared by direct standardisation: both sides at the newest mix of sizes (Kitagawa 1955, JASA 50). All
intervals are of 95% and over hours, which share their load (``ratio``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.value import Digest
from modelyard.core.verdict import Decision, Measurement, Outcome, Verdict
from modelyard.core.window import Window
from modelyard.drift.policy import OperationsRule
from modelyard.drift.verdicts import advice, bounded
from modelyard.ports.predictions import HourUse
from modelyard.stats.intervals import Interval, mean_interval, normal_quantile, wilson

USAGE = "usage"
ERRORS, CPU, MEMORY = "error_rate", "cpu_us_per_row", "memory_mb"
NAMES = (ERRORS, CPU, MEMORY)
BASELINE = "baseline"

_MIN_HOURS = 3
_MIN_CALLS = 30
_COVERED = 0.95
_SHOWN = {
    ERRORS: ("failed answers", ".3%", ""),
    CPU: ("processor time per row", ".1f", " µs"),
    MEMORY: ("memory", ".0f", " MiB"),
}


def whole_hours(window: Window) -> Window | None:
    """The full hours within the window; None if there is none."""
    hour = timedelta(hours=1)
    start, end = (m.replace(minute=0, second=0, microsecond=0) for m in (window.start, window.end))
    start = start if start == window.start else start + hour
    return Window(start=start, end=end) if start < end else None


def unknown(why: str, window: Window, subject: Digest | None = None) -> tuple[Measurement, ...]:
    """``NAMES`` without values."""
    return tuple(Measurement(name=name, value=None, why=why, window=window, subject=subject) for name in NAMES)


def measure_usage(
    hours: Sequence[HourUse],
    *,
    window: Window,
    version: int,
    logged: int,
    subject: Digest | None = None,
    min_rows: int = 1,
) -> tuple[Measurement, ...]:
    """``error_rate`` of the model's requests (all versions), ``cpu_us_per_row`` of this version's calls, one for each
    size of calls (``slice="call_rows=4"``: 4 to 7 rows), and ``memory_mb`` of a replica: hours' peaks, on average.

    ``logged`` is the number of rows that the prediction log has for the same hours. Fewer than ``min_rows`` requests,
    counts of fewer than three hours, or of less than 95% of the logged rows, give no value.
    """
    requests, counted = sum(h.requests for h in hours), sum(h.rows for h in hours)
    seen = len({h.hour for h in hours if h.requests})
    if counted < _COVERED * logged:
        return unknown(f"replicas counted {counted} of {logged} logged answers", window, subject)
    if requests < min_rows or seen < _MIN_HOURS:
        why = f"{requests} requests counted in {seen} hours; {min_rows} in {_MIN_HOURS} hours are needed"
        return unknown(why, window, subject)
    about: dict[str, Any] = {"window": window, "subject": subject}
    return (_errors(hours, about), *_cpu(hours, version, about), _memory(hours, about))


def judge_usage(measured: Iterable[Measurement], rule: OperationsRule) -> Verdict:
    """Failed if anything has surely risen by more than the rule allows: the intervals of both sides lie so far apart.
    Inconclusive if anything is unknown, or perhaps has; each is named with its numbers."""
    found = tuple(m for m in measured if m.name in NAMES)
    sides = [[m for m in found if (m.variant == BASELINE) is old] for old in (False, True)]
    rises = {ERRORS: rule.error_rise, CPU: rule.resource_rise, MEMORY: rule.resource_rise}
    said = [_compared(name, *_both(name, *sides), rise) for name, rise in rises.items()]
    for worst in (Outcome.FAILED, Outcome.INCONCLUSIVE):
        if texts := [text for outcome, text in said if outcome is worst]:
            return advice(USAGE, worst, "; ".join(texts), *found)
    return advice(USAGE, Outcome.SUCCESSFUL, "; ".join(text for _, text in said), *found)


def advised(decision: Decision, verdict: Verdict) -> Decision:
    """The governor's decision with one more verdict, which asks for a look where it failed, and for nothing else."""
    changed: dict[str, Any] = {"verdicts": (*decision.verdicts, verdict)}
    if verdict.outcome is Outcome.FAILED and decision.action in {"nothing", "watch"}:
        before = decision.reasons if decision.action == "watch" else ()
        changed |= {"action": "watch", "reasons": (*before, verdict.reason)}
    return decision.model_copy(update=changed)


def ratio(numerator: Iterable[float], denominator: Iterable[float]) -> tuple[float, Interval]:
    """The ratio of two sums over clusters, with its cluster-robust interval (Cochran 1977, "Sampling Techniques", 6.3).

    >>> ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    (0.5, (0.5, 0.5))
    """
    a, b = (np.fromiter(side, dtype=np.float64) for side in (numerator, denominator))
    value = float(a.sum() / b.sum())
    variance = a.size / max(a.size - 1, 1) * float(((a - value * b) ** 2).sum()) / float(b.sum()) ** 2
    radius = normal_quantile(0.95) * float(np.sqrt(variance))
    return value, (value - radius, value + radius)


def _errors(hours: Sequence[HourUse], about: dict[str, Any]) -> Measurement:
    failed, requests = _by_hour(hours, lambda h: h.failed), _by_hour(hours, lambda h: h.requests)
    n = int(requests.sum())
    value, (low, high) = ratio(failed, requests)
    # Without failures, or with one in each hour, the hours do not differ: nothing is surer than independent requests.
    least, most = wilson(int(failed.sum()), n)
    return Measurement(name=ERRORS, value=value, low=max(min(low, least), 0.0), high=max(high, most), n=n, **about)


def _cpu(hours: Sequence[HourUse], version: int, about: dict[str, Any]) -> Iterator[Measurement]:
    by_size: dict[int, dict[Any, NDArray[np.float64]]] = defaultdict(lambda: defaultdict(lambda: np.zeros(3)))
    for hour in hours:
        for spent in (s for s in hour.spent if s.version == version and s.calls):
            by_size[spent.size][hour.hour] += (spent.cpu_s * 1e6, spent.rows, spent.calls)
    known = {
        size: sums
        for size, sums in by_size.items()
        if len(sums) >= _MIN_HOURS and sum(s[2] for s in sums.values()) >= _MIN_CALLS
    }
    if not known:
        why = f"no {_MIN_CALLS} calls of version {version} of one size were timed in {_MIN_HOURS} hours or more"
        yield Measurement(name=CPU, value=None, unit="us", why=why, **about)
    for size, sums in sorted(known.items()):
        value, (low, high) = ratio((s[0] for s in sums.values()), (s[1] for s in sums.values()))
        rows = int(sum(s[1] for s in sums.values()))
        where = f"call_rows={size}"
        yield Measurement(name=CPU, value=value, low=low, high=high, n=rows, unit="us", slice=where, **about)


def _memory(hours: Sequence[HourUse], about: dict[str, Any]) -> Measurement:
    peaks: dict[Any, float] = {}
    for hour in hours:
        if hour.memory_mb is not None:
            peaks[hour.hour] = max(hour.memory_mb, peaks.get(hour.hour, 0.0))
    if len(peaks) < _MIN_HOURS:
        why = f"replicas told their memory in {len(peaks)} hours; {_MIN_HOURS} are needed"
        return Measurement(name=MEMORY, value=None, unit="MiB", why=why, **about)
    values = np.fromiter(peaks.values(), dtype=np.float64)
    low, high = mean_interval(float(values.mean()), float(values.var(ddof=1)), values.size)
    return Measurement(name=MEMORY, value=float(values.mean()), low=low, high=high, n=values.size, unit="MiB", **about)


def _by_hour(hours: Sequence[HourUse], of: Any) -> NDArray[np.float64]:
    """Sums by hour over the processes, in the order of the hours."""
    sums: dict[Any, float] = defaultdict(float)
    for hour in hours:
        sums[hour.hour] += of(hour)
    return np.fromiter((sums[h] for h in sorted(sums)), dtype=np.float64)


Pair = tuple[Measurement | None, Measurement | None]


def _both(name: str, now: Sequence[Measurement], then: Sequence[Measurement]) -> Pair:
    mine, theirs = ([m for m in side if m.name == name] for side in (now, then))
    if name == CPU and all(m.value is not None for m in (*mine, *theirs)) and mine and theirs:
        return _standardised(mine, theirs)
    return (mine[0] if mine else None), (theirs[0] if theirs else None)


def _standardised(now: Sequence[Measurement], then: Sequence[Measurement]) -> Pair:
    """Both sides at the mix of call sizes of now, as far as both know them. The ends of the sizes are added as if all
    erred alike, which makes the interval wider and never narrower."""
    before = {m.slice: m for m in then}
    both = [m for m in now if m.slice in before]
    rows = sum(m.n for m in both)
    if rows < sum(m.n for m in now) / 2:
        why = f"calls are of other sizes than then: {rows} of {sum(m.n for m in now)} timed rows can be compared"
        return Measurement(name=CPU, value=None, why=why), then[0]

    def at(end: str, side: dict[str, Measurement]) -> float:
        return sum(m.n * float(getattr(side[m.slice], end)) for m in both) / rows

    mine = {m.slice: m for m in both}
    made = [
        Measurement(name=CPU, value=at("value", s), low=at("low", s), high=at("high", s), n=rows)
        for s in (mine, before)
    ]
    return made[0], made[1]


def _compared(name: str, now: Measurement | None, then: Measurement | None, rise: float) -> tuple[Outcome, str]:
    what, form, unit = _SHOWN[name]
    for which, side in (("", now), ("of the baseline ", then)):
        if side is None or side.value is None:
            return Outcome.INCONCLUSIVE, f"{what} {which}unknown: {side.why if side else 'not measured'}"
    assert now is not None  # noqa: S101  see above
    assert then is not None  # noqa: S101
    shown = f"{what} {bounded(now, form)}{unit}, baseline {bounded(then, form)}{unit}"
    value, before = now.value or 0.0, then.value or 0.0
    if (now.low if now.low is not None else value) > (1 + rise) * (then.high if then.high is not None else before):
        return Outcome.FAILED, f"{shown}: more by over {rise:.0%}"
    if value > (1 + rise) * before:
        return Outcome.INCONCLUSIVE, f"{shown}: perhaps more by over {rise:.0%}"
    return Outcome.SUCCESSFUL, shown
