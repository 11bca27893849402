"""How many requests a bad canary meets, with the real split and guardrails, in the first stage of the shipped policy.

A thousand seeded trials in simulated time; the benchmark `half_failing` runs the same.
"""

from __future__ import annotations

from fixtures.exposure import requests_met
from fixtures.rollouts import shipped_policy

POLICY = shipped_policy()
LIMITS, WEIGHT = POLICY.guardrails.limits(2), POLICY.stages[0].basis_points
TRIALS = 1000


def share_within(most: int, **changes: float) -> float:
    """Of the trials, how many met at most so many."""
    found = [
        requests_met(LIMITS, WEIGHT, failing=0.5, rate=500.0, seed=seed, **changes)  # type: ignore[arg-type]
        for seed in range(TRIALS)
    ]
    return sum(met <= most for met in found) / TRIALS


def test_a_canary_that_fails_half_of_its_requests_meets_at_most_twenty() -> None:
    assert WEIGHT == 500
    assert share_within(20) >= 0.99


def test_that_hangs_on_what_one_replica_tells_the_other() -> None:
    assert share_within(20, look_s=60.0) < 0.99


def test_one_that_always_fails_is_off_sooner() -> None:
    assert max(requests_met(LIMITS, WEIGHT, failing=1.0, rate=500.0, seed=seed) for seed in range(20)) <= 7
