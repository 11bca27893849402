"""Thresholds from weeks: the stated rate is the one that happens, also where rows of a week resemble each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.core.errors import Conflict, EvidenceMissing
from modelyard.core.profile import Profile, merge
from modelyard.drift.counts import count
from modelyard.drift.distances import psi
from modelyard.drift.edges import fit_bins
from modelyard.drift.thresholds import FeatureThreshold, Thresholds, fit_thresholds, joint_factor, weekly


def week(rng: np.random.Generator, rows: int = 400, shift: float = 0.0) -> pd.DataFrame:
    """A week has a level of its own: its rows are not independent."""
    return pd.DataFrame({"temp": rng.normal(shift + rng.normal(0, 0.3), 1, rows)})


def profiled(weeks: list[pd.DataFrame]) -> list[Profile]:
    bins = fit_bins(pd.concat(weeks), numeric=["temp"])
    return [count(bins, rows) for rows in weeks]


def test_the_stated_rate_is_the_rate_of_new_weeks() -> None:
    """400 references of 9 weeks; a new week of each. 10% are stated: 0.5 to 1.6 times as many are found."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(400):
        weeks = profiled([week(rng) for _ in range(10)])
        found = fit_thresholds(weeks[:9], false_alarm_rate=0.1).features[0]
        assert found.false_alarm_rate == pytest.approx(0.1)
        score = psi(merge(*weeks[:9]).feature("temp"), weeks[9].feature("temp"))
        alarms += score > found.value  # type: ignore[operator]
    assert 20 <= alarms <= 64


def test_a_fixed_band_cries_wolf_where_a_threshold_does_not() -> None:
    rng = np.random.default_rng(1)
    found = fit_thresholds(profiled([week(rng) for _ in range(9)])).features[0]
    assert found.value > 0.1


def test_a_shifted_week_is_above() -> None:
    rng = np.random.default_rng(2)
    weeks = profiled([*(week(rng) for _ in range(9)), week(rng, shift=3.0)])
    found = fit_thresholds(weeks[:9]).features[0]
    assert psi(merge(*weeks[:9]).feature("temp"), weeks[9].feature("temp")) > found.value  # type: ignore[operator]


@pytest.mark.parametrize(
    ("weeks", "asked", "stated", "place"),
    [(9, 0.1, 0.1, 9), (19, 0.1, 0.1, 18), (10, 0.1, 1 / 11, 10), (5, 0.01, 1 / 6, 5)],
)
def test_the_rank_and_what_it_bears(weeks: int, asked: float, stated: float, place: int) -> None:
    """Too few weeks for the rate asked for: the greatest score, with the rate that it has."""
    rng = np.random.default_rng(3)
    profiles = profiled([week(rng) for _ in range(weeks)])
    found = fit_thresholds(profiles, false_alarm_rate=asked).features[0]
    scores = sorted(
        psi(merge(*(o for o in profiles if o is not w)).feature("temp"), w.feature("temp")) or 0 for w in profiles
    )
    assert (found.value, found.weeks) == (scores[place - 1], weeks)
    assert found.false_alarm_rate == pytest.approx(stated)


def test_too_few_weeks_bear_no_threshold() -> None:
    rng = np.random.default_rng(4)
    profiles = profiled([week(rng) for _ in range(4)])
    with pytest.raises(EvidenceMissing, match="need 4 weeks of reference, there are 3"):
        fit_thresholds([*profiles[:3], profiles[0].empty()])
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_thresholds(profiles, false_alarm_rate=1.0)


def test_weeks_of_other_bins_are_refused() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(Conflict):
        fit_thresholds([profiled([week(rng)])[0] for _ in range(4)])


def test_weeks_are_cut_from_the_first_row_and_a_short_rest_is_left_out() -> None:
    times = pd.date_range("2013-01-03T05:00Z", periods=24 * 23, freq="h")
    rows = pd.DataFrame({"at": times, "temp": np.arange(len(times), dtype=float)})
    bins = fit_bins(rows, numeric=["temp"])
    assert [p.n for p in weekly(bins, rows, "at")] == [168, 168, 168]
    assert [p.n for p in weekly(bins, rows, "at", min_rows=48)] == [168, 168, 168, 48]


def test_a_threshold_is_a_measurement_of_its_feature() -> None:
    rng = np.random.default_rng(6)
    thresholds = fit_thresholds(profiled([week(rng) for _ in range(5)]))
    (measured,) = thresholds.measurements()
    assert (measured.name, measured.slice, measured.n) == ("psi_threshold", "feature=temp", 5)
    assert type(thresholds).from_json(thresholds.to_json()) == thresholds


BINS = "sha256:" + "0" * 64


def scores(rng: np.random.Generator, weeks: int, features: int, common: float) -> list[list[float]]:
    """Scores of weeks: skewed, of very different scales, and features of a week move together as far as ``common``."""
    scale = 10.0 ** np.linspace(-1.5, 0.5, features)
    shared = rng.normal(0, common, (weeks, 1))
    table: list[list[float]] = (scale * np.exp(shared + rng.normal(0, 0.7, (weeks, features)))).tolist()
    return table


def fitted(table: list[list[float]], rate: float = 0.1) -> Thresholds:
    columns = list(zip(*table, strict=True))
    found = tuple(
        FeatureThreshold(
            feature=f"f{i}",
            value=sorted(c)[min(len(c), int(np.ceil((len(c) + 1) * (1 - rate) - 1e-9))) - 1],
            false_alarm_rate=rate,
            weeks=len(c),
            scores=c,
        )
        for i, c in enumerate(columns)
    )
    return Thresholds(score="psi", bins=BINS, asked_rate=rate, features=found)


def alarms(weeks: int, features: int, common: float, *, joint: bool, runs: int = 400, seed: int = 0) -> float:
    """In which share of references a new week is above any threshold, though nothing has changed."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(runs):
        *table, new = scores(rng, weeks + 1, features, common)
        thresholds = fitted(table)
        names = [t.feature for t in thresholds.features] if joint else []
        bounds = [m.value for m in thresholds.measurements(names)]
        found += any(v > b for v, b in zip(new, bounds, strict=True) if b is not None)
    return found / runs


@pytest.mark.parametrize(
    ("weeks", "common", "stated"), [(9, 0.0, 0.1), (9, 1.0, 0.1), (12, 0.0, 1 / 13), (19, 0.5, 0.1), (40, 0.5, 0.1)]
)
def test_of_thirty_features_together_the_stated_rate_is_kept(weeks: int, common: float, stated: float) -> None:
    """400 references each; twice the standard error is allowed to either side."""
    assert alarms(weeks, 30, common, joint=True) == pytest.approx(stated, abs=0.03)


def test_without_the_joint_factor_most_weeks_have_an_alarm() -> None:
    assert alarms(9, 30, 0.0, joint=False, runs=200) > 0.8


def test_joint_thresholds_still_find_a_feature_that_has_moved() -> None:
    rng, found = np.random.default_rng(5), 0
    for _ in range(100):
        table = scores(rng, 12, 30, 0.5)
        thresholds = fitted(table)
        bounds = thresholds.measurements([t.feature for t in thresholds.features])
        found += 20 * np.mean([row[3] for row in table]) > (bounds[3].value or 0.0)
    assert found >= 95


def test_the_rate_is_kept_for_whole_profiles_too() -> None:
    """25 references of 9 weeks and 6 features; 10% are stated, at most 6 alarms are within two and a half errors."""
    rng, raised = np.random.default_rng(7), 0
    names = [f"x{i}" for i in range(6)]
    for _ in range(25):
        frames = [pd.DataFrame({n: rng.normal(rng.normal(0, 0.3), 1, 150) for n in names}) for _ in range(10)]
        bins = fit_bins(pd.concat(frames[:9]), numeric=names)
        weeks = [count(bins, rows) for rows in frames]
        bounds = fit_thresholds(weeks[:9]).measurements(names)
        whole = merge(*weeks[:9])
        new = [psi(whole.feature(n), weeks[9].feature(n)) or 0.0 for n in names]
        raised += any(v > (b.value or 0.0) for v, b in zip(new, bounds, strict=True))
    assert raised <= 6


def test_the_joint_factor_by_hand() -> None:
    """Three weeks, two features, a rate of a quarter, then of a half: each week beside the mean of the other two."""
    weeks: list[list[float | None]] = [[1.0, 0.2], [2.0, None], [6.0, 0.1]]
    # Ratios: max(1/4, .2/.1) = 2; 2/3.5; max(6/1.5, .1/.2) = 4.
    assert joint_factor(weeks, 0.25, 0.01) == (4.0, 0.25)
    assert joint_factor(weeks, 0.5, 0.01) == (2.0, 0.5)
    # Where nothing ever moved, what is less than the least is nothing.
    assert joint_factor([[0.0], [0.0], [0.005]], 0.25, 0.01).factor == 0.5


def test_a_joint_threshold_says_at_what_rate_and_an_early_version_has_its_own_only() -> None:
    rng = np.random.default_rng(6)
    thresholds = fit_thresholds(profiled([week(rng) for _ in range(9)]))
    (own,), (joint,) = thresholds.measurements(), thresholds.measurements(["temp"])
    assert own.evidence == ""
    assert "one of 1 features is above in 10.0% of such windows by chance" in joint.evidence
    early = thresholds.model_copy(
        update={"features": tuple(t.model_copy(update={"scores": ()}) for t in thresholds.features)}
    )
    assert early.joint(["temp"]) is None
    assert early.measurements(["temp"]) == (own,)
