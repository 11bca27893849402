"""What a release answers when its inputs are noisy, missing or shifted, and whether it answers twice alike.

Perturbations as in Hendrycks and Dietterich 2019, "Benchmarking neural network robustness", in the form that tabular
inputs allow: each by a tenth or a half of the column's own standard deviation, within the bounds that the gateway
accepts. Nothing is retrained; rows and draws follow from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.evaluation.measure import Sample
from modelyard.evaluation.metrics import Floats
from modelyard.evaluation.probing import LEAST_ROWS, Column, Probe
from modelyard.release.signature import Input

NOISE, SHIFT = 0.1, 0.5
"""In standard deviations of the column."""
MISSING = 0.2
"""The share of the values that are taken away, of inputs that may be missing."""

PASSES = 5
REPEATED = 1000
"""Rows that are scored ``PASSES`` times, in other orders and batches: what a busy replica does with them."""


def measure_robustness(sample: Sample, release: str, probe: Probe | None, *, seed: int) -> Iterator[Measurement]:
    """``noise_loss``, ``shift_loss``, ``missing_loss``, ``outage_loss``: by how much the logloss rises."""
    for place, (name, change) in enumerate((
        ("noise_loss", _noise),
        ("shift_loss", _shift),
        ("missing_loss", _missing),
        ("outage_loss", _outage),
    )):  # fmt: skip
        about: dict[str, Any] = {"name": name, "unit": "nats", "window": sample.window, "subject": release}
        if probe is None:
            why = f"{len(sample)} rows, at least {LEAST_ROWS} are asked for"
            yield Measurement(value=None, why=why, n=len(sample), **about)
            continue
        changed = change(probe, np.random.default_rng([seed, 300 + place]))
        told = f"changed: {', '.join(changed)}" if changed else "no input can be changed so: nothing can happen"
        yield Measurement(value=probe.rise(changed) if changed else 0.0, n=len(probe), evidence=told, **about)


def measure_consistency(sample: Sample, release: str, probe: Probe | None, threshold: float) -> Iterator[Measurement]:
    """``class_consistency`` and ``score_spread`` of the same rows over ``PASSES`` passes, in other batches."""
    names = ("class_consistency", "score_spread")
    if probe is None:
        why = f"{len(sample)} rows, at least {LEAST_ROWS} are asked for"
        about: dict[str, Any] = {"why": why, "n": len(sample), "window": sample.window, "subject": release}
        yield from (Measurement(name=name, value=None, **about) for name in names)
        return
    passes = repeated(probe)
    values = (class_agreement(passes >= threshold), float(np.ptp(passes, axis=0).max()))
    for name, value in zip(names, values, strict=True):
        told = f"{len(passes)} passes"
        yield Measurement(
            name=name, value=value, n=passes.shape[1], window=sample.window, subject=release, evidence=told
        )


def repeated(probe: Probe) -> Floats:
    """The scores of the first rows, pass by row: all at once, backwards, and in batches of 1, 7 and 64."""
    n = min(len(probe), REPEATED)
    whole, backwards = np.arange(n), np.arange(n)[::-1]
    orders = ((whole, n), (backwards, n), (whole, 64), (backwards, 7), (whole[: min(n, 200)], 1))
    passes = np.tile(_scored(probe, whole, n), (PASSES, 1))
    for place, (order, batch) in enumerate(orders):
        passes[place, order] = _scored(probe, order, batch)
    return passes


def class_agreement(classes: Any) -> float:
    """The share of rows (columns) on whose class all passes agree.

    >>> class_agreement(np.array([[1, 0, 1], [1, 0, 0]]))
    0.6666666666666666
    """
    return float((classes == classes[0]).all(axis=0).mean())


def _scored(probe: Probe, order: Any, batch: int) -> Floats:
    from modelyard.release.encode import probability

    parts = [order[i : i + batch] for i in range(0, len(order), batch)]
    logits = [probe.model.onnx.logits({name: tensor[rows] for name, tensor in probe.feeds.items()}) for rows in parts]
    return probability(np.concatenate(logits), probe.model.calibration)


def _noise(probe: Probe, rng: np.random.Generator) -> dict[str, Column]:
    return {
        item.name: _bounded(item, column + rng.normal(0, NOISE * spread, len(probe)))
        for item, column, spread in _numeric(probe)
    }


def _shift(probe: Probe, rng: np.random.Generator) -> dict[str, Column]:
    """All at once: each input up or down, as the draw has it."""
    return {
        item.name: _bounded(item, column + rng.choice([-SHIFT, SHIFT]) * spread)
        for item, column, spread in _numeric(probe)
    }


def _missing(probe: Probe, rng: np.random.Generator) -> dict[str, Column]:
    return {
        item.name: np.where(rng.random(len(probe)) < MISSING, _absent(item), probe.column(item.name))
        for item in probe.inputs
        if item.nullable
    }


def _outage(probe: Probe, _: np.random.Generator) -> dict[str, Column]:
    """What the gateway scores with when the online store has nothing for anybody."""
    stored = [item for item in probe.inputs if item.nullable and item.source != "request"]
    return {item.name: np.full(len(probe), _absent(item)) for item in stored}


def _numeric(probe: Probe) -> Iterator[tuple[Input, Column, float]]:
    for item in probe.inputs:
        if item.kind == "numeric":
            column = probe.column(item.name)
            known = column[np.isfinite(column)]
            yield item, column, float(known.std()) if known.size else 0.0


def _bounded(item: Input, values: Column) -> Column:
    """Bounds are of raw values; the model's own are the same unless the serving unit was changed by hand."""
    low = -np.inf if item.low is None else item.low * item.scale + item.offset
    high = np.inf if item.high is None else item.high * item.scale + item.offset
    return np.clip(values, min(low, high), max(low, high)).astype(np.float32)


def _absent(item: Input) -> float:
    return 0.0 if item.kind == "categorical" else float("nan")
