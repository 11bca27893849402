"""From rows of the prediction log to the measurements of a look. Pure: nothing is judged here.

Names: ``seconds_in_stage``, ``guardrail_trips``, ``rows``, ``error_rate`` and ``latency_p95_ms`` (by variant). The loss
on labels is in ``loss``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.stats.binomial import quantile_ranks, rate_sequence

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.0125
"""The level of each version's sequences for errors and latency: a comparison uses both versions', .025 together, for
the whole rollout. The challenger's latency begins anew in each stage, so its stages share the level."""


def trips(states: Mapping[str, ReplicaState], recorded: Mapping[str, str] = MappingProxyType({})) -> Measurement:
    """How many replicas have taken the challenger off: by their own word, or as recorded by one that is gone."""
    tripped = dict(recorded) | {name: state.tripped for name, state in states.items() if state.tripped}
    evidence = ", ".join(f"{name}: {guard}" for name, guard in sorted(tripped.items()))
    return Measurement(name="guardrail_trips", value=len(tripped), n=len({*states, *tripped}), evidence=evidence)


def rows(variant: str, frame: pd.DataFrame) -> Measurement:
    """How many rows a version answered."""
    return Measurement(name="rows", value=len(frame), n=len(frame), variant=variant)


def error_rate(variant: str, states: Mapping[str, ReplicaState]) -> Measurement:
    """Requests that a version should have answered and did not, since the rollout began, over all replicas.

    Rows of one request fail together, so a request is one trial, which fails when any of its rows does.
    """
    counts = [state.counts.get(variant, {}) for state in states.values()]
    total, failed = (
        int(sum(c.get(key, 0) - c.get(again, 0) for c in counts))
        for key, again in (("rows", "repeats"), ("errors", "failed_repeats"))
    )
    low, high = rate_sequence(min(failed, total), total, ALPHA)
    return rate(variant, failed, total, float(low), float(high))


def rate(variant: str, failed: int, total: int, low: float, high: float) -> Measurement:
    """An error rate with its ends from ``rate_sequence``."""
    if not total:
        return Measurement(name="error_rate", value=None, why="no rows yet", variant=variant)
    given = {"value": failed / total, "n": total, "low": low, "high": high, "confidence": 1 - ALPHA}
    return Measurement.model_validate({"name": "error_rate", "variant": variant, **given})


def latency_p95(variant: str, frame: pd.DataFrame, *, shared_by: int = 1) -> Measurement:
    """The 95th percentile of the time to answer a request, between order statistics that hold at every look.

    ``shared_by``: the number of such sequences, one after the other, that share the level.
    """
    values = np.sort(_by_request(frame)["latency_ms"].to_numpy(dtype=float))
    return latency(variant, len(values), lambda place: float(values[place]), shared_by=shared_by)


def _by_request(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each request: its rows were answered at once, and are no observations of their own.

    They have the request's id with ``.0``, ``.1`` and so on behind it. An id that a client chose may end alike, hence
    the moment and the time taken, which no two requests share.
    """
    request = frame["request_id"].astype(str).str.replace(r"\.[0-9]+$", "", regex=True)
    return frame[~frame[["served_at", "latency_ms"]].assign(request=request).duplicated()]


def latency(variant: str, n: int, at: Callable[[int], float], *, shared_by: int = 1) -> Measurement:
    """The 95th percentile of ``n`` values of which ``at`` gives the one at a place, sorted, from 0."""
    alpha = ALPHA / shared_by
    if not n:
        return Measurement(name="latency_p95_ms", value=None, why="no rows yet", variant=variant, unit="ms")
    low, high = (None if place is None else at(place) for place in quantile_ranks(n, 0.95, alpha))
    mid = at(min(round(n * 0.95), n - 1))
    given = {"value": mid, "n": n, "low": low, "high": high, "confidence": 1 - alpha, "unit": "ms"}
    return Measurement.model_validate({"name": "latency_p95_ms", "variant": variant, **given})
