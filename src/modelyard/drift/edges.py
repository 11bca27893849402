"""Fitting the bins of a reference profile: done once, on the reference, and never again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.core.errors import ConfigError, EvidenceMissing, NotFound
from modelyard.core.profile import MAX_FREQUENT, MAX_KNOWN, CategoricalBins, FeatureProfile, NumericBins, Profile
from modelyard.drift.counts import category, count, factorised, numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def fit_profile(
    frame: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str] = (), bins: int = 10
) -> Profile:
    """Fit the bins on a reference and count it. ``bins`` bounds atoms and intervals of a numeric feature together.

    A value is an atom if it alone holds a ``bins``-th of the valid rows: quantile edges would collapse on it. A
    constant feature is one atom; a column without any valid value has one interval that takes whatever comes.

    Raises:
        EvidenceMissing: the reference has no rows.
        NotFound: the reference lacks a column.
        ConfigError: a categorical column holds something else than texts, numbers and booleans.
        ValueError: fewer than two bins are asked for.

    >>> import pandas as pd
    >>> profile = fit_profile(pd.DataFrame({"rain": [0.0] * 6 + [1.0, 2.0, 3.0, 4.0]}), numeric=["rain"], bins=4)
    >>> profile.feature("rain").bins.atoms, profile.feature("rain").counts
    ((0.0,), (0, 0, 6, 2, 2))
    """
    return count(fit_bins(frame, numeric=numeric, categorical=categorical, bins=bins), frame)


def fit_bins(
    frame: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str] = (), bins: int = 10
) -> Profile:
    """As ``fit_profile``, with nothing counted yet: for rows that are then counted where they lie."""
    if bins < 2:
        raise ValueError(f"a profile needs at least 2 bins, got {bins}")
    if len(frame) == 0:
        raise EvidenceMissing("a reference profile needs rows; the frame is empty")
    fitted: dict[str, NumericBins | CategoricalBins] = {}
    for name in (*numeric, *categorical):
        if name not in frame.columns:
            raise NotFound("column of the reference", name, known=map(str, frame.columns))
        fitted[name] = fit_numeric(frame[name], bins) if name in set(numeric) else fit_categorical(frame[name])
    blank = tuple(FeatureProfile(name=n, bins=b, counts=(0,) * len(b.labels)) for n, b in fitted.items())
    return Profile(n=0, features=blank)


def fit_numeric(column: pd.Series[Any], bins: int) -> NumericBins:
    """Atoms, and quantile edges of the other values."""
    with np.errstate(over="ignore"):
        values = numbers(column).astype(np.float64, copy=False).astype(np.float32)
    valid = values[np.isfinite(values)]
    if valid.size == 0:
        return NumericBins()
    distinct, times = np.unique(valid, return_counts=True)
    atoms = distinct[times >= valid.size / bins]
    rest = np.sort(valid[~np.isin(valid, atoms)])
    edges: NDArray[np.float32] = np.empty(0, dtype=np.float32)
    if rest.size:
        # At least two intervals, so that a shift of the rest always shows.
        wanted = max(2, round(bins * rest.size / valid.size))
        places = (np.arange(1, wanted) * rest.size) // wanted
        edges = np.unique(rest[np.maximum(places, 1) - 1])
        edges = edges[edges < rest[-1]]
    # Adding 0.0 makes a zero of -0.0: they are one value, and must have one name.
    return NumericBins(atoms=tuple(float(a) + 0.0 for a in atoms), edges=tuple(float(e) + 0.0 for e in edges))


def fit_categorical(column: pd.Series[Any]) -> CategoricalBins:
    """The frequent categories, and a list of the others as far as it can be kept."""
    times: Counter[str] = Counter()
    codes, distinct = factorised(column)  # as windows are counted: 32-bit floats, or 1 beside True, have one text each
    for value, n in zip(distinct, np.bincount(codes + 1, minlength=len(distinct) + 1)[1:], strict=True):
        name = category(value)
        if name is None:
            hint = "Write it as text in the feature builder."
            raise ConfigError(str(column.name), value, "texts, numbers and booleans", where="categories", hint=hint)
        times[name] += int(n)
    # By frequency, then by name: the digest does not depend on the order of rows.
    ranked = sorted(times, key=lambda c: (-times[c], c))
    frequent, rare = ranked[:MAX_FREQUENT], ranked[MAX_FREQUENT:]
    complete = len(ranked) <= MAX_KNOWN
    return CategoricalBins(frequent=tuple(frequent), known=tuple(sorted(rare)) if complete else (), complete=complete)
