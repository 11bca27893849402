"""Measures a release on rows that it was not fitted on, alone and beside the champion on the very same rows.

Nothing here judges: gates do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.evaluation.bootstrap import blocks_of, interval, mean_interval
from modelyard.evaluation.metrics import METRICS, Floats, accuracy, auc, brier, logloss, losses
from modelyard.release.encode import category
from modelyard.stats.paired import mcnemar_worse

COMPARED = {"logloss": logloss, "auc": auc, "brier": brier, "accuracy": accuracy}
LEAST_SLICE = 30
"""A slice with fewer rows is reported without a value."""

MOST_VALUES = 50
"""Of a feature that slices, so many most frequent values are measured."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """The evaluation rows: what happened, when, and how each version scored them."""

    label: Floats
    times: npt.NDArray[np.datetime64]
    window: Window

    def __len__(self) -> int:
        return int(self.label.size)


@dataclass(frozen=True, slots=True)
class Scores:
    """A release's probabilities for the rows of a sample."""

    release: str
    p: Floats


def measure(sample: Sample, scores: Scores, *, threshold: float, seed: int) -> tuple[Measurement, ...]:
    """All metrics over all rows, each with a 95% block-bootstrap interval, the observed rate and the number of rows."""
    functions = METRICS | {"accuracy": partial(accuracy, threshold=threshold)}
    blocks = blocks_of(sample.times)
    measured = [
        _one(name, functions[name], sample, scores, blocks, np.random.default_rng([seed, place]))
        for place, name in enumerate(functions)
    ]
    about = {"n": len(sample), "window": sample.window, "subject": scores.release}
    rate = float(sample.label.mean()) if len(sample) else None
    return (
        *measured,
        Measurement(name="observed_rate", value=rate, why="" if len(sample) else "no rows", **about),
        Measurement(name="evaluation_rows", value=float(len(sample)), unit="rows", **about),
    )


def measure_slices(
    sample: Sample, scores: Scores, rows: pd.DataFrame, features: Sequence[str]
) -> Iterator[Measurement]:
    """AUC, logloss and calibration gap of each value of the features, named ``feature=value``; point values."""
    for slice_, places in _slices_of(rows, features):
        for name in ("auc", "logloss", "calibration_gap"):
            yield _sliced(slice_, name, sample, scores, places)


def compare(
    sample: Sample, ours: Scores, theirs: Scores, *, seed: int, threshold: float, their_threshold: float
) -> Iterator[Measurement]:
    """``<metric>_difference``: release minus champion on the same rows, paired, with 95% block-bootstrap intervals.

    Answers are made by each version's own threshold.
    """
    functions, others = (
        COMPARED | {"accuracy": partial(accuracy, threshold=own)} for own in (threshold, their_threshold)
    )
    blocks = blocks_of(sample.times)
    for place, (name, function) in enumerate(functions.items()):

        def difference(
            rows: Places,
            function: Callable[[Floats, Floats], float] = function,
            other: Callable[[Floats, Floats], float] = others[name],
        ) -> float:
            label = sample.label[rows]
            return function(label, ours.p[rows]) - other(label, theirs.p[rows])

        rng = np.random.default_rng([seed, 100 + place])
        yield _measurement(f"{name}_difference", difference, sample, ours.release, blocks, rng, variant=theirs.release)
    yield _worse(sample, ours, theirs, threshold, their_threshold)


def compare_slices(
    sample: Sample, ours: Scores, theirs: Scores, rows: pd.DataFrame, features: Sequence[str], *, seed: int
) -> Iterator[Measurement]:
    """``logloss_difference`` of each value of the features, paired, each with a 95% block-bootstrap interval."""
    gaps = losses(sample.label, ours.p) - losses(sample.label, theirs.p)
    blocks = blocks_of(sample.times)
    for name, places in _slices_of(rows, features):
        about = {"name": "logloss_difference", "slice": name, "n": places.size, "window": sample.window}
        about |= {"unit": "nats", "subject": ours.release, "variant": theirs.release}
        if places.size < LEAST_SLICE:
            yield Measurement(value=None, why=f"{places.size} rows, at least {LEAST_SLICE} are asked for", **about)
            continue
        bounds = mean_interval(gaps[places], blocks[places], np.random.default_rng([seed, 150]))
        low, high = bounds or (None, None)
        yield Measurement(value=float(gaps[places].mean()), low=low, high=high, **about)


def _worse(sample: Sample, ours: Scores, theirs: Scores, threshold: float, their_threshold: float) -> Measurement:
    """``worse_p``: McNemar's test of the answers at each version's own threshold."""
    about = {"name": "worse_p", "n": len(sample), "window": sample.window, "subject": ours.release}
    if not len(sample):
        return Measurement(value=None, why="no rows", variant=theirs.release, **about)
    truth = sample.label > 0.5
    mine, other = (ours.p >= threshold) == truth, (theirs.p >= their_threshold) == truth
    first, second = int((mine & ~other).sum()), int((other & ~mine).sum())
    told = f"right alone: the release on {first} rows, the champion on {second}"
    return Measurement(value=mcnemar_worse(first, second), variant=theirs.release, evidence=told, **about)


def _slices_of(rows: pd.DataFrame, features: Sequence[str]) -> Iterator[tuple[str, Places]]:
    for feature in features:
        values = rows[feature].map(category)
        for value in values.value_counts().index[:MOST_VALUES]:
            yield f"{feature}={value}", np.flatnonzero(values.to_numpy() == value)


def _one(
    name: str,
    function: Callable[[Floats, Floats], float],
    sample: Sample,
    scores: Scores,
    blocks: Places,
    rng: np.random.Generator,
) -> Measurement:
    def statistic(rows: Places) -> float:
        return function(sample.label[rows], scores.p[rows])

    return _measurement(name, statistic, sample, scores.release, blocks, rng)


def _measurement(
    name: str,
    statistic: Callable[[Places], float],
    sample: Sample,
    subject: str,
    blocks: Places,
    rng: np.random.Generator,
    variant: str = "",
) -> Measurement:
    about = {"name": name, "n": len(sample), "window": sample.window, "subject": subject, "variant": variant}
    value = statistic(np.arange(len(sample))) if len(sample) else math.nan
    if not math.isfinite(value):
        return Measurement(value=None, why=_nothing(sample.label), **about)
    bounds = interval(statistic, blocks, rng)
    # A percentile interval of a biased statistic (ece) can miss its own estimate; it is widened to hold it.
    low, high = (min(bounds[0], value), max(bounds[1], value)) if bounds else (None, None)
    return Measurement(value=value, low=low, high=high, **about)


def _sliced(name: str, metric: str, sample: Sample, scores: Scores, places: Places) -> Measurement:
    about = {"name": metric, "slice": name, "n": places.size, "window": sample.window, "subject": scores.release}
    if places.size < LEAST_SLICE:
        return Measurement(value=None, why=f"{places.size} rows, at least {LEAST_SLICE} are asked for", **about)
    value = METRICS[metric](sample.label[places], scores.p[places])
    if not math.isfinite(value):
        return Measurement(value=None, why=_nothing(sample.label[places]), **about)
    return Measurement(value=value, **about)


def _nothing(label: Floats) -> str:
    return "no rows" if label.size == 0 else "only one outcome was observed"
