"""Reference profiles: what a feature looked like, as bins fitted once and integer counts that add up exactly.

A profile travels with a model version. The bins are fitted on the reference; from then on a window is counted in one
pass, and the counts of hours, partitions or machines are merged by addition: any grouping gives the same numbers.

Every value has exactly one bin, the odd ones included:

* numeric: ``missing``; ``invalid`` (an infinity, or text that is no number); one bin per modal value (an "atom", such
  as the zero of a zero-inflated feature, to which quantile bins are blind); then the intervals ``(edge, edge]``
  between reference quantiles of the rest, open at both ends.
* categorical: ``missing``; ``unseen`` (not in the reference); ``other`` (in the reference, but rare); one bin per
  frequent category.

A column that the window does not have counts as missing in every row. A column that the profile does not know is
ignored here; the monitor reports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from modelyard.core.digest import digest_json
from modelyard.core.errors import Conflict, EvidenceMissing, NotFound
from modelyard.core.value import Finite, Value

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SCORE = "score"
"""The column of the model's own answers, profiled as one more numeric feature (as in the prediction log)."""

MISSING = 0
NUMERIC_HEAD = ("missing", "invalid")
CATEGORICAL_HEAD = ("missing", "unseen", "other")
MAX_FREQUENT = 50
MAX_KNOWN = 10_000


class NumericBins(Value):
    """Bins of a numeric feature: ``missing``, ``invalid``, the atoms, the ``len(edges) + 1`` intervals.

    Atoms and edges are kept as 32-bit floats, the precision in which a model sees its inputs: a training frame of
    64-bit floats and a log of 32-bit ones fall into the same bins.
    """

    kind: Literal["numeric"] = "numeric"
    atoms: tuple[Finite, ...] = ()
    edges: tuple[Finite, ...] = ()

    @model_validator(mode="after")
    def _increasing(self) -> Self:
        for values in (self.atoms, self.edges):
            if any(a >= b for a, b in pairwise(values)):
                raise ValueError("atoms and edges must increase strictly")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The bins' names, in the order of the counts."""
        atoms = tuple(f"= {_shortest(a)}" for a in self.atoms)
        bounds = ("-inf", *map(_shortest, self.edges), "inf")
        return NUMERIC_HEAD + atoms + tuple(f"({a}, {b}]" for a, b in pairwise(bounds))


class CategoricalBins(Value):
    """Bins of a categorical feature: ``missing``, ``unseen``, ``other``, the frequent categories.

    ``known`` are the rare categories of the reference, counted together as ``other``. A reference of more than
    ``MAX_KNOWN`` categories cannot be listed: then ``complete`` is false, every category that is not frequent counts
    as ``other``, and nothing can be called unseen.
    """

    kind: Literal["categorical"] = "categorical"
    frequent: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    complete: bool = True

    @property
    def labels(self) -> tuple[str, ...]:
        """The bins' names, in the order of the counts."""
        return CATEGORICAL_HEAD + tuple(f"= {c}" for c in self.frequent)


def _shortest(value: float) -> str:
    """The shortest text that names this 32-bit number and no other: labels must differ."""
    return str(np.float32(value))


Bins = Annotated[NumericBins | CategoricalBins, Field(discriminator="kind")]
Count = Annotated[int, Field(ge=0)]


class FeatureProfile(Value):
    """One feature: its bins, and how many rows fell into each."""

    name: str
    bins: Bins
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _one_count_per_bin(self) -> Self:
        if len(self.counts) != len(self.bins.labels):
            raise ValueError(f"{self.name}: {len(self.counts)} counts for {len(self.bins.labels)} bins")
        return self

    @property
    def n(self) -> int:
        """Rows counted."""
        return sum(self.counts)

    def rate(self, label: str) -> float | None:
        """The share of rows in this bin; None without rows. Raises ``NotFound`` for an unknown bin."""
        if label not in self.bins.labels:
            raise NotFound("bin", label, known=self.bins.labels)
        return self.counts[self.bins.labels.index(label)] / self.n if self.n else None


class Profile(Value):
    """Bins and counts of all features of one set of rows."""

    n: int = Field(ge=0)
    features: tuple[FeatureProfile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if wrong := [f.name for f in self.features if f.n != self.n]:
            raise ValueError(f"counts do not add up to n = {self.n} for {', '.join(wrong)}")
        if len({f.name for f in self.features}) != len(self.features):
            raise ValueError("two features share a name")
        return self

    @property
    def bins_digest(self) -> str:
        """The digest of the bins alone: profiles with the same one can be compared and merged."""
        return digest_json([[f.name, f.bins.to_dict()] for f in self.features])

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in order."""
        return tuple(f.name for f in self.features)

    def feature(self, name: str) -> FeatureProfile:
        """The profile of one feature. Raises ``NotFound``."""
        found = next((f for f in self.features if f.name == name), None)
        if found is None:
            raise NotFound("feature of the profile", name, known=self.names)
        return found

    def empty(self) -> Profile:
        """The same bins with nothing counted: the neutral element of ``merge``."""
        features = tuple(f.model_copy(update={"counts": (0,) * len(f.counts)}) for f in self.features)
        return Profile(n=0, features=features)


def fit_profile(
    frame: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str] = (), bins: int = 10
) -> Profile:
    """Fit the bins on a reference and count it. ``bins`` bounds atoms and intervals of a numeric feature together.

    A value is an atom if it alone holds a ``bins``-th of the valid rows: quantile edges would collapse on it. A
    constant feature is one atom; a column without any valid value has one interval that takes whatever comes.

    Raises:
        EvidenceMissing: the reference has no rows.
        NotFound: the reference lacks a column.
        ValueError: fewer than two bins are asked for.

    >>> import pandas as pd
    >>> profile = fit_profile(pd.DataFrame({"rain": [0.0] * 6 + [1.0, 2.0, 3.0, 4.0]}), numeric=["rain"], bins=4)
    >>> profile.feature("rain").bins.atoms, profile.feature("rain").counts
    ((0.0,), (0, 0, 6, 2, 2))
    """
    if bins < 2:
        raise ValueError(f"a profile needs at least 2 bins, got {bins}")
    if len(frame) == 0:
        raise EvidenceMissing("a reference profile needs rows; the frame is empty")
    fitted: dict[str, NumericBins | CategoricalBins] = {}
    for name in (*numeric, *categorical):
        if name not in frame.columns:
            raise NotFound("column of the reference", name, known=map(str, frame.columns))
        fitted[name] = _fit_numeric(frame[name], bins) if name in set(numeric) else _fit_categorical(frame[name])
    blank = tuple(FeatureProfile(name=n, bins=b, counts=(0,) * len(b.labels)) for n, b in fitted.items())
    return count(Profile(n=0, features=blank), frame)


def count(reference: Profile, frame: pd.DataFrame) -> Profile:
    """Count a window in the bins of a reference: one pass, nothing of the reference's size is touched."""
    features = tuple(
        f.model_copy(
            update={"counts": _count_feature(f.bins, frame[f.name] if f.name in frame.columns else None, len(frame))}
        )
        for f in reference.features
    )
    return Profile(n=len(frame), features=features)


def merge(first: Profile, *others: Profile) -> Profile:
    """The profile of all the rows together. Exact, associative and commutative.

    Raises:
        Conflict: the profiles were counted in different bins.
    """
    return reduce(_add, others, first)


def _add(a: Profile, b: Profile) -> Profile:
    if a.bins_digest != b.bins_digest:
        raise Conflict(f"profiles of different bins cannot be merged: {a.bins_digest} and {b.bins_digest}")
    features = tuple(
        x.model_copy(update={"counts": tuple(i + j for i, j in zip(x.counts, y.counts, strict=True))})
        for x, y in zip(a.features, b.features, strict=True)
    )
    return Profile(n=a.n + b.n, features=features)


def _fit_numeric(column: pd.Series, bins: int) -> NumericBins:
    values, missing = _numbers(column)
    valid = values[np.isfinite(values) & ~missing]
    if valid.size == 0:
        return NumericBins()
    distinct, counts = np.unique(valid, return_counts=True)
    atoms = distinct[counts >= valid.size / bins]
    rest = np.sort(valid[~np.isin(valid, atoms)])
    edges: NDArray[np.float32] = np.empty(0, dtype=np.float32)
    if rest.size:
        # At least two intervals, so that a shift of the rest always shows.
        wanted = max(2, round(bins * rest.size / valid.size))
        places = (np.arange(1, wanted) * rest.size) // wanted
        edges = np.unique(rest[np.maximum(places, 1) - 1])
        edges = edges[edges < rest[-1]]
    return NumericBins(atoms=tuple(map(float, atoms)), edges=tuple(map(float, edges)))


def _fit_categorical(column: pd.Series) -> CategoricalBins:
    counts: dict[str, int] = {}
    for value, times in column.value_counts(dropna=True).items():
        counts[category(value)] = counts.get(category(value), 0) + int(times)
    # By frequency, then by name: the digest does not depend on the order of rows.
    ranked = sorted(counts, key=lambda c: (-counts[c], c))
    frequent, rare = ranked[:MAX_FREQUENT], ranked[MAX_FREQUENT:]
    complete = len(ranked) <= MAX_KNOWN
    return CategoricalBins(frequent=tuple(frequent), known=tuple(sorted(rare)) if complete else (), complete=complete)


def category(value: object) -> str:
    """The text of a category. A whole float is written as the integer it was before a missing value came in.

    >>> category(3.0), category("UA")
    ('3', 'UA')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _count_feature(bins: NumericBins | CategoricalBins, column: pd.Series | None, n: int) -> tuple[int, ...]:
    if column is None:
        return (n, *(0 for _ in bins.labels[1:]))
    places = _numeric_places(bins, column) if isinstance(bins, NumericBins) else _category_places(bins, column)
    return tuple(map(int, np.bincount(places, minlength=len(bins.labels))))


def _numeric_places(bins: NumericBins, column: pd.Series) -> NDArray[np.intp]:
    values, missing = _numbers(column)
    atoms = np.asarray(bins.atoms, dtype=np.float32)
    head = len(NUMERIC_HEAD)
    places = head + len(atoms) + np.searchsorted(np.asarray(bins.edges, dtype=np.float32), values, side="left")
    if atoms.size:
        near = np.minimum(np.searchsorted(atoms, values, side="left"), atoms.size - 1)
        places = np.where(atoms[near] == values, head + near, places)
    places = np.where(np.isfinite(values), places, 1)
    return np.where(missing, MISSING, places)


def _category_places(bins: CategoricalBins, column: pd.Series) -> NDArray[np.intp]:
    import pandas as pd

    codes, uniques = pd.factorize(column, use_na_sentinel=True)
    otherwise = 1 if bins.complete else 2
    table = dict.fromkeys(bins.known, 2) | {c: i for i, c in enumerate(bins.frequent, start=len(CATEGORICAL_HEAD))}
    lookup = [table.get(category(u), otherwise) for u in uniques]
    return np.asarray([*lookup, MISSING], dtype=np.intp)[codes]


def _numbers(column: pd.Series) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The values as 32-bit floats, and which of them are missing; text that is no number becomes an infinity."""
    import pandas as pd

    missing = column.isna().to_numpy(dtype=bool)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.where(np.isnan(numbers) & ~missing, np.inf, numbers)
    with np.errstate(over="ignore"):  # a number beyond 32 bits becomes an infinity, hence invalid
        return numbers.astype(np.float32), missing
