"""Measurements of a look: paired on the same rows, honest about what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import shipped_policy

from modelyard.ports.fleet import ReplicaState
from modelyard.rollout import evidence

QUALITY = shipped_policy().quality


def frame(n: int, *, worse: float = 0.0, share: float = 0.5, seed: int = 0, paired: bool = True) -> pd.DataFrame:
    """Rows with a true probability; the challenger's logit is off by ``worse``."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1, 1, n)
    label = (random.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    champion, challenger = (1 / (1 + np.exp(-(logit + shift + random.normal(0, 0.1, n)))) for shift in (0.0, worse))
    theirs = random.random(n) < share
    other = np.where(theirs, champion, challenger) if paired else np.full(n, np.nan)
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(n)],
            "variant": np.where(theirs, "challenger", "champion"),
            "score": np.where(theirs, challenger, champion),
            "other_score": other,
            "label": label,
            "latency_ms": random.exponential(1.0, n),
        }
    )


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_equal_versions_are_shown_equal_whatever_the_split(share: float) -> None:
    measured = evidence.loss_difference(frame(3000, share=share), QUALITY, paired=True)
    assert measured.value is not None
    assert measured.low < measured.value < measured.high <= QUALITY.margin


def test_a_version_that_is_clearly_worse_is_seen() -> None:
    measured = evidence.loss_difference(frame(1500, worse=2.0), QUALITY, paired=True)
    assert measured.low is not None
    assert measured.low > QUALITY.margin


def test_worse_by_exactly_the_margin_is_rarely_promoted() -> None:
    """At every look of ten, at n from 1,200 on: at most alpha (2.5%) of the rollouts, here of 200."""
    random, promoted = np.random.default_rng(7), 0
    for _ in range(200):
        differences = QUALITY.margin + random.normal(0, 0.15, 12_000)
        for n in range(1200, 12_001, 1200):
            mean, variance = differences[:n].mean(), differences[:n].var(ddof=1)
            if evidence.paired_difference(mean, variance, n, QUALITY).high <= QUALITY.margin:
                promoted += 1
                break
    assert promoted <= 10


def test_a_key_counts_once() -> None:
    twice = pd.concat([frame(300), frame(300)])
    assert evidence.loss_difference(twice, QUALITY, paired=True).n == 300


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("paired", [True, False])
def test_no_labels_are_no_evidence(rows: int, paired: bool) -> None:
    measured = evidence.loss_difference(frame(300).head(rows), QUALITY, paired=paired)
    assert measured.value is None
    assert measured.why
    unlabelled = frame(300).assign(label=np.nan)
    assert evidence.loss_difference(unlabelled, QUALITY, paired=paired).value is None


def test_unpaired_needs_far_more_rows() -> None:
    paired = evidence.loss_difference(frame(3000), QUALITY, paired=True)
    unpaired = evidence.loss_difference(frame(3000, paired=False), QUALITY, paired=False)
    assert unpaired.high - unpaired.low > 3 * (paired.high - paired.low)


def test_p95_has_an_interval_around_it() -> None:
    measured = evidence.latency_p95("challenger", frame(2000))
    assert measured.low < measured.value < measured.high
    assert measured.value == pytest.approx(-np.log(0.05), rel=0.1)
    assert evidence.latency_p95("challenger", frame(0)).value is None


def test_errors_and_trips_are_added_up_over_replicas() -> None:
    def state(name: str, rows: float, errors: float, tripped: str = "") -> ReplicaState:
        counts = {"challenger": {"rows": rows, "errors": errors}}
        return ReplicaState(
            replica=name, generation=1, champion="a", challenger="b", weight=5, tripped=tripped, counts=counts
        )

    states = {"g1": state("g1", 60, 3), "g2": state("g2", 40, 2, "error_rate")}
    rate = evidence.error_rate("challenger", states)
    assert (rate.value, rate.n) == (0.05, 100)
    assert evidence.error_rate("champion", states).value is None
    assert evidence.trips(states).value == 1
    assert evidence.trips(states).evidence == "g2: error_rate"
