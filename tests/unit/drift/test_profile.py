"""Profiles: every value has exactly one bin, and counts add up however the rows are grouped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.errors import Conflict, EvidenceMissing, NotFound
from modelyard.core.profile import CategoricalBins, NumericBins, Profile, merge
from modelyard.drift.counts import count
from modelyard.drift.edges import fit_profile


def frame(rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(1.0, rows))
    carrier = rng.choice(["UA", "AA", "DL"], rows, p=[0.5, 0.3, 0.2])
    return pd.DataFrame({"temp": rng.normal(10, 5, rows), "rain": rain, "carrier": carrier})


def fitted() -> Profile:
    return fit_profile(frame(), numeric=["temp", "rain"], categorical=["carrier"])


def test_quantile_bins_hold_a_tenth_of_the_reference_each() -> None:
    temp = fitted().feature("temp")
    assert temp.counts[:2] == (0, 0)
    assert temp.counts[2:] == (100,) * 10


def test_the_modal_value_of_a_zero_inflated_feature_has_its_own_bin() -> None:
    reference = fitted()
    rain = reference.feature("rain")
    assert isinstance(rain.bins, NumericBins)
    assert rain.bins.atoms == (0.0,)
    assert rain.rate("= 0.0") == pytest.approx(0.9, abs=0.03)
    wet = count(reference, frame().assign(rain=0.01))
    assert wet.feature("rain").rate("= 0.0") == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=0, max_size=6), st.randoms(use_true_random=False))
def test_any_grouping_of_the_rows_gives_the_same_counts(cuts: list[int], random: object) -> None:
    reference, window = fitted(), frame(300, seed=1)
    window.loc[::7, "temp"] = np.nan
    window.loc[::11, "carrier"] = "ZZ"
    bounds = sorted({0, *cuts, 300})
    parts = [count(reference, window.iloc[a:b]) for a, b in pairwise(bounds)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert merge(reference.empty(), *parts) == count(reference, window)


def test_merging_is_associative_and_the_empty_profile_is_neutral() -> None:
    reference = fitted()
    a, b, c = (count(reference, frame(50, seed)) for seed in (1, 2, 3))
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge(c, a, b)
    assert merge(a, reference.empty()) == a


def test_profiles_of_different_bins_are_not_merged() -> None:
    other = fit_profile(frame(seed=9), numeric=["temp", "rain"], categorical=["carrier"])
    with pytest.raises(Conflict, match="different bins"):
        merge(fitted(), other)


def test_the_json_form_comes_back_with_the_same_digest() -> None:
    reference = fitted()
    again = Profile.from_json(reference.to_json())
    assert again == reference
    assert again.digest == reference.digest
    assert again.bins_digest == count(reference, frame(seed=4)).bins_digest


def test_the_order_of_rows_changes_nothing() -> None:
    shuffled = frame().sample(frac=1, random_state=3)
    assert fit_profile(shuffled, numeric=["temp", "rain"], categorical=["carrier"]) == fitted()


def test_32_bit_values_fall_into_the_bins_of_their_64_bit_originals() -> None:
    values = np.round(np.random.default_rng(0).normal(size=500), 1)
    reference = fit_profile(pd.DataFrame({"x": values}), numeric=["x"])
    assert count(reference, pd.DataFrame({"x": values.astype(np.float32)})) == reference


class TestOddInput:
    def test_infinities_and_text_are_invalid_and_nulls_are_missing(self) -> None:
        window = pd.DataFrame({"temp": [np.inf, -np.inf, None, "warm", 1e300, 3], "rain": 0.0, "carrier": "UA"})
        temp = count(fitted(), window).feature("temp")
        assert temp.rate("missing") == pytest.approx(1 / 6)
        assert temp.rate("invalid") == pytest.approx(4 / 6)

    def test_an_all_null_reference_has_one_interval(self) -> None:
        reference = fit_profile(pd.DataFrame({"x": [None, None]}), numeric=["x"])
        assert reference.feature("x").counts == (2, 0, 0)
        assert count(reference, pd.DataFrame({"x": [1.0]})).feature("x").counts == (0, 0, 1)

    def test_a_constant_feature_is_one_atom(self) -> None:
        reference = fit_profile(pd.DataFrame({"x": [7.0] * 5}), numeric=["x"])
        assert reference.feature("x").bins.labels == ("missing", "invalid", "= 7.0", "(-inf, inf]")
        assert reference.feature("x").counts == (0, 0, 5, 0)

    def test_an_empty_window_counts_nothing(self) -> None:
        empty = count(fitted(), frame().iloc[:0])
        assert empty.n == 0
        assert empty.feature("temp").rate("missing") is None

    def test_an_empty_reference_is_refused(self) -> None:
        with pytest.raises(EvidenceMissing):
            fit_profile(frame().iloc[:0], numeric=["temp"])

    def test_one_row(self) -> None:
        reference = fit_profile(frame(1), numeric=["temp", "rain"], categorical=["carrier"])
        assert reference.n == 1

    def test_a_vanished_column_is_missing_in_every_row_and_a_new_one_is_ignored(self) -> None:
        window = frame(10).drop(columns="temp").assign(new=1)
        assert count(fitted(), window).feature("temp").rate("missing") == 1.0

    def test_a_column_the_reference_lacks_is_refused_with_a_suggestion(self) -> None:
        with pytest.raises(NotFound, match="Did you mean 'temp'"):
            fit_profile(frame(), numeric=["tmp"])

    def test_categories_unseen_rare_and_missing_are_told_apart(self) -> None:
        names = [f"c{i}" for i in range(60) for _ in range(60 - i)]
        reference = fit_profile(pd.DataFrame({"c": names}), numeric=[], categorical=["c"])
        got = count(reference, pd.DataFrame({"c": ["c0", "c59", "new", None]})).feature("c")
        assert (got.rate("= c0"), got.rate("other"), got.rate("unseen"), got.rate("missing")) == (0.25,) * 4

    def test_a_million_categories_are_bounded_and_nothing_is_called_unseen(self) -> None:
        reference = fit_profile(pd.DataFrame({"c": np.arange(20_000)}), numeric=[], categorical=["c"])
        bins = reference.feature("c").bins
        assert isinstance(bins, CategoricalBins)
        assert (bins.complete, bins.known, len(bins.frequent)) == (False, (), 50)
        assert count(reference, pd.DataFrame({"c": ["new"]})).feature("c").rate("other") == 1.0

    def test_whole_categories_survive_the_float_that_a_missing_value_makes_of_them(self) -> None:
        reference = fit_profile(pd.DataFrame({"c": [1, 2, 2]}), numeric=[], categorical=["c"])
        got = count(reference, pd.DataFrame({"c": [1.0, None, 2.0]})).feature("c")
        assert got.counts == (1, 0, 0, 1, 1)

    def test_counts_that_do_not_add_up_are_refused(self) -> None:
        data = fitted().to_dict()
        data["n"] += 1
        with pytest.raises(ValueError, match="do not add up"):
            Profile.model_validate(data)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(np.array([0.1, 0.2] * 5, dtype=np.float32)),
        pd.Series([1, True, 1.5] * 5, dtype=object),
        pd.Series([0.1, 0.2] * 5, dtype="Float32"),
        pd.Series(["a", "b"] * 5, dtype=pd.CategoricalDtype(["a", "b", "never"])),
    ],
    ids=["float32", "mixed", "Float32", "category"],
)
def test_no_category_of_the_reference_is_unseen_in_it(column: pd.Series) -> None:
    """The text of a category is the same when bins are fitted and when rows are counted."""
    feature = fit_profile(pd.DataFrame({"x": column}), numeric=[], categorical=["x"]).feature("x")
    assert feature.rate("unseen") == 0
    assert feature.rate("other") == 0
    assert len(feature.bins.frequent) == column.nunique() + (column.dtype == object)
