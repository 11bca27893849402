"""Permutation importance (Breiman 2001, "Random Forests", section 10) on rows that the release was not fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.evaluation.measure import Sample, Scores
from modelyard.evaluation.metrics import logloss

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.release.score import BundleModel

MOST_ROWS = 5000
"""So many of the rows, drawn once, are enough for a weight and keep the cost of a feature at one pass over them."""

LEAST_ROWS = 100


def measure_importance(
    sample: Sample, scores: Scores, features: pd.DataFrame, model: BundleModel, *, seed: int
) -> Iterator[Measurement]:
    """``importance`` of each column (``slice="feature=..."``): the rise in logloss when its values are shuffled.

    ``features`` has the rows of the sample, in the units of the training pipeline. Fewer than 100 rows give no value.
    """
    rng = np.random.default_rng([seed, 200])
    n = len(sample)
    rows = np.sort(rng.choice(n, MOST_ROWS, replace=False)) if n > MOST_ROWS else np.arange(n)
    label, drawn = sample.label[rows], features.iloc[rows].reset_index(drop=True)
    before = logloss(label, scores.p[rows]) if rows.size >= LEAST_ROWS else np.nan
    for name in drawn:
        about = {"name": "importance", "slice": f"feature={name}", "n": rows.size, "subject": scores.release}
        if not np.isfinite(before):
            why = f"{rows.size} rows, at least {LEAST_ROWS} are asked for"
            yield Measurement(value=None, why=why, window=sample.window, **about)
            continue
        shuffled = drawn[name].iloc[rng.permutation(rows.size)].reset_index(drop=True)
        columns = {str(other): shuffled if other == name else drawn[other] for other in drawn}
        after = logloss(label, model.score(columns, units="model"))
        yield Measurement(value=float(after - before), window=sample.window, **about)
