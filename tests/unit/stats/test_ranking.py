"""AUC and its error against the definition and scikit-learn."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from modelyard.stats.ranking import auc, auc_difference


def rows(n: int = 400, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    return labels, np.round(labels + rng.normal(0, noise, n), 1)


def test_agrees_with_scikit_learn_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    labels, scores = rows()
    assert auc(labels, scores).value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_error_agrees_with_delongs_definition() -> None:
    labels, scores = rows(120)
    x, y = scores[labels == 1], scores[labels == 0]
    wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    variance = wins.mean(axis=1).var(ddof=1) / len(x) + wins.mean(axis=0).var(ddof=1) / len(y)
    assert auc(labels, scores).error == pytest.approx(np.sqrt(variance), abs=1e-12)


def test_the_interval_covers_at_about_its_level() -> None:
    truth = auc(*rows(200_000, seed=99)).value
    hits = 0
    for seed in range(300):
        low, high = auc(*rows(300, seed=seed)).interval()
        hits += low <= truth <= high
    assert 0.91 <= hits / 300 <= 0.99


def test_a_scorer_does_not_differ_from_itself() -> None:
    labels, scores = rows()
    assert auc_difference(labels, scores, scores).interval() == (0.0, 0.0)


def test_the_paired_difference_is_tighter_than_two_separate_errors() -> None:
    labels, scores = rows()
    other = scores + np.random.default_rng(1).normal(0, 0.2, scores.size)
    paired = auc_difference(labels, scores, other)
    assert paired.error < 0.5 * np.hypot(auc(labels, scores).error, auc(labels, other).error)


def test_one_class_is_no_evidence() -> None:
    alone = auc([1, 1], [0.1, 0.2])
    assert isnan(alone.value)
    assert isnan(alone.error)
    assert isnan(auc_difference([0, 0], [1, 2], [1, 2]).error)
    assert isnan(auc([1, 0, 0], [0.5, 0.2, 0.7]).error)


@pytest.mark.parametrize(
    ("labels", "scores", "why"),
    [([0, 1], [0.1], "equally long"), ([0, 2], [0.1, 0.2], "0 or 1"), ([0, 1], [0.1, np.nan], "finite")],
)
def test_corrupt_rows_are_refused(labels: list[float], scores: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        auc(labels, scores)
