"""Streams with known answers, how alarms on them are counted, and that the page shows what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.core.verdict import Outcome
from modelyard.core.window import Window
from modelyard.drift.governor import CALIBRATION, History, Signals, judge
from modelyard.drift.policy import CalibrationRule, DriftPolicy
from modelyard.drift.quality import measure_quality

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
NONE = np.nan


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import _detection  # type: ignore[import-not-found]
    import _flight_days  # type: ignore[import-not-found]
    import _known_answers  # type: ignore[import-not-found]
    import _streams  # type: ignore[import-not-found]
    import _tabled_ks  # type: ignore[import-not-found]
    import _window_detectors  # type: ignore[import-not-found]

    yield SimpleNamespace(
        detection=_detection,
        flights=_flight_days,
        tables=_known_answers,
        streams=_streams,
        ks=_tabled_ks,
        detectors=_window_detectors,
    )
    sys.path.remove(str(BENCHMARKS))


def test_alarms_within_the_quiet_windows_are_one(bench: Any) -> None:
    alarms = np.array([[1, 1, NONE, 1, 0.5, NONE], [NONE] * 6])
    assert bench.detection.episodes(alarms, quiet=2).tolist() == [2, 0]
    assert bench.detection.episodes(alarms, quiet=1).tolist() == [2, 0]
    assert bench.detection.episodes(alarms, quiet=0).tolist() == [4, 0]
    assert bench.detection.episodes(alarms, quiet=6).tolist() == [1, 0]
    assert bench.detection.alarms_per_100(alarms) == pytest.approx(100 * 1 / 12)  # 7 windows are quiet: 1 in 12


def test_the_first_row_above_the_level_is_the_alarm(bench: Any) -> None:
    scores = np.array([[[0, 2, 3, 0], [0, 0, 0, 0], [9, 9, 9, 9]]], dtype=float)
    assert np.array_equal(bench.detection.at_row(scores, 1), [[0.5, NONE, 0.25]], equal_nan=True)
    assert np.array_equal(bench.detection.at_row(scores, 2), [[0.75, NONE, 0.25]], equal_nan=True)
    assert np.array_equal(bench.detection.at_window_end(scores[:, :, 2], 3), [[NONE, NONE, 1]], equal_nan=True)


def test_a_miss_counts_with_the_whole_horizon(bench: Any) -> None:
    found = bench.detection.seen(np.array([[NONE, NONE, 0.25, 1], [0.5, NONE, NONE, NONE], [NONE] * 4]))
    assert found.delay == pytest.approx((2.25 + 0.5 + 4) / 3)
    assert found.missed == pytest.approx(1 / 3)
    assert found.half_width == pytest.approx(1.96 * np.std([2.25, 0.5, 4], ddof=1) / 3**0.5)


def test_random_alarms_are_what_simulated_ones_are(bench: Any) -> None:
    thrown = np.where(np.random.default_rng(1).random((20_000, 10)) < 0.05, 1.0, NONE)
    simulated, expected = bench.detection.seen(thrown), bench.detection.by_chance(5.0, 10)
    assert expected.delay == pytest.approx(simulated.delay, abs=3 * simulated.half_width)
    assert expected.missed == pytest.approx(0.95**10)


@pytest.mark.parametrize(("strict", "lax", "log"), [(0.0, 10.0, False), (1e-6, 10.0, True)])
def test_the_level_is_the_laxest_that_keeps_the_rate(bench: Any, strict: float, lax: float, log: bool) -> None:
    assert bench.detection.calibrate(lambda x: x, strict, lax, 2.0, steps=40, log=log) == pytest.approx(2.0)
    falling = bench.detection.calibrate(lambda x: 10 - x, lax, strict, 2.0, steps=40, log=log)
    assert falling == pytest.approx(8.0)
    assert falling >= 8.0  # never above the rate


def test_a_detector_that_is_too_quiet_gets_its_laxest_level(bench: Any) -> None:
    assert bench.detection.calibrate(lambda _: 0.3, 0.0, 1.0, 2.0) == 1.0


def test_drift_comes_as_its_name_says(bench: Any) -> None:
    plan = bench.streams.Plan(reference=7, horizon=28, gradual=21)
    ramps = {r: bench.streams.strength(r, 42, plan) for r in ("stable", "abrupt", "gradual", "seasonal")}
    assert all(not ramp[:14].any() for ramp in ramps.values())
    assert not ramps["stable"].any()
    assert set(ramps["abrupt"][14:]) == {1.0}
    assert ramps["gradual"][14] == pytest.approx(1 / 21)
    assert set(ramps["gradual"][34:]) == {1.0}
    assert ramps["seasonal"].argmax() in {27, 28}
    assert ramps["seasonal"][[14, 41]].max() < 0.06
    with pytest.raises(ValueError, match="no ramp 'sudden': there are stable, abrupt"):
        bench.streams.strength("sudden", 42, plan)


def test_before_the_onset_a_drifting_stream_is_as_any_other(bench: Any) -> None:
    plan = bench.streams.Plan(rows=40, reference=14, streams=1)
    for family in (*bench.streams.INPUTS, *bench.streams.ANSWERS):
        drawn = {d: family.draw(np.random.default_rng(1), 35, d, plan) for d in ("stable", *family.drifts)}
        for drift in family.drifts:
            for name, column in drawn[drift].items():
                assert np.array_equal(column[: plan.onset], drawn["stable"][name][: plan.onset]), (family.name, drift)
            after = [
                not np.array_equal(c[plan.onset :], drawn["stable"][n][plan.onset :]) for n, c in drawn[drift].items()
            ]
            assert any(after), (family.name, drift)


def test_scores_are_right_on_average_until_drift_begins(bench: Any) -> None:
    plan = bench.streams.Plan(rows=200, reference=350)
    for family in bench.streams.ANSWERS:
        drawn = family.draw(np.random.default_rng(2), plan.onset + 28, "abrupt", plan)
        gap = drawn["score"] - drawn["label"]
        assert abs(gap[: plan.onset].mean()) < 0.02, family.name
        assert gap[plan.onset :].mean() < -0.05, family.name


def test_shuffled_labels_keep_the_rate_of_each_day(bench: Any) -> None:
    plan = bench.streams.Plan(reference=7)
    label = (np.random.default_rng(3).random((42, 50)) < 0.3).astype(float)
    moved = bench.streams.unrelated(np.random.default_rng(4), label, plan)
    assert np.array_equal(moved.sum(axis=1), label.sum(axis=1))
    assert np.array_equal(moved[:14], label[:14])
    assert not np.array_equal(moved[14:], label[14:])


def test_streams_are_settled_by_seed_and_purpose(bench: Any) -> None:
    plan, family = bench.streams.Plan(rows=3, reference=7, stable=3, streams=2), bench.streams.INPUTS[0]
    one, again, other, seed = (
        family.many("stable", role, plan, s)["value"] for role, s in ((0, 1), (0, 1), (1, 1), (0, 2))
    )
    assert one.shape == (2, 17, 3)
    assert np.array_equal(one, again)
    assert not any(np.array_equal(one, x) for x in (other, seed))
    assert not np.array_equal(one[0], one[1])


def test_planted_in_real_days(bench: Any) -> None:
    rows = pd.DataFrame(
        {"origin": ["LGA", "JFK"] * 200, "distance": [1.0, 3.0] * 200, "hour": 7, "delayed": [0.0, 1.0] * 200}
    )
    plan = bench.streams.Plan(rows=300, reference=7)
    days = dict.fromkeys(range(300), rows)
    inputs = bench.flights.Flights(days, bench.flights._distances)
    means = {
        d: inputs.draw(np.random.default_rng(5), 35, d, plan)["value"][plan.onset :].mean()
        for d in ("stable", "abrupt", "unit", "seasonal")
    }
    assert means["stable"] == pytest.approx(2.0, abs=0.05)
    assert means["seasonal"] == pytest.approx(2.0, abs=0.05)  # its days are the same ones here
    assert means["abrupt"] == pytest.approx((100 * 1 + 200 * 3) / 300, abs=0.05)
    assert means["unit"] == pytest.approx(2.0 * bench.flights.NAUTICAL, abs=0.05)
    answers = bench.flights.Flights(days, bench.flights._labels).draw(np.random.default_rng(6), 35, "abrupt", plan)
    assert answers["label"][plan.onset :].mean() == pytest.approx(0.55, abs=0.02)
    assert answers["score"].mean() == pytest.approx(0.5, abs=0.02)


def test_the_gap_in_force_is_the_governors(bench: Any) -> None:
    """Its score is above the policy's bound where, and only where, the governor's check fails."""
    plan = bench.streams.Plan(rows=60, reference=14, horizon=10)
    policy = DriftPolicy(calibration=CalibrationRule(min_labels=30))
    outcomes = []
    for seed in range(3):
        # Days so unlike each other that a large gap is often no sure one.
        family = bench.streams.Answers(0.8, deviation=2.0)
        columns = family.draw(np.random.default_rng(seed), plan.onset + plan.horizon, "abrupt", plan)
        score = bench.detectors._gap_in_force(columns, plan)
        for at in range(2, plan.horizon):
            failed = _governor(columns, plan.onset + at, policy) is Outcome.FAILED
            assert (score[at] > policy.calibration.retrain_above) == failed
            outcomes.append(failed)
    assert {True, False} == set(outcomes)


def _governor(columns: Any, day: int, policy: DriftPolicy) -> Outcome:
    start, measured = datetime(2020, 1, 1, tzinfo=UTC), []
    for back in range(policy.windows.count):
        first, last = day - back - 6, day - back + 1
        rows = columns["score"].shape[1]
        frame = pd.DataFrame({name: columns[name][first:last].ravel() for name in ("score", "label")})
        frame["event_time"] = np.datetime64("2020-01-01", "us") + np.repeat(np.arange(first, last), rows).astype(
            "timedelta64[D]"
        )
        window = Window(start=start + timedelta(days=first), end=start + timedelta(days=last))
        measured += measure_quality(frame, window=window)
    signals = Signals(
        model="any_model", champion="sha256:" + "0" * 64, as_of=start + timedelta(days=day + 1), quality=tuple(measured)
    )
    return next(v for v in judge(signals, History(), policy) if v.check == CALIBRATION).outcome


def test_a_cusum_starts_afresh_after_an_alarm(bench: Any) -> None:
    gaps = np.full((1, 6), 1.0 + bench.detectors.ALLOWANCE)
    found = bench.detectors._restarting(gaps, 2.5)
    assert np.isfinite(found).tolist() == [[False, False, True, False, False, True]]
    assert not np.isfinite(bench.detectors._restarting(gaps, 7.0)).any()


def test_the_tabled_test_is_scipys(bench: Any) -> None:
    from scipy.stats import ks_2samp

    random, tabled = np.random.default_rng(7), bench.ks.TabledKs()
    for digits in (1, 9):
        for _ in range(5):
            one, other = (random.normal(shift, size=12).round(digits).tolist() for shift in (0, 0.5))
            assert tabled.ks_2samp(one, other, "auto") == pytest.approx(tuple(ks_2samp(one, other, method="auto"))[:2])
    with pytest.raises(ValueError, match="samples of one size are wanted, got 1 and 2"):
        tabled.ks_2samp([1.0], [1.0, 2.0], "auto")


def test_the_page_shows_what_was_measured(bench: Any) -> None:
    result = json.loads((BENCHMARKS / "results" / "known_answers.json").read_text())
    shown = bench.tables.PAGE.read_text().partition(bench.tables.BEGIN)[2].partition(bench.tables.END)[0]
    assert shown.strip() == bench.tables.rendered(result).strip()


def test_a_page_without_a_place_is_refused(bench: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no place for tables"):
        bench.tables.put_tables(BENCHMARKS / "results" / "known_answers.json", page)
    assert page.read_text() == "no marks"
