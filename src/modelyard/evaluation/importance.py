"""Permutation importance (Breiman 2001, "Random Forests", section 10) on rows that the release was not fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.evaluation.measure import Sample
from modelyard.evaluation.probing import LEAST_ROWS, Probe

PLOT = "plots/importance.png"
"""Where the run in MLflow keeps the plot."""

MOST_BARS = 25


def measure_importance(
    sample: Sample, release: str, names: Sequence[str], probe: Probe | None, *, seed: int
) -> Iterator[Measurement]:
    """``importance`` of each input (``slice="feature=..."``): the rise in logloss when its values are shuffled.

    Without a probe (fewer than 100 rows) there is no value.
    """
    rng = np.random.default_rng([seed, 201])
    for name in names:
        about: dict[str, Any] = {"name": "importance", "slice": f"feature={name}", "subject": release}
        if probe is None:
            why = f"{len(sample)} rows, at least {LEAST_ROWS} are asked for"
            yield Measurement(value=None, why=why, n=len(sample), window=sample.window, **about)
            continue
        value = probe.rise({name: probe.column(name)[rng.permutation(len(probe))]})
        yield Measurement(value=value, n=len(probe), window=sample.window, evidence=PLOT, **about)


def importance_plot(measurements: Sequence[Measurement]) -> Any:
    """A figure of the inputs that matter most, the heaviest on top; None where nothing was measured."""
    from matplotlib.figure import Figure

    found = [(m.slice.removeprefix("feature="), m.value) for m in measurements if m.value is not None]
    top = sorted(found, key=lambda item: item[1])[-MOST_BARS:]
    if not top:
        return None
    figure = Figure(figsize=(6.4, 0.8 + 0.25 * len(top)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([name for name, _ in top], [value for _, value in top], color="#1f5fa8")
    axes.set_title("Permutation importance")
    axes.set_xlabel("rise of the log loss when shuffled")
    return figure
