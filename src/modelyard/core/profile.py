"""Reference profiles: what a feature looked like, as bins fitted once and integer counts that add up exactly.

A profile travels with a model version. The bins are fitted on the reference; from then on a window is counted in one
pass, and the counts of hours, partitions or machines are merged by addition: any grouping gives the same numbers.

Every value has exactly one bin, the odd ones included:

* numeric: ``missing``; ``invalid`` (an infinity, or text that is no number); one bin per modal value (an "atom", such
  as the zero of a zero-inflated feature, to which quantile bins are blind); then the intervals ``(edge, edge]``
  between reference quantiles of the rest, open at both ends.
* categorical: ``missing``; ``unseen`` (not in the reference); ``other`` (in the reference, but rare); one bin per
  frequent category.

The bins are fitted by ``drift.edges``; rows are counted by ``drift.counts``, or where they lie, behind
``ports.profiler``. Everybody counts by the rules of ``drift.counts``.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from modelyard.core.digest import digest_json
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.value import Finite, Value

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
