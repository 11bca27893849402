"""The simulation measures and judges as the flows do, is seeded, and has the streams that it says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import shipped_policy

from modelyard.core.verdict import Outcome, Verdict
from modelyard.rollout import evidence, streams
from modelyard.rollout.decide import decide
from modelyard.rollout.simulate import MARGIN, OURS, Result, _ours, last_stage, simulate

POLICY = shipped_policy()


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return simulate(POLICY, seed=3, repetitions=40, looks=50, say=lambda _: None)


def of(results: list[Result], metric: str, case: str, rule: str = OURS) -> list[Result]:
    return [r for r in results if (r.metric, r.case, r.rule) == (metric, case, rule)]


def test_good_versions_pass_and_bad_ones_do_not(results: list[Result]) -> None:
    assert of(results, "quality", "10% better")[0].promoted == 1
    assert of(results, "quality", "5% worse")[0].rolled_back == 1
    for metric in ("quality", "errors", "latency"):
        assert all(r.promoted <= 0.05 for r in of(results, metric, MARGIN))
        assert all(r.rolled_back <= 0.025 for r in of(results, metric, "identical"))


def test_the_simulation_can_fail(results: list[Result]) -> None:
    """On the very same streams, rules that do not bear repeated looks do badly."""
    naive = of(results, "quality", MARGIN, "P(within the margin) > .95")[0]
    assert naive.promoted + naive.rolled_back > 0.2
    assert of(results, "errors", "identical", "P(better) > .95")[0].rolled_back > 0.05
    assert of(results, "quality", f"{MARGIN}, design effect 5")[0].promoted > 0.05


def test_the_same_seed_gives_the_same_results() -> None:
    again = partial(simulate, POLICY, repetitions=2, looks=21, say=lambda _: None)
    assert again(seed=1) == again(seed=1)
    assert again(seed=1) != again(seed=2)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one repetition"):
        simulate(POLICY, seed=1, repetitions=0, looks=10, say=lambda _: None)


def test_the_state_is_one_that_promotes() -> None:
    state = last_stage(POLICY)
    assert state.last_stage
    assert decide(state, [], state.opened_at).action == "hold"


def test_a_streams_moments_measure_what_its_rows_would() -> None:
    """The flows hand rows to ``loss_difference``; the simulation hands it their moments."""
    random = np.random.default_rng(5)
    label = (random.random(2000) < 0.3).astype(float)
    scores = random.uniform(0.05, 0.95, (2, 2000))
    frame = pd.DataFrame({"key": np.arange(2000), "variant": "challenger", "score": scores[0]})
    frame = frame.assign(other_score=scores[1], label=label)
    none = np.empty(0)
    new, old = (evidence.losses("logloss", each, label, none) for each in scores)
    seen = streams._moments((new - old).reshape(1, 20, 100))
    mine = evidence.paired_difference(*(float(m[0, -1]) for m in (seen.mean, seen.variance)), 2000, POLICY.quality)
    theirs = evidence.loss_difference(frame, POLICY.quality, paired=True)
    for part in ("value", "low", "high", "n", "confidence"):
        assert getattr(mine, part) == pytest.approx(getattr(theirs, part), abs=1e-9)


@pytest.mark.parametrize("target", [0.0, POLICY.quality.margin, -0.06])
def test_the_expected_difference_is_the_one_asked_for(target: float) -> None:
    chunks = streams.paired_losses([streams.Case(target)], np.random.default_rng(6), 20, 10, 1000)
    means = np.concatenate([chunk[0].mean[:, -1] for chunk in chunks])
    assert means.mean() == pytest.approx(target, abs=4 * means.std() / 20**0.5)
    assert means.std() / 20**0.5 < 1e-3


def test_the_design_effect_is_the_one_stated() -> None:
    cases = [streams.Case(0.0), streams.Case(0.0, 5.0)]
    chunks = list(streams.paired_losses(cases, np.random.default_rng(7), 400, 10, 60))
    plain, shared = (np.concatenate([chunk[i].mean[:, -1] for chunk in chunks]).var() for i in (0, 1))
    assert shared / plain == pytest.approx(5, rel=0.2)


def test_a_difference_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="no noise makes"):
        list(streams.paired_losses([streams.Case(-0.5)], np.random.default_rng(1), 1, 1, 2))


def test_latencies_have_the_p95_that_they_say() -> None:
    seen = streams.latencies(np.random.default_rng(8), 10, 5, 4000)
    found = np.mean([seen.at(i, 4, 19_000) for i in range(10)])
    assert found == pytest.approx(streams.P95_MS, rel=0.01)
    assert seen.times(1.1).at(0, 4, 19_000) == pytest.approx(1.1 * seen.at(0, 4, 19_000))


def test_a_stream_ends_at_its_first_decision() -> None:
    outcomes, asked = [Outcome.INCONCLUSIVE, Outcome.ERROR, Outcome.FAILED, Outcome.SUCCESSFUL], []

    def judge(_: int, look: int) -> Verdict:
        asked.append(look)
        return Verdict(check="quality", outcome=outcomes[look], reason="as told")

    promoted, back = _ours(judge, 1, 4)
    assert (promoted.any(), back.tolist(), asked) == (False, [[False, False, True, False]], [0, 1, 2])
