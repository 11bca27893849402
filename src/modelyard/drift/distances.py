"""Distances between two profiles of one feature: what each is, exactly, and where it comes from.

All take counts in the same bins. ``p`` are the reference's shares, ``q`` the window's. Where either side has no rows
there is no distance: None, never 0. Distances along the axis of a numeric feature (``wasserstein``, ``kolmogorov``)
leave out missing and invalid rows; the others count them as bins like any other.
"""

from __future__ import annotations

from itertools import pairwise
from math import erfc, exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelyard.core.errors import Conflict
from modelyard.core.profile import NUMERIC_HEAD, FeatureProfile, NumericBins

Floats = NDArray[np.float64]

_PSEUDO = 0.5


def psi(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """Population stability index: ``sum((q - p) * ln(q / p))`` over the bins.

    The symmetric Kullback-Leibler divergence (Jeffreys 1946), as used in credit scoring (Siddiqi 2006, "Credit Risk
    Scorecards"). Half a row is added to every bin that either side has used (Krichevsky-Trofimov), so that an empty
    bin costs a bounded amount and not an arbitrary epsilon's logarithm; bins empty on both sides are left out.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    used = (p + q) > 0
    p, q = p[used] + _PSEUDO, q[used] + _PSEUDO
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """Jensen-Shannon distance to base 2, from 0 (equal) to 1 (nothing in common).

    The square root of the divergence (Lin 1991, IEEE Transactions on Information Theory 37; a metric after Endres and
    Schindelin 2003); equals ``scipy.spatial.distance.jensenshannon(p, q, base=2)`` on the bins' shares.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


class ChiSquare(NamedTuple):
    """Pearson's statistic of homogeneity, its degrees of freedom, and the probability of one as great by chance."""

    statistic: float
    freedom: int
    p_value: float


def chi_square(reference: FeatureProfile, current: FeatureProfile) -> ChiSquare | None:
    """Pearson's test that both sides share one distribution (Pearson 1900), on the bins that either side has used.

    Equals ``scipy.stats.chi2_contingency([reference, window], correction=False)``. The p value takes rows for
    independent. Rows of one day are not, and with many rows any difference is "significant": it is evidence of
    nothing by itself. Read ``cramers_v`` beside it, and judge by ``drift.thresholds``.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    used = (p + q) > 0
    table = np.vstack([p[used], q[used]])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic, freedom = float(((table - expected) ** 2 / expected).sum()), int(used.sum()) - 1
    return ChiSquare(statistic, freedom, chi_square_tail(statistic, freedom))


def cramers_v(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """Cramer's V between "reference or window" and the bin, each side weighing as much: from 0 (equal) to 1 (disjoint).

    ``sqrt(sum((p - q)**2 / (p + q)) / 2)`` (Cramer 1946; the sum is Le Cam's, or the triangular, discrimination). The
    usual V of the raw counts would shrink with the reference's size: here both sides are scaled to as many rows, which
    makes it the effect size of ``chi_square`` that no sample size moves. Equals
    ``scipy.stats.contingency.association(method="cramer")`` on counts of equal totals.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    used = (p + q) > 0
    p, q = p[used] / p.sum(), q[used] / q.sum()
    return float(np.sqrt(((p - q) ** 2 / (p + q)).sum() / 2))


def wasserstein(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """The first Wasserstein (earth mover's) distance of the binned values, in the feature's units.

    Every value is moved to a place that stands for its bin: an atom to itself, an interval to its middle, an open
    interval to its one end; then it equals ``scipy.stats.wasserstein_distance`` of these places (Vallender 1974: the
    area between the distribution functions). It differs from the distance of the raw values by at most half the width
    of the intervals, and does not see how far the values beyond the outermost edges lie. None for a feature whose
    intervals have no edge and that has no atom, and for categories, which have no axis.
    """
    places = _places(reference)
    p, q = _counts(reference, current)
    head = len(NUMERIC_HEAD)
    if places is None or not p[head:].sum() or not q[head:].sum():
        return None
    order = np.argsort(places, kind="stable")
    difference = np.cumsum(p[head:][order] / p[head:].sum() - q[head:][order] / q[head:].sum())
    return float((np.abs(difference[:-1]) * np.diff(places[order])).sum())


class Kolmogorov(NamedTuple):
    """Bounds of a Kolmogorov-Smirnov statistic: the statistic of the raw values lies in ``[low, high]``."""

    low: float
    high: float


def kolmogorov(reference: FeatureProfile, current: FeatureProfile) -> Kolmogorov | None:
    """Bounds of the two-sample Kolmogorov-Smirnov statistic ``max |F(x) - G(x)|`` of the raw values (Smirnov 1948).

    At an edge both distribution functions are known exactly: the greatest difference there is ``low``. Between two
    edges they rise by what the interval holds, in an order that is not known, and by the atoms, whose place is: where
    one side has risen and the other has not, the difference is at most ``high``. The rounding to 32 bits is taken as
    done. None for categories.
    """
    bins = reference.bins
    if not isinstance(bins, NumericBins):
        return None
    p, q = _counts(reference, current)
    head, atoms = len(NUMERIC_HEAD), len(bins.atoms)
    if not p[head:].sum() or not q[head:].sum():
        return None
    p, q = p[head:] / p[head:].sum(), q[head:] / q[head:].sum()
    homes = np.searchsorted(np.asarray(bins.edges), np.asarray(bins.atoms), side="left")
    low = high = f = g = 0.0
    for interval in range(len(bins.edges) + 1):
        rise_f, rise_g = p[atoms + interval], q[atoms + interval]
        for atom in (None, *np.flatnonzero(homes == interval)):
            if atom is not None:
                f, g = f + p[atom], g + q[atom]
            high = max(high, abs(f + rise_f - g), abs(g + rise_g - f))
        f, g = f + rise_f, g + rise_g
        low = max(low, abs(f - g))
    # A sum of shares may pass 1 by a rounding.
    return Kolmogorov(min(float(low), 1.0), min(max(float(low), float(high)), 1.0))


def unseen_rate(current: FeatureProfile) -> float | None:
    """The share of rows whose category the reference never had; None where that cannot be told."""
    if current.bins.kind == "numeric" or not current.bins.complete:
        return None
    return current.rate("unseen")


def chi_square_tail(statistic: float, freedom: int) -> float:
    """The probability that a chi-square variable of ``freedom`` degrees is at least ``statistic``.

    The finite sums of Abramowitz and Stegun (1964), 26.4.4 and 26.4.5; with no degree of freedom the variable is 0.

    >>> round(chi_square_tail(3.841458820694124, 1), 12), round(chi_square_tail(0.0, 4), 12)
    (0.05, 1.0)
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if freedom % 2 == 0:
        terms = (exp(i * log(half) - lgamma(i + 1) - half) for i in range(freedom // 2))
        return min(1.0, sum(terms))
    terms = (exp((i + 0.5) * log(half) - lgamma(i + 1.5) - half) for i in range((freedom - 1) // 2))
    return min(1.0, erfc(sqrt(half)) + sum(terms))


def _places(feature: FeatureProfile) -> Floats | None:
    """Where the bins of a numeric feature lie, missing and invalid aside; None if nowhere."""
    bins = feature.bins
    if not isinstance(bins, NumericBins) or not (bins.edges or bins.atoms):
        return None
    edges = bins.edges or (float(np.mean(bins.atoms)),)
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    intervals = [edges[0], *middles, edges[-1]] if bins.edges else [edges[0]]
    return np.asarray([*bins.atoms, *intervals], dtype=np.float64)


def _counts(a: FeatureProfile, b: FeatureProfile) -> tuple[Floats, Floats]:
    if a.bins != b.bins:
        raise Conflict(f"{a.name} and {b.name} were counted in different bins")
    return np.asarray(a.counts, dtype=np.float64), np.asarray(b.counts, dtype=np.float64)


def _relative_entropy(p: Floats, q: Floats) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())
