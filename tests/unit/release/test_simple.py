"""What a release's metrics say of simple models, in numbers and words."""

from __future__ import annotations

import pytest

from modelyard.release.simple import Simple, simple_models


def test_it_reads_what_it_writes() -> None:
    told = [Simple("logistic", 0.5, -0.01, -0.02, -0.001), Simple("boosting", 0.4, 0.002)]
    metrics = {"fit_logloss": 1.0} | told[0].metrics() | told[1].metrics()
    assert list(simple_models(metrics)) == told
    assert list(simple_models({"fit_logloss": 1.0})) == []


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.02, -0.001, "the network is better than logistic regression"),
        (-0.02, 0.0, "logistic regression is as good"),
        (0.001, 0.02, "logistic regression is as good"),
        (None, None, "logistic regression is as good"),
    ],
)
def test_only_an_interval_below_zero_shows_the_network_better(low: float | None, high: float | None, said: str) -> None:
    assert Simple("logistic", 0.5, -0.01, low, high).words.startswith(said)
