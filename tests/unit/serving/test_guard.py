"""Guardrails: quiet within their budgets, quick beyond them, and not forgetful."""

from __future__ import annotations

from itertools import count

import numpy as np

from modelyard.rollout.guardrails import GUARDS, GuardLimits
from modelyard.serving.guard import Guardrails
from modelyard.serving.resources import SPAN_CALLS

LIMITS = GuardLimits(alpha=0.005)


def test_a_version_that_fails_half_of_its_calls_is_off_within_twenty() -> None:
    met = []
    for seed in range(1000):
        guard, random = Guardrails(LIMITS), np.random.default_rng(seed)
        calls = 0
        while not guard.tripped:
            guard.call(bool(random.random() < 0.5), 0.0001)
            calls += 1
        met.append(calls)
    assert np.quantile(met, 0.99) <= 20


def test_a_version_within_its_budgets_is_left_alone() -> None:
    tripped = 0
    for seed in range(300):
        guard, random = Guardrails(LIMITS), np.random.default_rng(seed)
        for failed, slow in random.random((2000, 2)) < (0.005, 0.03):
            guard.call(bool(failed), 0.2 if slow else 0.001)
        tripped += bool(guard.tripped)
    # The chance of each is at most 0.005; 300 times that is 1.5.
    assert tripped <= 3


def test_scores_far_from_the_champions_trip() -> None:
    guard, trips = Guardrails(LIMITS), []
    guard.on_trip = lambda g: trips.append(g.tripped)
    for _ in range(30):
        guard.pairs(np.array([0.9, 0.1]), np.array([0.1, 0.1]))
    assert trips == ["disagreement"]
    assert guard.detail()["disagreement"]["rate"] == 0.5


def test_nonsense_is_charged_as_invalid() -> None:
    guard = Guardrails(LIMITS)
    guard.outputs(3, 10)
    assert guard.tripped == "invalid_output"


def test_a_dry_run_counts_and_never_trips() -> None:
    guard = Guardrails(LIMITS.model_copy(update={"dry_run": GUARDS}))
    for _ in range(50):
        guard.refused()
    assert not guard.tripped
    assert guard.counts["error_rate"] == {"failures": 50, "trials": 50}


def test_a_restart_goes_on_from_the_counts() -> None:
    before, after = Guardrails(LIMITS), Guardrails(LIMITS)
    before.call(True, 0.0)
    after.recall(before.counts)
    assert after.counts == before.counts
    while not after.tripped:
        after.refused()
    assert after.counts["error_rate"]["failures"] <= 5


def test_processor_time_is_judged_by_row_against_the_larger_of_two_limits() -> None:
    limits = LIMITS.model_copy(update={"cpu_ms": 1.0, "cpu_ratio": 3.0})
    for champion_s, spent, rows, tripped in (
        (0.0, 0.0009, 1, False),
        (0.0, 0.0011, 1, True),
        (0.0, 0.0090, 10, False),
        (0.0, 0.0110, 10, True),
        (0.001, 0.0029, 1, False),
        (0.001, 0.0031, 1, True),
    ):
        guard = Guardrails(limits, champion_s, count(step=1).__next__)
        for _ in range(50):
            for _ in range(SPAN_CALLS):
                guard.meter.add(spent, rows)
            guard.call(False, 0.0)
        assert guard.counts["cpu_time"]["trials"] == 50
        assert (guard.tripped == "cpu_time") is tripped


def test_a_version_within_its_budget_of_processor_time_is_left_alone() -> None:
    tripped = 0
    for seed in range(300):
        guard, random = Guardrails(LIMITS, clock=count(step=1).__next__), np.random.default_rng(seed)
        for hungry in random.random(2000) < 0.05:
            for _ in range(SPAN_CALLS):
                guard.meter.add(1.0 if hungry else 0.0, 1)
            guard.call(False, 0.0)
        tripped += bool(guard.tripped)
    assert tripped <= 3


def test_calls_that_a_busy_machine_makes_dear_are_not_the_versions_fault() -> None:
    """A third of the calls cost a hundred times what they should, several in a row."""
    now = [0.0]
    guard = Guardrails(LIMITS.model_copy(update={"cpu_ms": 1.0}), clock=lambda: now[0])

    def ask(calls: int, dear: int) -> None:
        for call in range(calls):
            now[0] += 1.0 / calls
            guard.meter.add(0.01 if call < dear else 0.0001, 1)
            guard.call(False, 0.0)

    for _ in range(50):
        ask(calls=90, dear=30)
    assert guard.counts["cpu_time"]["failures"] == 0
    assert guard.counts["cpu_time"]["trials"] >= 48
    for _ in range(400):  # a call each second: a trial takes eight of them
        ask(calls=1, dear=1)
    assert guard.tripped == "cpu_time"


def test_memory_is_a_limit() -> None:
    for grown, dry_run, tripped in ((1023.0, (), ""), (1025.0, (), "memory"), (None, (), ""), (9e9, ("memory",), "")):
        guard = Guardrails(LIMITS.model_copy(update={"dry_run": dry_run}))
        guard.loaded(grown)
        assert guard.tripped == tripped
