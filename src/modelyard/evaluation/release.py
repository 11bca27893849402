"""All that is measured of a release by its bundle and the rows it was not fitted on. Nothing here judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.evaluation.fairness import measure_fairness
from modelyard.evaluation.files import measure_files, measure_watched
from modelyard.evaluation.importance import measure_importance
from modelyard.evaluation.latency import measure_latency, measure_throughput
from modelyard.evaluation.measure import Sample, Scores, compare, compare_slices, measure, measure_slices
from modelyard.evaluation.probing import make_probe
from modelyard.evaluation.robustness import measure_consistency, measure_robustness
from modelyard.release.encode import category, encode
from modelyard.release.score import BundleModel

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.release.bundle import Bundle

SEED = 20130101

RECORDED = ("train_validation_gap", "late_improvement", "onnx_max_difference")
"""Measured while training; the release carries them."""

OPERATIONS = 6
"""Of a training, per parameter and row: two forward, four back (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""

TIMED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model's folder asks to be looked at: features whose values are slices, and those that are groups."""

    slices: Sequence[str]
    groups: Sequence[str]


def measure_release(
    sample: Sample, rows: pd.DataFrame, asked: Asked, ours: Bundle, theirs: Bundle | None
) -> Iterator[Measurement]:
    """Everything of the release, and of the champion (``theirs``) and beside it on the same rows."""
    model, digest = BundleModel(ours), ours.release.digest
    threshold = model.signature.threshold
    columns = {i.name: rows[i.name] for i in model.signature.inputs}
    scores = Scores(digest, model.score(columns, units="model"))
    yield from measure_manifest(ours)
    yield from measure(sample, scores, threshold=threshold, seed=SEED)
    yield from measure_inputs(sample, model, columns)
    yield from measure_slices(sample, scores, rows, asked.slices)
    yield from _against(sample, scores, rows, asked.slices, threshold, theirs)
    yield from measure_fairness(sample, scores, rows, asked.groups, threshold=threshold)
    probe = make_probe(sample.label, rows[list(columns)], model, seed=SEED)
    yield from measure_robustness(sample, digest, probe, seed=SEED)
    yield from measure_consistency(sample, digest, probe, threshold)
    yield from measure_importance(sample, digest, list(columns), probe, seed=SEED)
    yield from _timed(model, columns, len(sample))


def measure_manifest(bundle: Bundle) -> Iterator[Measurement]:
    """What the release says of its own training, and what its files are."""
    release, model = bundle.release, BundleModel(bundle)
    for name in RECORDED:
        if name in release.metrics:
            yield Measurement(name=name, value=release.metrics[name], subject=release.digest)
        else:
            why = "its training did not record it"
            yield Measurement(name=name, value=None, why=why, subject=release.digest)
    yield _operations(bundle)
    yield Measurement(name="example_difference", value=model.check_example(), subject=release.digest)
    size = float(len(bundle.files["model.onnx"]))
    yield Measurement(name="model_size_bytes", value=size, unit="bytes", subject=release.digest)
    yield measure_files(bundle.files, release.digest)
    yield measure_watched(model, bundle.files)


def measure_inputs(sample: Sample, model: BundleModel, columns: dict[str, Any]) -> Iterator[Measurement]:
    """``correlation`` (the closest pair of numeric inputs) and ``unknown_category_share`` (the worst input)."""
    about: dict[str, Any] = {"n": len(sample), "window": sample.window, "subject": model.release.digest}
    unknown = {
        i.name: float((~columns[i.name].map(category).isin([*i.vocabulary, ""])).mean())
        for i in model.signature.categorical
    }
    yield _worst("unknown_category_share", unknown, "no categorical input", len(sample), about)
    numeric = [i.name for i in model.signature.numeric]
    pairs = {f"{a} and {b}": _correlation(columns[a], columns[b]) for a, b in combinations(numeric, 2)}
    known = {pair: value for pair, value in pairs.items() if np.isfinite(value)}
    yield _worst("correlation", known, "no two numeric inputs that vary", len(sample), about)


def _worst(name: str, values: dict[str, float], none: str, rows: int, about: dict[str, Any]) -> Measurement:
    if not rows:
        return Measurement(name=name, value=None, why="no rows", **about)
    if not values:
        return Measurement(name=name, value=0.0, evidence=none, **about)
    worst = max(values, key=lambda key: values[key])
    return Measurement(name=name, value=min(values[worst], 1.0), evidence=worst, **about)


def _correlation(first: Any, second: Any) -> float:
    """Pearson's, without sign, over the rows that have both; NaN where one does not vary."""
    a, b = first.to_numpy(dtype=np.float64), second.to_numpy(dtype=np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _operations(bundle: Bundle) -> Measurement:
    """An estimate that is the same on every machine; a run's own page in MLflow has its seconds."""
    known, digest = bundle.release.metrics, bundle.release.digest
    if missing := [name for name in ("parameters", "fit_rows", "epochs") if name not in known]:
        why = f"its training did not record {', '.join(missing)}"
        return Measurement(name="training_operations", value=None, why=why, subject=digest)
    value = OPERATIONS * known["parameters"] * known["fit_rows"] * known["epochs"]
    return Measurement(name="training_operations", value=value, n=int(known["fit_rows"]), subject=digest)


def _against(
    sample: Sample, ours: Scores, rows: pd.DataFrame, slices: Sequence[str], threshold: float, theirs: Bundle | None
) -> Iterator[Measurement]:
    if theirs is None:
        return
    champion = BundleModel(theirs)
    columns = {i.name: rows[i.name] for i in champion.signature.inputs}
    other = Scores(theirs.release.digest, champion.score(columns, units="model"))
    yield from measure(sample, other, threshold=champion.signature.threshold, seed=SEED)
    yield from measure_slices(sample, other, rows, slices)
    own = champion.signature.threshold
    yield from compare(sample, ours, other, seed=SEED, threshold=threshold, their_threshold=own)
    yield from compare_slices(sample, ours, other, rows, slices, seed=SEED)


def _timed(model: BundleModel, columns: dict[str, Any], n: int) -> Iterator[Measurement]:
    if not n:
        return
    few = {name: column.iloc[:TIMED_ROWS] for name, column in columns.items()}
    feeds = encode(few, model.signature, units="model")
    yield from measure_latency(model.onnx, feeds, model.release.digest)
    yield measure_throughput(model.onnx, feeds, model.release.digest)
