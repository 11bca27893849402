"""Measurements of a shadow stage: the challenger scores the champion's requests and answers nobody. Pure.

Its calls are timed inside the gateway, in batches and after the answer; the champion's requests are timed as users see
them. The two are no fair comparison, so a shadow's latency is held against the guardrails' limit instead of a ratio.

Names: ``rows``, ``error_rate``, ``slow_rate`` and ``disagreement``, all of the variant ``challenger``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout.evidence import ALPHA
from modelyard.stats.binomial import rate_sequence

if TYPE_CHECKING:
    import pandas as pd

CHALLENGER = "challenger"


def mirrored(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that the champion answered and the challenger scored too."""
    return frame[(frame["variant"] == "champion") & frame["other_score"].notna()]


def rows(frame: pd.DataFrame, answered: int) -> Measurement:
    """How many rows the challenger scored, of those answered; what its full queue or its faults cost is missing."""
    n = len(frame)
    return Measurement(name="rows", value=n, n=n, variant=CHALLENGER, evidence=f"scored of {answered} answered")


def error_rate(states: Mapping[str, ReplicaState]) -> Measurement:
    """Calls of the challenger that raised or did not return in time, since the rollout began, over all replicas."""
    return _guarded("error_rate", "guard.error_rate", states)


def slow_rate(states: Mapping[str, ReplicaState]) -> Measurement:
    """Calls of the challenger that took longer than the guardrails' latency limit."""
    return _guarded("slow_rate", "guard.latency_slo", states)


def disagreement(frame: pd.DataFrame, above: float) -> Measurement:
    """The share of rows that both versions scored and on which they differ by more than ``above``."""
    both = frame[frame["other_score"].notna() & frame["score"].notna()]
    apart = (both["score"] - both["other_score"]).abs()
    mean = f"mean difference {apart.mean():.4f}" if len(both) else ""
    return _share("disagreement", int((apart > above).sum()), len(both), mean)


def _guarded(name: str, guard: str, states: Mapping[str, ReplicaState]) -> Measurement:
    counts = [state.counts.get(guard, {}) for state in states.values()]
    failures, trials = (int(sum(c.get(key, 0) for c in counts)) for key in ("failures", "trials"))
    return _share(name, failures, trials, "calls")


def _share(name: str, failures: int, trials: int, evidence: str) -> Measurement:
    if not trials:
        return Measurement(name=name, value=None, why="nothing was mirrored yet", variant=CHALLENGER)
    low, high = rate_sequence(failures, trials, ALPHA)
    bounds = {"low": float(low), "high": float(high), "confidence": 1 - ALPHA}
    given = {"value": failures / trials, "n": trials, "variant": CHALLENGER, "evidence": evidence, **bounds}
    return Measurement.model_validate({"name": name, **given})
