"""Operational drift: how long answers take, beside the champion's own first week. It asks for a look, never for more.

What fails and what answers cost is ``drift.usage``'s.

The 95% quantile's interval is Woodruff's (1952, JASA 47): the interval of the share of rows below it, read off as
quantiles. Rows of an hour share their load, so that the share's variance is taken over hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.value import Digest
from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.core.window import Window
from modelyard.drift.policy import OperationsRule
from modelyard.drift.quality import clustered
from modelyard.drift.verdicts import advice, bounded

if TYPE_CHECKING:
    import pandas as pd

OPERATIONS = "operations"
LATENCY = "latency_p95_ms"
_QUANTILE = 0.95
_MIN_HOURS = 3


def measure_latency(
    rows: pd.DataFrame, *, window: Window, subject: Digest | None = None, min_rows: int = 1
) -> Measurement:
    """``latency_p95_ms`` (milliseconds) of rows with ``event_time`` and ``latency_ms``, with a 95% interval.

    Fewer than ``min_rows`` rows, or rows of fewer than three hours, give no value.
    """
    about = {"name": LATENCY, "unit": "ms", "window": window, "subject": subject}
    if "latency_ms" not in rows:
        return Measurement(value=None, why="the log has no latency", **about)
    spent = rows["latency_ms"].to_numpy(dtype=np.float64, na_value=np.nan)
    usable = np.isfinite(spent)
    spent, n = spent[usable], int(usable.sum())
    hours = rows["event_time"].to_numpy(dtype="datetime64[h]")[usable]
    if n < min_rows or np.unique(hours).size < _MIN_HOURS:
        why = f"{n} answers in {np.unique(hours).size} hours; {min_rows} answers in {_MIN_HOURS} hours are needed"
        return Measurement(value=None, n=n, why=why, **about)
    value = float(np.quantile(spent, _QUANTILE))
    low, high = clustered((spent <= value).astype(np.float64), hours)
    reach = max((high - low) / 2, 1 / n)
    ends = np.quantile(spent, [max(_QUANTILE - reach, 0.0), min(_QUANTILE + reach, 1.0)])
    return Measurement(value=value, low=float(ends[0]), high=float(ends[1]), n=n, **about)


def judge_operations(current: Measurement, baseline: Measurement, rule: OperationsRule) -> Verdict:
    """Failed when the newest answers are surely slower: the intervals of both sides lie more than the rise apart."""
    for which, side in (("", current), ("baseline: ", baseline)):
        if side.value is None:
            reason = f"latency is unknown: {which}{side.why}"
            return advice(OPERATIONS, Outcome.INCONCLUSIVE, reason, current, baseline)
    now, then = current.value or 0.0, baseline.value or 0.0
    shown = f"latency p95 {bounded(current, '.2f')} ms, baseline {bounded(baseline, '.2f')} ms"
    allowed = 1 + rule.latency_rise
    if (current.low or 0.0) > allowed * (baseline.high or then):
        reason = f"slower than the baseline by more than {rule.latency_rise:.0%}: {shown}"
        return advice(OPERATIONS, Outcome.FAILED, reason, current, baseline)
    if now > allowed * then:
        reason = f"perhaps slower than the baseline by more than {rule.latency_rise:.0%}: {shown}"
        return advice(OPERATIONS, Outcome.INCONCLUSIVE, reason, current, baseline)
    return advice(OPERATIONS, Outcome.SUCCESSFUL, shown, current, baseline)
