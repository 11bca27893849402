"""Named numbers that users report of answers (a rating, a conversion, a cost) as a criterion of a rollout. Pure.

Such a number is about the answer that was given, so it is never paired: the rows that the challenger answered are
compared with those that the champion answered in the same stage. The split of a stage is constant, so a base rate that
drifts moves both alike; pooled over stages, it would look like a difference of the versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modelyard.config.policies import Policy
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.ports.predictions import REPORTED
from modelyard.stats.sequential import confidence_sequence

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.rollout.state import RolloutState


class FeedbackMetric(Policy):
    """What is asked of one number that ``model.yaml`` declares under ``feedback``.

    ``non_inferior``: worse by less than ``margin`` (in the number's own unit); ``superior``: better. Both by a
    confidence sequence of the difference of the means at the one-sided level ``alpha``, from ``min_rows`` numbers of
    each version on. Worse by more than the margin, for certain, ends the rollout.
    """

    name: str
    better: Literal["higher", "lower"]
    margin: float = Field(gt=0)
    ask: Literal["non_inferior", "superior"] = "non_inferior"
    alpha: float = Field(default=0.025, gt=0, lt=0.5)
    min_rows: int = Field(default=500, ge=100)


def measure(state: RolloutState, frame: pd.DataFrame) -> list[Measurement]:
    """Challenger minus champion for each number of the policy, as confidence sequences; nothing while in shadow.

    A key counts once in each stage, with its first answer that a number was reported of. With all traffic on the
    challenger there is nobody to compare it with: what counts is the last stage in which both answered.
    """
    if state.current.shadow:
        return []
    stage = _concurrent(state, frame)
    return [_difference(metric, stage) for metric in state.policy.feedback]


def judge(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> tuple[Verdict, ...]:
    """A verdict for each number of the policy. In a stage that does not wait for labels it can only end the rollout."""
    if state.current.shadow:
        return ()
    verdicts = (_judge(metric, found.get((REPORTED + metric.name, ""))) for metric in state.policy.feedback)
    severity = Severity.BLOCKER if state.current.quality else Severity.INFORMATIONAL
    return tuple(verdict.model_copy(update={"severity": severity}) for verdict in verdicts)


def _concurrent(state: RolloutState, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last stage in which both versions answered; what the champion answered for the other is left out."""
    entered = [(e.at, state.stages[e.stage].weight) for e in state.events if e.kind == "entered"]
    both = [n for n, (_, weight) in enumerate(entered) if 0 < weight < 100]
    if not both:
        return frame.head(0)
    chosen = frame[(frame["served_at"] >= entered[both[-1]][0]) & (frame["error"] == "")]
    after = entered[both[-1] + 1 :]
    return chosen[chosen["served_at"] < after[0][0]] if after else chosen


def _difference(metric: FeedbackMetric, frame: pd.DataFrame) -> Measurement:
    column = REPORTED + metric.name
    if column not in frame.columns:
        return Measurement(name=column, value=None, why="no such number has been reported yet")
    reported = frame[frame[column].notna()].sort_values("served_at", kind="stable").drop_duplicates("key")
    means, ends, sizes = [], [], []
    for variant in ("challenger", "champion"):
        values = reported.loc[reported["variant"] == variant, column].to_numpy(dtype=float)
        n = len(values)
        sizes.append(n)
        if n < 2 or not values.var() > 0:
            # Equal numbers say nothing of how the rare other one is spread: conversions that nobody had yet.
            return Measurement(name=column, value=None, n=n, why=f"{n} numbers of the {variant} without any spread")
        means.append(float(values.mean()))
        # Two-sided at alpha each: one end of each, together alpha.
        ends.append(confidence_sequence(means[-1], float(values.var(ddof=1)), n, metric.alpha, n_opt=metric.min_rows))
    low, high = ends[0][0] - ends[1][1], ends[0][1] - ends[1][0]
    if not (isfinite(low) and isfinite(high)):
        return Measurement(name=column, value=None, n=min(sizes), why="too few numbers")
    shown = f"challenger {means[0]:.4g} on {sizes[0]}, champion {means[1]:.4g} on {sizes[1]}"
    given = {"value": means[0] - means[1], "low": low, "high": high, "confidence": 1 - 2 * metric.alpha}
    return Measurement.model_validate({"name": column, "n": min(sizes), "evidence": shown, **given})


def _judge(metric: FeedbackMetric, difference: Measurement | None) -> Verdict:
    check = REPORTED + metric.name
    if difference is None or difference.value is None or difference.low is None or difference.high is None:
        why = "it was not measured" if difference is None else difference.why
        return _made(check, Outcome.INCONCLUSIVE, f"{check}: no evidence ({why})", difference)
    # How much worse, whichever way the number runs.
    worse = (-difference.high, -difference.low) if metric.better == "higher" else (difference.low, difference.high)
    bound = metric.margin if metric.ask == "non_inferior" else 0.0
    condition = Condition(direction="below" if metric.ask == "superior" else "at_most", bound=bound)
    shown = (
        f"{metric.name} ({metric.better} is better) differs by {difference.value:+.4g} in [{difference.low:+.4g}, "
        f"{difference.high:+.4g}] ({difference.evidence})"
    )
    enough = difference.n >= metric.min_rows
    if enough and worse[0] > metric.margin:
        return _made(check, Outcome.FAILED, f"clearly worse: {shown}, margin {metric.margin:g}", difference, condition)
    if enough and condition.holds(worse[1]):
        return _made(check, Outcome.SUCCESSFUL, shown, difference, condition)
    asked = f"{metric.min_rows} of each version and at most {bound:g} worse are asked"
    return _made(check, Outcome.INCONCLUSIVE, f"{shown}, {asked}", difference, condition)


def _made(
    check: str, outcome: Outcome, reason: str, measured: Measurement | None, condition: Condition | None = None
) -> Verdict:
    kept = () if measured is None else (measured,)
    return Verdict(
        check=check, outcome=outcome, reason=reason, condition=condition, measurements=kept, category="rollout"
    )
