"""Sums over trailing windows agree with counting by hand, whatever past is given."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from modelyard.features.rolling import Rolling, full_hours, micros

START = pd.Timestamp("2013-01-01", tz="UTC")


def events(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    minutes = pd.to_timedelta(rng.integers(0, 60 * 24 * 5, n), unit="m")
    return pd.DataFrame(
        {"group": rng.choice(list("abc"), n), "at": START + minutes, "late": rng.integers(0, 2, n).astype(float)}
    )


def by_hand(past: pd.DataFrame, group: str, at: pd.Timestamp, length: timedelta) -> tuple[float, float]:
    seen = past[(past["group"] == group) & (past["at"] > at - length) & (past["at"] <= at)]
    return float(len(seen)), seen["late"].sum()


@pytest.mark.parametrize("hours", [1, 6, 48, 1000])
def test_windows_agree_with_counting_by_hand(hours: int) -> None:
    past = events(400, seed=hours)
    grid = pd.DataFrame(
        [(g, START + pd.Timedelta(hours=h)) for h in range(-2, 130, 7) for g in "abcd"], columns=["group", "at"]
    )
    length = timedelta(hours=hours)
    found = Rolling(past["group"], past["at"], past[["late"]]).over(grid["group"], grid["at"], length)
    wanted = [by_hand(past, g, t, length) for g, t in grid.itertuples(index=False)]
    assert list(found.itertuples(index=False, name=None)) == wanted


def test_an_event_counts_from_its_own_moment_on_and_until_it_is_as_old_as_the_window() -> None:
    rolling = Rolling(pd.Series(["a"]), pd.Series([START]), pd.DataFrame({"late": [1.0]}))
    moments = pd.Series([START - pd.Timedelta("1us"), START, START + pd.Timedelta("59min"), START + pd.Timedelta("1h")])
    assert rolling.over(pd.Series(["a"] * 4), moments, timedelta(hours=1))["count"].tolist() == [0, 1, 1, 0]


def test_more_past_than_the_window_changes_nothing() -> None:
    past = events(500, seed=3)
    grid = pd.DataFrame({"group": list("abc"), "at": START + pd.Timedelta(days=4)})
    late = past[past["at"] > START + pd.Timedelta(days=2)]
    answers = [
        Rolling(p["group"], p["at"], p[["late"]]).over(grid["group"], grid["at"], timedelta(days=2))
        for p in (past, late.sample(frac=1, random_state=0))
    ]
    pd.testing.assert_frame_equal(*answers)


def test_nothing_happened_is_zero() -> None:
    none = events(0, seed=0)
    answer = Rolling(none["group"].astype(object), pd.Series([], dtype="datetime64[us, UTC]"), none[["late"]]).over(
        pd.Series(["a"]), pd.Series([START]), timedelta(hours=1)
    )
    assert answer.to_dict("list") == {"count": [0.0], "late": [0.0]}


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(TypeError, match="time zone"):
        micros(pd.Series([pd.Timestamp("2013-01-01")]))


def test_full_hours_are_after_and_until() -> None:
    hours = full_hours(START, START + pd.Timedelta("2h"))
    assert hours.tolist() == [START + pd.Timedelta("1h"), START + pd.Timedelta("2h")]
    assert full_hours(START + pd.Timedelta("10min"), START + pd.Timedelta("50min")).empty
