"""Numbers that users report as a criterion: compared by the version that served, within a day and a stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import after, healthy_fleet, running
from fixtures.strategies import policy
from pydantic import ValidationError

from modelyard.core.verdict import Measurement, Outcome
from modelyard.rollout import feedback
from modelyard.rollout.decide import decide
from modelyard.rollout.loss import LOSS, STAGE
from modelyard.rollout.state import RolloutState

RATING = {"name": "rating", "better": "higher", "margin": 0.2, "min_rows": 200}
STAGE_S = 86_400.0


def well() -> list[Measurement]:
    """A look at which everything else is as it should be."""
    given = [
        {"name": "seconds_in_stage", "value": STAGE_S},
        {"name": "guardrail_trips", "value": 0},
        {"name": "rows", "value": 9000, "n": 9000, "variant": "challenger"},
        {"name": "error_rate", "value": 0, "low": 0, "high": 0.001, "n": 9000, "variant": "challenger"},
        {"name": "error_rate", "value": 0, "low": 0, "high": 0.001, "n": 9000, "variant": "champion"},
        {"name": "latency_p95_ms", "value": 3, "low": 2, "high": 4, "n": 9000, "variant": "challenger"},
        {"name": "latency_p95_ms", "value": 3, "low": 2, "high": 4, "n": 9000, "variant": "champion"},
        {"name": LOSS, "value": -0.001, "low": -0.006, "high": 0.004, "n": 9000},
    ]
    return [*(Measurement.model_validate(one) for one in given), *healthy_fleet()]


def state(stage: int = 2, **metric: Any) -> RolloutState:
    """A canary at 50 percent (stage 2 of 5, 20, 50, 100), each stage entered a day after the one before."""
    made = running(0, policy=policy("canary", feedback=[RATING | metric]))
    for number in range(1, stage + 1):
        at = after(number * STAGE_S)
        made = made.looked("advance", "", at).begin_stage(number, at).enter(number, at)
    return made


def rows(challenger: Any, champion: Any, stage: int = 2, days: int = 14, **columns: Any) -> pd.DataFrame:
    """Rows of a stage with the ratings of each version, spread evenly over days."""
    parts = []
    for variant, values in (("challenger", challenger), ("champion", champion)):
        n = len(values)
        given = {"key": [f"{stage}{variant}{i}" for i in range(n)], "variant": variant, "error": "", STAGE: stage}
        at = pd.Timestamp(after(stage * STAGE_S)) + pd.to_timedelta(np.arange(n) % days, unit="D")
        moments = {"served_at": at, "event_time": at}
        parts.append(pd.DataFrame(given | moments | {"feedback.rating": np.asarray(values, float)} | columns))
    return pd.concat(parts, ignore_index=True)


def stars(mean: float, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.5, n)


def verdict(made: RolloutState, frame: pd.DataFrame) -> Any:
    found = {(m.name, m.variant): m for m in feedback.measure(made, frame)}
    (one,) = feedback.judge(made, found)
    return one


@pytest.mark.parametrize(
    ("challenger", "metric", "outcome"),
    [
        (4.0, {}, Outcome.SUCCESSFUL),
        (3.0, {}, Outcome.FAILED),
        (3.8, {}, Outcome.INCONCLUSIVE),
        (5.0, {"better": "lower"}, Outcome.FAILED),
        (3.0, {"better": "lower"}, Outcome.SUCCESSFUL),
        (4.0, {"ask": "superior"}, Outcome.INCONCLUSIVE),
        (4.5, {"ask": "superior"}, Outcome.SUCCESSFUL),
        (4.0, {"min_rows": 3000}, Outcome.INCONCLUSIVE),
    ],
)
def test_what_the_policy_asks(challenger: float, metric: dict[str, Any], outcome: Outcome) -> None:
    assert verdict(state(**metric), rows(stars(challenger, 2000), stars(4.0, 2000, 1))).outcome is outcome


def test_no_number_is_no_evidence_and_holds() -> None:
    made = state()
    nothing = rows([], []).drop(columns="feedback.rating")
    same = rows([1.0] * 900, [1.0] * 900)
    for frame in (nothing, rows([], stars(4, 900)), rows(stars(4, 1), stars(4, 900)), same):
        found = verdict(made, frame)
        assert (found.outcome, found.blocks) == (Outcome.INCONCLUSIVE, True)
        assert "no evidence" in found.reason


def test_a_drift_between_stages_is_no_difference_of_versions() -> None:
    """Early, when the champion has nearly all rows, everybody is content; later nobody is. The versions are alike."""
    early = rows(stars(4.8, 100), stars(4.8, 1900, 1), stage=0)
    late = rows(stars(3.0, 1000, 2), stars(3.0, 1000, 3), stage=2)
    both = pd.concat([early, late])
    assert verdict(state(), both).outcome is Outcome.SUCCESSFUL
    pooled = both.assign(**{STAGE: 0, "event_time": late["event_time"].iloc[0]})
    assert abs(feedback.measure(state(), both)[0].value) < 0.1  # type: ignore[arg-type]
    assert feedback.measure(state(), pooled)[0].value < -0.5  # type: ignore[operator]  what pooling makes of it


def test_what_the_rows_of_one_day_share_is_no_difference_of_versions() -> None:
    """On each day one of the versions is lucky, by chance; by rows alone the harm would be certain."""
    luck = np.random.default_rng(3).normal(0, 1.0, (14, 2))
    drawn = [stars(4.0 + luck[np.arange(2000) % 14, arm].repeat(1), 2000, arm) for arm in (0, 1)]
    found = feedback.measure(state(), rows(*drawn))
    assert found[1].high - found[1].low < 0.2 * (found[0].high - found[0].low)  # type: ignore[operator]
    assert verdict(state(), rows(*drawn)).outcome is Outcome.INCONCLUSIVE


def test_before_there_are_blocks_enough_only_gross_harm_decides() -> None:
    for mean, outcome in ((4.0, Outcome.INCONCLUSIVE), (3.5, Outcome.INCONCLUSIVE), (2.0, Outcome.FAILED)):
        assert verdict(state(), rows(stars(mean, 2000), stars(4.0, 2000, 1), days=3)).outcome is outcome


def test_an_equal_version_keeps_the_level_over_all_stages() -> None:
    """Looks after each of 28 days at 5, 20 and 50 percent: at most 2.5% are ever certain of harm (40 trials)."""
    harmed = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        parts = []
        for stage, (share, days) in enumerate(((4, 7), (10, 7), (20, 14))):
            weather = random.normal(0, 0.3, days)
            arms = [weather[np.arange(n * days) % days] + random.normal(3, 0.5, n * days) for n in (share, 40 - share)]
            parts.append(rows(*arms, stage=stage, days=days).assign(error=""))
            parts[-1]["event_time"] += pd.to_timedelta(7 * stage, unit="D")
        frame = pd.concat(parts)
        day = (frame["event_time"] - frame["event_time"].min()).dt.days
        looks = (verdict(state(margin=0.001), frame[day <= last]) for last in (9, 14, 20, 27))
        harmed += any(look.outcome is Outcome.FAILED for look in looks)
    assert harmed <= 3


def test_with_all_traffic_on_the_challenger_what_was_before_counts() -> None:
    before = rows(stars(4.0, 1000), stars(4.0, 1000, 1), stage=2)
    now = rows(stars(1.0, 1000), [], stage=3)
    assert verdict(state(3), pd.concat([before, now])).outcome is Outcome.SUCCESSFUL
    assert verdict(state(3), now).outcome is Outcome.INCONCLUSIVE


def test_a_key_that_both_versions_answered_is_nobodys() -> None:
    """Users come back: the key that the champion answered at 5% has the rating of the challenger's answer later."""
    shown = rows(stars(2.0, 1000), stars(4.0, 1000, 1), stage=2)
    earlier = shown[shown["variant"] == "challenger"].head(600)
    earlier = earlier.assign(variant="champion", **{STAGE: 0, "served_at": earlier["served_at"] - pd.Timedelta("9d")})
    found = feedback.measure(state(), pd.concat([earlier, shown]))[0]
    assert found.value == pytest.approx(-2.0, abs=0.1)
    assert found.n == 400
    shadow = earlier.assign(**{STAGE: 3})  # a stage in which one version answers everything
    assert feedback.measure(state(), pd.concat([shadow, shown]))[0].n == 1000


def test_a_key_counts_once_and_answers_for_the_other_version_do_not() -> None:
    frame = rows(stars(4.0, 300), stars(4.0, 300, 1))
    again = pd.concat([frame, frame, frame.assign(error="challenger: RuntimeError")])
    one, more = (feedback.measure(state(), f)[0] for f in (frame, again))
    assert (more.n, more.value, more.low) == (one.n, one.value, one.low)
    assert feedback.measure(state(), frame.assign(error="challenger: RuntimeError"))[0].value is None


def test_harm_ends_the_rollout_and_the_record_replays() -> None:
    made, now = state(), after(3 * STAGE_S)
    for mean, action in ((4.0, "advance"), (3.0, "rollback")):
        found = feedback.measure(made, rows(stars(mean, 2000), stars(4.0, 2000, 1)))
        run = decide(made, [*well(), *found], now)
        assert run.action == action
        again = type(run).from_json(run.to_json())
        assert decide(RolloutState.from_json(made.to_json()), again.measurements, again.as_of) == run
    assert decide(made, well(), now).action == "hold"


def test_a_shadow_answers_nobody_and_is_not_asked() -> None:
    made = running(0, policy=policy("shadow_canary", feedback=[RATING]))
    assert feedback.measure(made, rows(stars(4, 9), stars(4, 9))) == []
    assert feedback.judge(made, {("feedback.rating", ""): Measurement(name="x", value=1)}) == ()


def test_a_number_is_named_once() -> None:
    with pytest.raises(ValidationError, match="twice"):
        policy("canary", feedback=[RATING, RATING])
