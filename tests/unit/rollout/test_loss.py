"""The difference of the losses: on blocks of time, never narrower than by rows, honest about what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import shipped_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.verdict import Measurement
from modelyard.rollout.loss import LOSS_ERROR, LOSS_ROWS, Difference, loss_difference, measurements, paired
from modelyard.rollout.policy import Quality

QUALITY = shipped_policy().quality
DAYS = 14


def frame(n: int, *, worse: float = 0.0, share: float = 0.5, seed: int = 0, days: int = DAYS) -> pd.DataFrame:
    """Rows with a true probability, spread over days; the challenger's logit is off by ``worse``."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1, 1, n)
    label = (random.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    champion, challenger = (1 / (1 + np.exp(-(logit + shift + random.normal(0, 0.1, n)))) for shift in (0.0, worse))
    theirs = random.random(n) < share
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(n)],
            "variant": np.where(theirs, "challenger", "champion"),
            "score": np.where(theirs, challenger, champion),
            "other_score": np.where(theirs, champion, challenger),
            "label": label,
            "event_time": pd.Timestamp("2013-04-09T10:00Z")
            + pd.to_timedelta(np.arange(n) * days // max(n, 1), unit="D"),
        }
    )


def loss(rows: pd.DataFrame, quality: Quality = QUALITY, *, paired: bool = True) -> Measurement:
    return loss_difference(rows, quality, paired=paired)[0]


def asked(**changes: Any) -> Quality:
    return QUALITY.model_copy(update=changes)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_equal_versions_are_shown_equal_whatever_the_split(share: float) -> None:
    measured = loss(frame(6000, share=share))
    assert measured.low < measured.value < measured.high <= QUALITY.margin


def test_a_version_that_is_clearly_worse_is_seen() -> None:
    assert loss(frame(3000, worse=2.0)).low > QUALITY.margin


def test_a_key_counts_once() -> None:
    assert loss(pd.concat([frame(300), frame(300)])).n == 300


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("paired", [True, False])
def test_no_labels_are_no_evidence(rows: int, paired: bool) -> None:
    for seen in (frame(300).head(rows), frame(300).assign(label=np.nan)):
        measured = loss_difference(seen, QUALITY, paired=paired)
        assert len(measured) == 1
        assert measured[0].value is None
        assert measured[0].why


def test_unpaired_needs_far_more_rows() -> None:
    by_pairs, by_arms = (loss(frame(6000), paired=paired) for paired in (True, False))
    assert by_arms.high - by_arms.low > 3 * (by_pairs.high - by_pairs.low)


def test_few_blocks_give_no_ends_and_gross_harm_is_still_to_be_seen() -> None:
    few = QUALITY.min_blocks - 1
    difference, by_rows, error = loss_difference(frame(4000, worse=3.0, days=few), QUALITY, paired=True)
    assert (difference.low, difference.high) == (None, None)
    assert difference.evidence.startswith(f"{few} blocks of 24 h, design effect ")
    assert (by_rows.name, error.name, error.n) == (LOSS_ROWS, LOSS_ERROR, few)
    assert by_rows.low > QUALITY.gross * QUALITY.margin
    assert loss(frame(4000, days=few + 1)).low is not None


def test_a_single_block_shows_no_error() -> None:
    *_, error = loss_difference(frame(500, days=1), QUALITY, paired=True)
    assert (error.value, error.n) == (None, 1)


def test_blocks_begin_at_the_hour_that_the_policy_names() -> None:
    rows = frame(2000, days=10)
    half = rows.assign(event_time=rows["event_time"] - pd.to_timedelta(np.arange(2000) % 2 * 2, unit="h"))
    assert loss_difference(half, asked(block_start_hour=0), paired=True)[2].n == 10
    assert loss_difference(half, asked(block_start_hour=9), paired=True)[2].n == 11  # 08:00 is of the day before
    assert loss_difference(half, asked(block_hours=48, block_start_hour=0), paired=True)[2].n in (5, 6)


def shared(size: float, seed: int, n: int = 6000, days: int = DAYS) -> tuple[np.ndarray, np.ndarray]:
    """Differences of which those of one day share an effect, and their days."""
    random, day = np.random.default_rng(seed), np.arange(n) * days // n
    return random.normal(0, 0.12, n) + random.normal(0, size, days)[day], day


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.2), st.integers(0, 1000), st.integers(7, 60), st.integers(200, 3000), st.floats(0.05, 0.6))
def test_never_narrower_than_by_rows(size: float, seed: int, days: int, n: int, correlation: float) -> None:
    quality = asked(block_correlation=correlation)
    difference, by_rows, _ = measurements(paired(*shared(size, seed, n, days)), n, quality)
    if difference.low is not None:
        assert difference.low <= by_rows.low
        assert difference.high >= by_rows.high


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_rows_does_not_matter(order: Any, by_pairs: bool) -> None:
    rows = frame(400)
    places = list(range(400))
    order.shuffle(places)
    for a, b in zip(loss_difference(rows, QUALITY, paired=by_pairs),
                    loss_difference(rows.iloc[places], QUALITY, paired=by_pairs), strict=True):  # fmt: skip
        assert (a.name, a.n, a.evidence) == (b.name, b.n, b.evidence)
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)


def test_what_days_share_widens_the_interval() -> None:
    plain, by_day = (measurements(paired(*shared(size, 1)), 6000, QUALITY)[0] for size in (0.0, 0.05))
    assert by_day.high - by_day.low > 3 * (plain.high - plain.low)
    assert float(by_day.evidence.split()[-1]) > 20 > 3 > float(plain.evidence.split()[-1])


def test_a_declared_correlation_widens_it_as_it_should() -> None:
    found = paired(*shared(0.05, 2))
    without, with_half = (measurements(found, 6000, asked(block_correlation=c))[0] for c in (0.05, 0.5))
    ratio = (with_half.high - with_half.low) / (without.high - without.low)
    assert ratio == pytest.approx((3 / (1.05 / 0.95)) ** 0.5)


def test_identical_scores_are_a_point() -> None:
    found = measurements(Difference(0.0, 0.0, 2000, 0.0, 10.0, 10), 2000, QUALITY)
    assert (found[0].low, found[0].high) == (0.0, 0.0)


@pytest.mark.parametrize("stages", [True, False])
def test_a_change_of_the_base_rate_is_no_difference_of_the_versions(stages: bool) -> None:
    """Identical versions; the champion answers most rows while labels are rare, the challenger once they are not."""
    random, n = np.random.default_rng(5), 12_000
    late = np.arange(n) >= n // 2
    theirs = random.random(n) < np.where(late, 0.9, 0.05)
    rows = frame(n, days=2 * DAYS).assign(
        variant=np.where(theirs, "challenger", "champion"),
        score=0.3,
        label=(random.random(n) < np.where(late, 0.6, 0.1)).astype(float),
    )
    if stages:  # within one block, too, the stages are kept apart
        rows = rows.assign(stage=late.astype(int), event_time=rows["event_time"].iloc[random.permutation(n)].to_numpy())
    measured = loss(rows, paired=False)
    assert abs(measured.value) < 0.03
    assert measured.low < 0 < measured.high
    pooled = (
        rows.assign(loss=np.where(rows["label"] == 1, -np.log(0.3), -np.log(0.7))).groupby("variant")["loss"].mean()
    )
    assert pooled["challenger"] - pooled["champion"] > 0.2  # what comparing all rows would have said
