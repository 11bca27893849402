"""Quality on delayed labels: right where there are labels, silent with a reason where there are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from modelyard.core.window import Window
from modelyard.drift.quality import NAMES, clustered, measure_quality

WINDOW = Window(start=datetime(2013, 4, 9, tzinfo=UTC), end=datetime(2013, 4, 16, tzinfo=UTC))


def log(n: int = 3000, bias: float = 0.0, seed: int = 0, labelled: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.05, 0.6, n)
    label = np.where(rng.random(n) < labelled, (rng.random(n) < truth).astype(float), np.nan)
    times = [WINDOW.start + timedelta(minutes=int(m)) for m in rng.integers(0, 7 * 1440, n)]
    return pd.DataFrame({"event_time": times, "score": np.clip(truth + bias, 0.01, 0.99), "label": label})


def by_name(frame: pd.DataFrame, **more: int) -> dict[str, object]:
    return {m.name: m for m in measure_quality(frame, window=WINDOW, **more)}


def test_values_agree_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    frame = log()
    got = {m.name: m.value for m in measure_quality(frame, window=WINDOW)}
    assert got["auc"] == pytest.approx(roc_auc_score(frame.label, frame.score), abs=1e-9)
    assert got["logloss"] == pytest.approx(log_loss(frame.label, frame.score), abs=1e-9)
    assert got["accuracy"] == pytest.approx(accuracy_score(frame.label, frame.score >= 0.5), abs=1e-9)
    assert got["calibration_gap"] == pytest.approx((frame.score - frame.label).mean(), abs=1e-9)
    assert (got["requests"], got["label_coverage"]) == (3000, 1.0)


@pytest.mark.parametrize("bias", [-0.1, 0.1])
def test_the_gap_has_the_sign_of_the_bias_and_an_interval_that_excludes_zero(bias: float) -> None:
    gap = by_name(log(bias=bias))["calibration_gap"]
    assert gap.value == pytest.approx(bias, abs=0.03)
    assert gap.low * gap.high > 0


def test_rows_without_a_label_are_counted_and_not_judged() -> None:
    got = by_name(log(labelled=0.5))
    assert 0.4 < got["label_coverage"].value < 0.6
    assert got["auc"].n == round(got["label_coverage"].value * 3000)


@pytest.mark.parametrize(
    ("frame", "least", "why"),
    [
        (log(10).iloc[:0], 1, "no request in the window"),
        (log(200, labelled=0.0), 1, "no label has come yet for any of 200 requests"),
        (log(200), 1000, "200 labels have come for 200 requests; the policy asks for 1000"),
    ],
)
def test_missing_labels_are_said_to_be_missing(frame: pd.DataFrame, least: int, why: str) -> None:
    got = by_name(frame, min_labels=least)
    assert all(got[name].value is None and got[name].why == why for name in NAMES)


def test_labels_of_one_class_have_no_auc() -> None:
    got = by_name(log().assign(label=0.0))
    assert got["auc"].value is None
    assert got["auc"].why == "all labels are of one class"
    assert got["logloss"].value is not None


def test_a_score_of_certainty_that_is_wrong_has_a_finite_loss() -> None:
    got = by_name(log(50).assign(score=0.0, label=1.0))
    assert got["logloss"].value == pytest.approx(34.5, abs=0.1)


def test_labels_that_are_no_labels_are_not_used() -> None:
    assert by_name(log(50).assign(label=7.0))["label_coverage"].value == 0.0


def test_bad_days_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(10), 200).astype("datetime64[D]")
    values = rng.normal(0, 1, 2000) + np.repeat(rng.normal(0, 1, 10), 200)
    low, high = clustered(values, days)
    alone = 2 * 1.96 * values.std() / np.sqrt(2000)
    assert high - low > 3 * alone


def test_independent_days_give_about_the_ordinary_interval() -> None:
    values = np.random.default_rng(1).normal(0, 1, 5000)
    low, high = clustered(values, np.repeat(np.arange(50), 100).astype("datetime64[D]"))
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(5000), rel=0.35)


def test_a_single_day_falls_back_to_independent_rows() -> None:
    values = np.array([0.0, 1.0, 0.0, 1.0])
    low, high = clustered(values, np.zeros(4, dtype="datetime64[D]"))
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 2, rel=1e-3)
