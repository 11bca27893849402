"""Measurements of a shadow stage: the challenger scores the champion's requests and answers nobody. Pure.

Its calls are made inside the gateway, in batches and after the answer; the champion's requests are timed as users see
them. The two are no fair comparison, so each replica has the champion score the same batches in the same thread, and
both versions' calls are timed (``serving.beside``). Beside that the calls are held against the guardrails' limit.

Names: ``rows``, ``error_rate``, ``slow_rate`` and ``disagreement`` of the variant ``challenger``; ``call_p95_ms`` of
both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout.evidence import ALPHA, latency
from modelyard.stats.binomial import rate_sequence

if TYPE_CHECKING:
    import pandas as pd

CHALLENGER = "challenger"
CALL_MS = "call_p95_ms"


def mirrored(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that the champion answered and the challenger scored too."""
    return frame[(frame["variant"] == "champion") & frame["other_score"].notna()]


def rows(frame: pd.DataFrame, answered: int) -> Measurement:
    """How many rows the challenger scored, of those answered; what its full queue or its faults cost is missing."""
    n = len(frame)
    return Measurement(name="rows", value=n, n=n, variant=CHALLENGER, evidence=f"scored of {answered} answered")


def error_rate(states: Mapping[str, ReplicaState]) -> Measurement:
    """Requests that the challenger was shown and did not answer, since the rollout began, over all replicas.

    By request, not by call: a call that fails fails all the requests that it was to answer. What its full queue
    dropped was not shown to it, and is told beside.
    """
    total, failed, dropped = (_sum(states, "mirror", key) for key in ("requests", "errors", "dropped"))
    return _share("error_rate", min(failed, total), total, f"requests; {dropped} more dropped by a full queue")


def call_latency(variant: str, states: Mapping[str, ReplicaState]) -> Measurement:
    """The 95th percentile of a version's calls on the batches that both scored, by steps of ten percent.

    No value, and ``n`` 1, where the versions take different inputs: there are no such batches, and never will be.
    """
    cells: Counter[float] = Counter()
    for state in states.values():
        for upper, number in state.counts.get(f"call_ms.{variant}", {}).items():
            cells[float(upper)] += int(number)
    ends = sorted(cells)
    below = list(accumulate(cells[end] for end in ends))
    given: dict[str, Any] = {"name": CALL_MS, "variant": variant, "unit": "ms"}
    if not below:
        apart = bool(states) and not any(s.counts.get("call_ms", {}).get("comparable") for s in states.values())
        known = any("call_ms" in s.counts for s in states.values())
        why = "the versions take different inputs" if apart and known else "nothing was mirrored yet"
        return Measurement(**given, value=None, n=int(apart and known), why=why)
    measured = latency(variant, below[-1], lambda place: ends[bisect_right(below, place)])
    return measured.model_copy(update={"name": CALL_MS, "evidence": "calls on the same batches"})


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
    failures, trials = (_sum(states, guard, key) for key in ("failures", "trials"))
    return _share(name, failures, trials, "calls")


def _sum(states: Mapping[str, ReplicaState], group: str, key: str) -> int:
    return int(sum(state.counts.get(group, {}).get(key, 0) for state in states.values()))


def _share(name: str, failures: int, trials: int, evidence: str) -> Measurement:
    if not trials:
        return Measurement(name=name, value=None, why="nothing was mirrored yet", variant=CHALLENGER)
    low, high = rate_sequence(failures, trials, ALPHA)
    bounds = {"low": float(low), "high": float(high), "confidence": 1 - ALPHA}
    given = {"value": failures / trials, "n": trials, "variant": CHALLENGER, "evidence": evidence, **bounds}
    return Measurement.model_validate({"name": name, **given})
