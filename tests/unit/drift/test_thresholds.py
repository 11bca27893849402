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
from modelyard.drift.thresholds import fit_thresholds, weekly


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
