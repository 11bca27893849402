"""From rows of the prediction log to the measurements of a look. Pure: nothing is judged here.

Names: ``seconds_in_stage``, ``guardrail_trips``, ``rows``, ``error_rate``, ``latency_p95_ms`` (by variant) and
``loss_difference``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout.policy import Metric, Quality
from modelyard.stats.binomial import quantile_ranks, rate_sequence
from modelyard.stats.sequential import confidence_sequence

if TYPE_CHECKING:
    import pandas as pd

CLIP = 1e-3
"""Probabilities are clipped to [CLIP, 1 - CLIP] before the logarithm: one row's loss is at most 6.9, so that a single
sure and wrong answer cannot decide a rollout."""

LOSS = "loss_difference"

ALPHA = 0.0125
"""The level of each version's sequences for errors and latency: a comparison uses both versions', .025 together."""
_UNITS = {"logloss": "nats", "brier": "", "accuracy": ""}
Thresholds = Mapping[str, float]
"""By variant: the probability from which on it answers yes."""


def trips(states: Mapping[str, ReplicaState]) -> Measurement:
    """How many replicas have taken the challenger off."""
    tripped = {name: state.tripped for name, state in states.items() if state.tripped}
    evidence = ", ".join(f"{name}: {guard}" for name, guard in sorted(tripped.items()))
    return Measurement(name="guardrail_trips", value=len(tripped), n=len(states), evidence=evidence)


def rows(variant: str, frame: pd.DataFrame) -> Measurement:
    """How many rows a version answered."""
    return Measurement(name="rows", value=len(frame), n=len(frame), variant=variant)


def error_rate(variant: str, states: Mapping[str, ReplicaState]) -> Measurement:
    """Rows that a version should have answered and did not, since the rollout began, over all replicas."""
    counts = [state.counts.get(variant, {}) for state in states.values()]
    total, failed = (int(sum(c.get(key, 0) for c in counts)) for key in ("rows", "errors"))
    low, high = rate_sequence(min(failed, total), total, ALPHA)
    return rate(variant, failed, total, float(low), float(high))


def rate(variant: str, failed: int, total: int, low: float, high: float) -> Measurement:
    """An error rate with its ends from ``rate_sequence``."""
    if not total:
        return Measurement(name="error_rate", value=None, why="no rows yet", variant=variant)
    given = {"value": failed / total, "n": total, "low": low, "high": high, "confidence": 1 - ALPHA}
    return Measurement.model_validate({"name": "error_rate", "variant": variant, **given})


def latency_p95(variant: str, frame: pd.DataFrame) -> Measurement:
    """The 95th percentile of the time to answer, between order statistics that hold at every look."""
    values = np.sort(frame["latency_ms"].to_numpy(dtype=float))
    return latency(variant, len(values), lambda place: float(values[place]))


def latency(variant: str, n: int, at: Callable[[int], float]) -> Measurement:
    """The 95th percentile of ``n`` values of which ``at`` gives the one at a place, sorted, from 0."""
    if not n:
        return Measurement(name="latency_p95_ms", value=None, why="no rows yet", variant=variant, unit="ms")
    low, high = (None if place is None else at(place) for place in quantile_ranks(n, 0.95, ALPHA))
    mid = at(min(round(n * 0.95), n - 1))
    given = {"value": mid, "n": n, "low": low, "high": high, "confidence": 1 - ALPHA, "unit": "ms"}
    return Measurement.model_validate({"name": "latency_p95_ms", "variant": variant, **given})


def loss_difference(
    frame: pd.DataFrame, quality: Quality, *, paired: bool, thresholds: Thresholds | None = None
) -> Measurement:
    """Mean loss of the challenger minus the champion's on labelled rows, as a confidence sequence.

    Paired: on rows that both scored. The interval has level ``1 - 2 alpha``, so each end may be used alone at
    ``alpha``. A key that was asked about several times counts once, with its first answer. With the metric ``accuracy``
    the loss is 1 for a wrong answer, by each version's own threshold (.5 where none is given).
    """
    labelled = frame[frame["label"].notna() & frame["score"].notna()].drop_duplicates("key")
    if paired:
        labelled = labelled[labelled["other_score"].notna()]
        return paired_difference(*_paired(labelled, quality, thresholds or {}), quality)
    return _unpaired(labelled, quality, thresholds or {})


def losses(
    metric: Metric, scores: NDArray[np.float64], labels: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The loss of each row; logloss with clipped probabilities."""
    match metric:
        case "logloss":
            p = np.clip(scores, CLIP, 1 - CLIP)
            return np.asarray(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
        case "brier":
            return np.asarray((scores - labels) ** 2)
        case "accuracy":
            return np.asarray(((scores >= thresholds) != (labels == 1)).astype(float))


def _losses(frame: pd.DataFrame, column: str, metric: Metric, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    return losses(metric, frame[column].to_numpy(dtype=float), frame["label"].to_numpy(dtype=float), thresholds)


def _paired(frame: pd.DataFrame, quality: Quality, thresholds: Thresholds) -> tuple[float, float, int]:
    theirs = frame["variant"].to_numpy() == "challenger"
    new, old = (thresholds.get(variant, 0.5) for variant in ("challenger", "champion"))
    answered = _losses(frame, "score", quality.metric, np.where(theirs, new, old))
    other = _losses(frame, "other_score", quality.metric, np.where(theirs, old, new))
    return moments(np.where(theirs, 1.0, -1.0) * (answered - other))


def moments(values: NDArray[np.float64]) -> tuple[float, float, int]:
    """Mean, variance and number."""
    n = len(values)
    return (float(values.mean()) if n else 0.0, float(values.var(ddof=1)) if n > 1 else 0.0, n)


def paired_difference(mean: float, variance: float, n: int, quality: Quality) -> Measurement:
    """The measurement from the moments of paired loss differences, challenger minus champion."""
    if n < 2 or (variance == 0.0 and mean != 0.0):
        return Measurement(name=LOSS, value=None, n=n, why=f"{n} labelled rows are no evidence yet")
    low, high = confidence_sequence(mean, variance, n, 2 * quality.alpha, n_opt=quality.min_rows)
    return _between(mean, low, high, n, quality)


def _unpaired(frame: pd.DataFrame, quality: Quality, thresholds: Thresholds) -> Measurement:
    found = {}
    for variant in ("challenger", "champion"):
        own = frame[frame["variant"] == variant]
        threshold = np.full(len(own), thresholds.get(variant, 0.5))
        found[variant] = moments(_losses(own, "score", quality.metric, threshold))
    return unpaired_difference(found["challenger"], found["champion"], quality)


def unpaired_difference(
    challenger: tuple[float, float, int], champion: tuple[float, float, int], quality: Quality
) -> Measurement:
    """The measurement from the moments of each version's own losses: two sequences at half the level, subtracted."""
    (low_b, high_b), (low_a, high_a) = (
        confidence_sequence(*each, quality.alpha, n_opt=quality.min_rows) for each in (challenger, champion)
    )
    n = min(challenger[2], champion[2])
    return _between(challenger[0] - champion[0], low_b - high_a, high_b - low_a, n, quality)


def _between(mean: float, low: float, high: float, n: int, quality: Quality) -> Measurement:
    if not (isfinite(low) and isfinite(high)):
        return Measurement(name=LOSS, value=None, n=n, why=f"{n} labelled rows are no evidence yet")
    confidence = 1 - 2 * quality.alpha
    return Measurement(
        name=LOSS, value=mean, n=n, low=low, high=high, confidence=confidence, unit=_UNITS[quality.metric]
    )
