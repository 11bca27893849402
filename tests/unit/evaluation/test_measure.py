"""Measurements with intervals: seeded, paired, honest about what was not there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.core.digest import digest_json
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.evaluation.bootstrap import blocks_of, interval, mean_interval
from modelyard.evaluation.measure import Sample, Scores, compare, compare_slices, measure, measure_slices

WINDOW = Window(start=datetime(2013, 4, 2, tzinfo=UTC), end=datetime(2013, 4, 9, tzinfo=UTC))
OURS, THEIRS = digest_json("ours"), digest_json("theirs")


BOTH: dict[str, Any] = {"seed": 1, "threshold": 0.5, "their_threshold": 0.5}


def sample(n: int = 1500, seed: int = 0) -> tuple[Sample, np.ndarray]:
    rng = np.random.default_rng(seed)
    times = np.datetime64("2013-04-02") + np.sort(rng.integers(0, 7 * 86400, n)).astype("timedelta64[s]")
    p = rng.beta(1, 3, n)
    return Sample((rng.random(n) < p).astype(float), times, WINDOW), p


def by_name(found: object) -> dict[str, Measurement]:
    return {m.name: m for m in found}  # type: ignore[attr-defined]


def test_every_metric_has_an_interval_around_it_and_repeats_itself() -> None:
    rows, p = sample()
    found = measure(rows, Scores(OURS, p), threshold=0.5, seed=1)
    assert found == measure(rows, Scores(OURS, p), threshold=0.5, seed=1)
    for m in found[:6]:
        assert m.low is not None
        assert m.low <= m.value <= m.high
        assert (m.subject, m.n, m.window) == (OURS, 1500, WINDOW)
    assert by_name(found)["evaluation_rows"].value == 1500


def test_no_rows_are_no_evidence_and_say_so() -> None:
    empty = Sample(np.empty(0), np.empty(0, dtype="datetime64[s]"), WINDOW)
    found = measure(empty, Scores(OURS, np.empty(0)), threshold=0.5, seed=1)
    assert {m.why for m in found[:7]} == {"no rows"}
    assert all(m.value is None for m in found[:7])


def test_one_outcome_only_has_no_area() -> None:
    rows, p = sample(200)
    found = by_name(measure(Sample(np.zeros(200), rows.times, WINDOW), Scores(OURS, p), threshold=0.5, seed=1))
    assert found["auc"].why == "only one outcome was observed"
    assert found["brier"].value is not None


def test_equal_forecasts_differ_by_nothing_at_all() -> None:
    rows, p = sample()
    for m in compare(rows, Scores(OURS, p), Scores(THEIRS, p), **BOTH):
        expected = (1, None, None, THEIRS) if m.name == "worse_p" else (0, 0, 0, THEIRS)
        assert (m.value, m.low, m.high, m.variant) == expected


def test_a_worse_forecast_is_seen_as_worse_on_the_same_rows() -> None:
    rows, p = sample()
    found = by_name(compare(rows, Scores(OURS, np.full(p.size, 0.5)), Scores(THEIRS, p), **BOTH))
    assert found["logloss_difference"].low > 0
    assert found["auc_difference"].high < 0


def test_pairing_narrows_the_interval() -> None:
    rows, p = sample()
    noisy = np.clip(p + 0.01, 0, 1)
    paired = by_name(compare(rows, Scores(OURS, noisy), Scores(THEIRS, p), **BOTH))["logloss_difference"]
    alone = by_name(measure(rows, Scores(OURS, p), threshold=0.5, seed=1))["logloss"]
    assert paired.high - paired.low < (alone.high - alone.low) / 3


def test_slices_are_measured_apart_and_small_ones_say_why_not() -> None:
    rows, p = sample(300)
    frame = pd.DataFrame({"carrier": ["AA"] * 280 + ["ZZ"] * 20})
    found = {(m.slice, m.name): m for m in measure_slices(rows, Scores(OURS, p), frame, ["carrier"])}
    assert found["carrier=AA", "auc"].n == 280
    assert found["carrier=ZZ", "auc"].why == "20 rows, at least 30 are asked for"


def test_blocks_are_stretches_of_time_and_few_of_them_give_no_interval() -> None:
    times = np.array(["2013-04-02T00:10", "2013-04-02T05:59", "2013-04-02T06:00", "2013-04-09T00:00"], "datetime64[s]")
    blocks = blocks_of(times)
    assert blocks.tolist() == [0, 0, 1, 2]
    assert interval(lambda rows: float(rows.size), blocks, np.random.default_rng(0)) is None


@pytest.mark.parametrize("seed", range(3))
def test_dependent_rows_have_a_wider_interval_than_their_number_claims(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(28), 50)
    values = np.repeat(rng.normal(size=28), 50)
    low, high = interval(lambda rows: float(values[rows].mean()), blocks, rng)
    naive = 2 * 1.96 * values.std() / np.sqrt(values.size)
    assert high - low > 3 * naive


def test_slices_are_compared_with_the_champion_on_their_own_rows() -> None:
    rows, p = sample()
    frame = pd.DataFrame({"carrier": ["AA"] * 900 + ["UA"] * 580 + ["ZZ"] * 20})
    worse = np.where(frame["carrier"] == "UA", 0.5, p)
    scores = (Scores(OURS, worse), Scores(THEIRS, p))
    found = {m.slice: m for m in compare_slices(rows, *scores, frame, ["carrier"], seed=1)}
    assert (found["carrier=AA"].value, found["carrier=AA"].high) == (0, 0)
    assert found["carrier=UA"].low > 0
    assert (found["carrier=UA"].variant, found["carrier=UA"].n) == (THEIRS, 580)
    assert found["carrier=ZZ"].value is None


def test_answers_at_the_threshold_are_compared_by_the_rows_on_which_only_one_is_right() -> None:
    rows, p = sample()
    wrong = np.where(rows.label > 0.5, 0.1, 0.9)
    found = by_name(compare(rows, Scores(OURS, wrong), Scores(THEIRS, 1 - wrong), **BOTH))["worse_p"]
    assert found.value < 1e-9
    assert found.evidence == "right alone: the release on 0 rows, the champion on 1500"
    assert by_name(compare(rows, Scores(OURS, p), Scores(THEIRS, p), **BOTH))["worse_p"].value == 1


def test_each_version_answers_by_its_own_threshold() -> None:
    rows, p = sample()
    found = by_name(compare(rows, Scores(OURS, p), Scores(THEIRS, p), seed=1, threshold=0.01, their_threshold=0.5))
    assert found["accuracy_difference"].value < -0.1
    assert found["worse_p"].value < 1e-6
    assert found["logloss_difference"].value == 0


def test_the_mean_of_blocks_has_the_interval_that_resampling_rows_of_blocks_has() -> None:
    rows, p = sample()
    blocks, gaps = blocks_of(rows.times), rows.label - p
    quick = mean_interval(gaps, blocks, np.random.default_rng(0))
    slow = interval(lambda places: float(gaps[places].mean()), blocks, np.random.default_rng(0))
    assert quick == pytest.approx(slow)
    assert mean_interval(gaps[:10], np.zeros(10, dtype=np.int64), np.random.default_rng(0)) is None
