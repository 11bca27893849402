"""The simulation measures and judges as the flows do, is seeded, and has the streams that it says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import shipped_policy

from modelyard.core.verdict import Outcome, Verdict
from modelyard.rollout import loss, streams
from modelyard.rollout.decide import decide
from modelyard.rollout.simulate import MARGIN, OURS, Result, _ours, last_stage, simulate

POLICY = shipped_policy()


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return simulate(POLICY, seed=3, repetitions=40, looks=60, say=lambda _: None)


def of(results: list[Result], metric: str, case: str, rule: str = OURS) -> list[Result]:
    return [r for r in results if (r.metric, r.case, r.rule) == (metric, case, rule)]


def test_good_versions_pass_and_bad_ones_do_not(results: list[Result]) -> None:
    assert of(results, "quality", "10% better")[0].promoted == 1
    assert of(results, "quality", "5% worse")[0].rolled_back == 1
    for metric in ("quality", "errors", "latency"):
        assert all(
            r.promoted <= 0.05 for r in of(results, metric, MARGIN) if "," not in r.split.replace(", design", "")
        )
        assert all(r.rolled_back <= 0.025 for r in of(results, metric, "identical"))


def test_the_simulation_can_fail(results: list[Result]) -> None:
    """On the very same streams, rules that do not bear repeated looks do badly."""
    naive = of(results, "quality", MARGIN, "P(within the margin) > .95")[0]
    assert naive.promoted + naive.rolled_back > 0.2
    assert of(results, "errors", "identical", "P(better) > .95")[0].rolled_back > 0.05
    shared = next(r for r in of(results, "quality", MARGIN, "Pocock, 5 looks, against the margin") if "20" in r.split)
    assert shared.promoted > 0.2  # rows of one day taken for independent


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


@pytest.mark.parametrize("looks", [20, 19])
def test_a_streams_moments_measure_what_its_rows_would(looks: int) -> None:
    """The flows hand rows to ``loss_difference``; the simulation hands its sums by look, also in the midst of a day."""
    random, n = np.random.default_rng(5), 100 * looks
    label = (random.random(n) < 0.3).astype(float)
    scores = random.uniform(0.05, 0.95, (2, n))
    day = pd.to_timedelta(np.arange(n) // 200, unit="D")
    frame = pd.DataFrame({"key": np.arange(n), "variant": "challenger", "score": scores[0]})
    frame = frame.assign(other_score=scores[1], label=label, event_time=pd.Timestamp("2026-01-01T12:00Z") + day)
    new, old = (loss.losses("logloss", each, label, np.empty(0)) for each in scores)
    each = (new - old).reshape(1, looks, 100)
    seen = streams.moments(each.sum(axis=2), (each**2).sum(axis=2), 100, 2)
    mine = loss.measurements(seen.at(0, looks - 1), n, POLICY.quality)
    theirs = loss.loss_difference(frame, POLICY.quality, paired=True)
    assert theirs[0].low is not None
    for m, t in zip(mine, theirs, strict=True):
        assert (m.name, m.n, m.evidence) == (t.name, t.n, t.evidence)
        assert (m.value, m.low, m.high) == pytest.approx((t.value, t.low, t.high), abs=1e-9)


def means(cases: list[streams.Case], size: streams.Size, seed: int) -> list[np.ndarray]:
    """The mean over all looks of each stream, by case."""
    chunks = list(streams.paired_losses(cases, np.random.default_rng(seed), size))
    return [np.concatenate([chunk[i].mean[:, -1] for chunk in chunks]) for i in range(len(cases))]


@pytest.mark.parametrize("target", [0.0, POLICY.quality.margin, -0.06])
def test_the_expected_difference_is_the_one_asked_for(target: float) -> None:
    found = means([streams.Case(target)], streams.Size(20, 10, 1000, 1), 6)[0]
    assert found.mean() == pytest.approx(target, abs=4 * found.std() / 20**0.5)
    assert found.std() / 20**0.5 < 1e-3


def test_design_effect_and_correlation_are_those_stated() -> None:
    cases = [streams.Case(0.0), streams.Case(0.0, 5.0), streams.Case(0.0, 5.0, rare=True), streams.Case(0.0, 5.0, 0.5)]
    plain, shared, rare, close = (m.var() for m in means(cases, streams.Size(600, 20, 30, 2), 7))
    varies = 5 / (1 - 4 / 59)  # as 60 independent rows would, which vary by what they share, too
    assert shared / plain == pytest.approx(varies, rel=0.25)
    assert rare / plain == pytest.approx(varies, rel=0.3)
    assert close / plain == pytest.approx(1 + (varies - 1) * (3 - 4 * (1 - 0.5**10) / 10), rel=0.25)  # ten blocks


def test_a_difference_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="no noise makes"):
        list(streams.paired_losses([streams.Case(-0.5)], np.random.default_rng(1), streams.Size(1, 1, 2, 1)))


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
