"""Distances agree with scipy, or with a plain form of their definition, to 1e-9; what is a bound, holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.core.errors import Conflict
from modelyard.core.profile import CategoricalBins, FeatureProfile, NumericBins
from modelyard.drift.counts import count
from modelyard.drift.distances import chi_square, chi_square_tail, cramers_v, kolmogorov, psi, wasserstein
from modelyard.drift.edges import fit_profile

EDGES = (-2.0, 0.0, 1.0, 5.0)
ATOMS = (0.0, 3.0)


def of(*counts: int) -> FeatureProfile:
    """missing, invalid, the atoms 0 and 3, then (-inf, -2], (-2, 0], (0, 1], (1, 5], (5, inf]."""
    return FeatureProfile(name="x", bins=NumericBins(atoms=ATOMS, edges=EDGES), counts=counts)


P, Q = of(5, 1, 30, 4, 2, 10, 20, 8, 1), of(0, 2, 10, 9, 0, 25, 3, 7, 12)


def features(seed: int, zeros: float = 0.4, shift: float = 0.5) -> tuple[list[np.ndarray], list[FeatureProfile]]:
    """Raw values of a zero-inflated feature, twice, and their profiles."""
    rng = np.random.default_rng(seed)
    raw = [np.where(rng.random(2000) < z, 0.0, rng.normal(s, 2, 2000)) for z, s in ((zeros, 0.0), (0.3, shift))]
    raw = [values.astype(np.float32).astype(float) for values in raw]
    reference = fit_profile(pd.DataFrame({"x": raw[0]}), numeric=["x"])
    return raw, [reference.feature("x"), count(reference, pd.DataFrame({"x": raw[1]})).feature("x")]


def test_wasserstein_is_scipys_of_the_places_that_stand_for_the_bins() -> None:
    from scipy.stats import wasserstein_distance

    places = [0.0, 3.0, -2.0, -1.0, 0.5, 3.0, 5.0]
    assert wasserstein(P, Q) == pytest.approx(
        wasserstein_distance(places, places, P.counts[2:], Q.counts[2:]), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_is_near_that_of_the_raw_values_that_lie_between_the_edges(seed: int) -> None:
    from scipy.stats import wasserstein_distance

    raw, (p, q) = features(seed)
    edges = p.bins.edges  # type: ignore[union-attr]
    inside = [np.clip(values, edges[0], edges[-1]) for values in raw]
    assert wasserstein(p, q) == pytest.approx(wasserstein_distance(*inside), abs=max(np.diff(edges)) / 2)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("zeros", [0.0, 0.4, 0.95])
def test_the_bounds_hold_the_statistic_of_the_raw_values(seed: int, zeros: float) -> None:
    from scipy.stats import ks_2samp

    raw, (p, q) = features(seed, zeros, shift=seed / 10)
    bounds = kolmogorov(p, q)
    assert bounds is not None
    assert kolmogorov(q, p) == pytest.approx(bounds)
    true = ks_2samp(*raw).statistic
    assert bounds.low - 1e-12 <= true <= bounds.high + 1e-12
    # Bounds that hold everything would say nothing. (With 95% zeros, the rest has but two intervals.)
    assert zeros > 0.9 or bounds.high - bounds.low < 0.4


def test_the_lower_bound_is_the_greatest_difference_at_an_edge() -> None:
    def at_edges(feature: FeatureProfile) -> np.ndarray:
        c = np.array(feature.counts[2:], dtype=float)
        zero, three, a, b, d, e, _ = c
        return np.array([a, a + b + zero, a + b + zero + d, a + b + zero + d + e + three]) / c.sum()

    assert kolmogorov(P, Q).low == pytest.approx(np.abs(at_edges(P) - at_edges(Q)).max(), abs=1e-9)  # type: ignore[union-attr]


def test_chi_square_is_scipys() -> None:
    from scipy.stats import chi2_contingency

    table = np.array([P.counts, Q.counts])
    expected = chi2_contingency(table, correction=False)
    found = chi_square(P, Q)
    assert found is not None
    assert found.freedom == expected.dof
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 11, 53, 200])
@pytest.mark.parametrize("statistic", [0.0, 1e-6, 0.5, 7.0, 60.0, 400.0, 5000.0])
def test_the_tail_is_scipys(statistic: float, freedom: int) -> None:
    from scipy.stats import chi2

    assert chi_square_tail(statistic, freedom) == pytest.approx(chi2.sf(statistic, freedom), rel=1e-9, abs=1e-300)


def test_cramers_v_is_scipys_on_equal_totals_and_does_not_depend_on_sizes() -> None:
    from scipy.stats.contingency import association

    n, m = P.n, Q.n
    table = np.array([np.array(P.counts) * m, np.array(Q.counts) * n])
    assert cramers_v(P, Q) == pytest.approx(association(table, method="cramer"), abs=1e-9)
    assert cramers_v(of(*(1000 * c for c in P.counts)), Q) == pytest.approx(cramers_v(P, Q), abs=1e-12)


def test_equal_profiles_are_at_no_distance_and_disjoint_ones_at_the_greatest() -> None:
    left, right = of(0, 0, 0, 0, 9, 0, 0, 0, 0), of(0, 0, 0, 0, 0, 0, 0, 0, 4)
    assert (psi(P, P), cramers_v(P, P), wasserstein(P, P), kolmogorov(P, P).low) == (0, 0, 0, 0)  # type: ignore[union-attr]
    assert chi_square(P, P).p_value == 1.0  # type: ignore[union-attr]
    assert cramers_v(left, right) == pytest.approx(1.0)
    assert kolmogorov(left, right) == (1.0, 1.0)
    assert wasserstein(left, right) == 7.0


def test_rows_without_a_valid_value_have_no_distance_along_the_axis() -> None:
    odd = of(7, 3, 0, 0, 0, 0, 0, 0, 0)
    assert (wasserstein(P, odd), kolmogorov(odd, P)) == (None, None)
    assert psi(P, odd) > 1  # type: ignore[operator]
    assert cramers_v(P, odd) > 0.7  # type: ignore[operator]


def test_without_rows_there_is_no_distance() -> None:
    none = of(*(0,) * 9)
    for distance in (psi, cramers_v, chi_square, wasserstein, kolmogorov):
        assert distance(P, none) is None
        assert distance(none, P) is None


def test_categories_have_no_axis_and_a_constant_feature_has_a_point() -> None:
    bins = CategoricalBins(frequent=("a",))
    category = FeatureProfile(name="c", bins=bins, counts=(0, 0, 0, 3))
    assert (wasserstein(category, category), kolmogorov(category, category)) == (None, None)
    constant = FeatureProfile(name="k", bins=NumericBins(atoms=(7.0,)), counts=(0, 0, 5, 0))
    moved = FeatureProfile(name="k", bins=NumericBins(atoms=(7.0,)), counts=(0, 0, 0, 5))
    assert kolmogorov(constant, moved).high == 1.0  # type: ignore[union-attr]
    assert psi(constant, moved) > 1  # type: ignore[operator]
    nowhere = FeatureProfile(name="n", bins=NumericBins(), counts=(0, 0, 5))
    assert wasserstein(nowhere, nowhere) is None


def test_different_bins_are_refused() -> None:
    other = FeatureProfile(name="x", bins=NumericBins(), counts=(0, 0, 1))
    with pytest.raises(Conflict, match="different bins"):
        wasserstein(P, other)
