"""Scores from profiles alone agree with scipy and with plain definitions to 1e-9."""

from __future__ import annotations

from math import log

import numpy as np
import pandas as pd
import pytest

from modelyard.core.errors import Conflict
from modelyard.core.profile import FeatureProfile, NumericBins, Profile
from modelyard.drift.counts import count
from modelyard.drift.distances import jensen_shannon, psi, unseen_rate
from modelyard.drift.edges import fit_profile
from modelyard.drift.score import score


def pair(shift: float, n: int = 2000, seed: int = 0) -> tuple[Profile, Profile]:
    rng = np.random.default_rng(seed)
    reference = fit_profile(pd.DataFrame({"x": rng.normal(size=n)}), numeric=["x"])
    return reference, count(reference, pd.DataFrame({"x": rng.normal(shift, 1, n // 2)}))


def of(counts: tuple[int, ...]) -> FeatureProfile:
    edges = tuple(float(i) for i in range(len(counts) - 3))
    return FeatureProfile(name="x", bins=NumericBins(edges=edges), counts=counts)


def plain_psi(p: tuple[int, ...], q: tuple[int, ...]) -> float:
    """The definition, bin by bin in plain Python."""
    used = [(a + 0.5, b + 0.5) for a, b in zip(p, q, strict=True) if a + b]
    total_p, total_q = sum(a for a, _ in used), sum(b for _, b in used)
    return sum((b / total_q - a / total_p) * log((b / total_q) / (a / total_p)) for a, b in used)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_jensen_shannon_agrees_with_scipy(shift: float) -> None:
    from scipy.spatial.distance import jensenshannon

    a, b = (p.feature("x") for p in pair(shift))
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(a.counts, b.counts, base=2), abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_psi_agrees_with_its_definition(shift: float) -> None:
    a, b = (p.feature("x") for p in pair(shift))
    assert psi(a, b) == pytest.approx(plain_psi(a.counts, b.counts), abs=1e-9)


def test_psi_is_twice_the_symmetric_entropy_of_scipy() -> None:
    from scipy.stats import entropy

    p, q = (0, 0, 30, 50, 20), (0, 0, 10, 60, 30)
    p_, q_ = (np.array([x + 0.5 for x in c[2:]]) for c in (p, q))
    assert psi(of(p), of(q)) == pytest.approx(entropy(p_, q_) + entropy(q_, p_), abs=1e-9)


def test_equal_windows_have_no_distance_and_disjoint_ones_the_greatest() -> None:
    same, other = of((0, 0, 50, 50, 0)), of((0, 0, 0, 0, 80))
    assert (psi(same, same), jensen_shannon(same, same)) == (0.0, 0.0)
    assert jensen_shannon(same, other) == pytest.approx(1.0)


def test_an_empty_bin_costs_a_bounded_amount() -> None:
    assert psi(of((0, 0, 100, 0)), of((0, 0, 99, 1))) < 0.05


def test_a_stable_week_scores_low_and_a_shifted_one_high() -> None:
    still, moved = pair(0.0), pair(1.0)
    assert psi(still[0].feature("x"), still[1].feature("x")) < 0.03
    assert psi(moved[0].feature("x"), moved[1].feature("x")) > 0.5


def test_a_zero_inflated_feature_that_loses_its_zeros_is_seen() -> None:
    rng = np.random.default_rng(0)
    zeros = np.where(rng.random(3000) < 0.95, 0.0, rng.exponential(1, 3000))
    reference = fit_profile(pd.DataFrame({"rain": zeros}), numeric=["rain"])
    wet = np.where(rng.random(3000) < 0.5, 0.0, rng.exponential(1, 3000))
    got = psi(reference.feature("rain"), count(reference, pd.DataFrame({"rain": wet})).feature("rain"))
    assert got is not None
    assert got > 0.5


def test_no_rows_is_no_evidence_and_never_no_drift() -> None:
    reference, window = pair(0.0)
    nothing = reference.empty()
    assert psi(reference.feature("x"), nothing.feature("x")) is None
    assert jensen_shannon(nothing.feature("x"), window.feature("x")) is None
    measured = score(reference, nothing)
    of_every_feature = {"psi", "jensen_shannon", "cramers_v", "chi_square", "chi_square_p", "missing_rise"}
    assert {m.name for m in measured} == of_every_feature | {"invalid_rate", "wasserstein", "ks"}
    assert all(m.value is None and m.why for m in measured)


def test_bins_of_another_profile_are_refused() -> None:
    first, second = pair(0.0)[0], pair(0.0, seed=9)[0]
    with pytest.raises(Conflict, match="another profile"):
        score(first, second)
    with pytest.raises(Conflict, match="different bins"):
        psi(first.feature("x"), second.feature("x"))


def test_rates_of_missing_and_unseen() -> None:
    reference = fit_profile(pd.DataFrame({"c": ["a", "b", "a", None]}), numeric=[], categorical=["c"])
    window = count(reference, pd.DataFrame({"c": ["a", "new", None, None]}))
    values = {m.name: m.value for m in score(reference, window)}
    assert (values["missing_rise"], values["unseen_rate"]) == (0.25, 0.25)
    assert all(m.slice == "feature=c" and m.n == 4 for m in score(reference, window))


def test_unseen_is_unknown_for_numbers_and_for_references_too_wide_to_list() -> None:
    assert unseen_rate(pair(0.0)[0].feature("x")) is None
    wide = fit_profile(pd.DataFrame({"c": range(20_000)}), numeric=[], categorical=["c"])
    assert unseen_rate(wide.feature("c")) is None
    assert "unseen_rate" not in {m.name for m in score(wide, wide)}
