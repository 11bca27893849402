"""Which PSI asks for a look: a feature's own threshold where it has one, the policy's where not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.core.window import Window
from modelyard.drift.governor import SHIFT, History, Signals, judge
from modelyard.drift.policy import DriftPolicy

NOW = datetime(2013, 5, 1, tzinfo=UTC)


def measured(name: str, feature: str, value: float, n: int = 6000) -> Measurement:
    return Measurement(name=name, value=value, n=n, slice=f"feature={feature}")


def shift(*inputs: Measurement, policy: DriftPolicy | None = None) -> Verdict:
    signals = Signals(
        model="m",
        champion="sha256:" + "a" * 64,
        as_of=NOW,
        newest=NOW - timedelta(hours=1),
        requests=6000,
        inputs=inputs,
    )
    verdicts = judge(signals, History(), policy or DriftPolicy())
    return next(v for v in verdicts if v.check == SHIFT)


SEASONAL = (measured("psi", "temp", 0.9), measured("psi_threshold", "temp", 1.2, n=10))


def test_a_seasonal_feature_is_quiet_within_what_its_weeks_did() -> None:
    found = shift(*SEASONAL)
    assert found.outcome is Outcome.SUCCESSFUL
    assert "as in the reference's own weeks" in found.reason


def test_a_steady_feature_is_heard_far_below_the_fixed_band() -> None:
    found = shift(*SEASONAL, measured("psi", "scores", 0.05), measured("psi_threshold", "scores", 0.02, n=10))
    assert found.outcome is Outcome.FAILED
    assert "1 of 2 features: scores 0.05 (its weeks: 0.02)" in found.reason


def test_a_feature_without_a_threshold_is_held_to_the_policys() -> None:
    assert shift(*SEASONAL, measured("psi", "wind", 0.19)).outcome is Outcome.SUCCESSFUL
    found = shift(*SEASONAL, measured("psi", "wind", 0.2))
    assert found.outcome is Outcome.FAILED
    assert "wind 0.20" in found.reason


def test_the_fixed_band_is_a_policy_that_can_be_chosen() -> None:
    fixed = DriftPolicy.model_validate({"inputs": {"shift": "fixed"}})
    found = shift(*SEASONAL, policy=fixed)
    assert found.outcome is Outcome.FAILED
    assert "PSI at least 0.2" in found.reason


def test_a_threshold_of_a_few_weeks_is_no_row_of_the_window() -> None:
    """Only a PSI is counted as one: without any, the check is inconclusive, whatever is known of thresholds."""
    assert shift(measured("psi_threshold", "temp", 1.2, n=900)).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("days", "outcome"), [(6, Outcome.INCONCLUSIVE), (7, Outcome.FAILED)])
def test_a_part_of_a_week_is_not_held_to_thresholds_of_weeks(days: int, outcome: Outcome) -> None:
    """Right after a training a few days are there: of fewer rows, and of one weather, a PSI is higher by chance."""
    window = Window.last(timedelta(days=7), NOW)
    signals = Signals(
        model="m",
        champion="sha256:" + "a" * 64,
        as_of=NOW,
        trained_until=NOW - timedelta(days=days),
        newest=NOW - timedelta(hours=1),
        requests=6000,
        inputs=tuple(m.model_copy(update={"window": window}) for m in (measured("psi", "temp", 1.3), *SEASONAL[1:])),
    )
    found = next(v for v in judge(signals, History(), DriftPolicy()) if v.check == SHIFT)
    assert found.outcome is outcome
