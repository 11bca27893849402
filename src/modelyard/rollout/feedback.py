"""Named numbers that users report of answers (a rating, a conversion, a cost) as a criterion of a rollout. Pure.

Such a number is about the answer that was given, so it is never paired: the rows that the challenger answered are
compared with those that the champion answered in the same block of time and the same stage, by the same intervals as
an unpaired loss (``loss``). The measurement of a number is ``feedback.NAME``; ``feedback.NAME_rows`` is the same
difference between ends for independent rows, by which only gross harm is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.ports.predictions import REPORTED
from modelyard.rollout.loss import STAGE, Difference, block_radius, unpaired
from modelyard.rollout.policy import FeedbackMetric, Quality
from modelyard.stats.blocks import block_numbers
from modelyard.stats.sequential import robbins_radius

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.rollout.state import RolloutState

ROWS = "_rows"


def measure(state: RolloutState, frame: pd.DataFrame) -> list[Measurement]:
    """Challenger minus champion for each number of the policy, as confidence sequences; nothing while in shadow.

    ``frame`` has the rows of the whole rollout with the stage (``loss.STAGE``) that each was answered in. A key counts
    once, with its first answer that a number was reported of, and not at all where both versions answered it: a number
    by key is of all of the key's answers, and nobody knows of whose. With all traffic on the challenger there is nobody
    to compare it with: what counts is what was answered before.
    """
    if state.current.shadow:
        return []
    both = [number for number, stage in enumerate(state.stages) if 0 < stage.weight < 100]
    answered = frame[(frame["error"] == "") & frame[STAGE].isin(both)].sort_values("served_at", kind="stable")
    return [each for metric in state.policy.feedback for each in _difference(metric, answered, state.policy.quality)]


def judge(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> tuple[Verdict, ...]:
    """A verdict for each number of the policy. In a stage that does not wait for labels it can only end the rollout."""
    if state.current.shadow:
        return ()
    gross = state.policy.quality.gross
    verdicts = (
        _judge(metric, *(found.get((REPORTED + metric.name + end, "")) for end in ("", ROWS)), gross=gross)
        for metric in state.policy.feedback
    )
    severity = Severity.BLOCKER if state.current.quality else Severity.INFORMATIONAL
    return tuple(verdict.model_copy(update={"severity": severity}) for verdict in verdicts)


def _difference(metric: FeedbackMetric, answered: pd.DataFrame, quality: Quality) -> list[Measurement]:
    column = REPORTED + metric.name
    if column not in answered.columns:
        return [Measurement(name=column, value=None, why="no such number has been reported yet")]
    reported = answered[answered[column].notna()]
    reported = reported[reported.groupby("key")["variant"].transform("nunique") == 1].drop_duplicates("key")
    values, theirs = reported[column].to_numpy(dtype=float), (reported["variant"] == "challenger").to_numpy()
    for variant, arm in (("challenger", values[theirs]), ("champion", values[~theirs])):
        if len(arm) < 2 or not arm.var() > 0:
            # Equal numbers say nothing of how the rare other one is spread: conversions that nobody had yet.
            why = f"{len(arm)} numbers of the {variant} without any spread"
            return [Measurement(name=column, value=None, n=len(arm), why=why)]
    moments = reported["event_time"].to_numpy("datetime64[us]")
    numbers = block_numbers(moments, quality.block_hours, quality.block_start_hour)
    found = unpaired(values, theirs, numbers, reported[STAGE].to_numpy())
    if found is None or not found.variance > 0:
        return [Measurement(name=column, value=None, n=len(values), why="too few numbers of both versions at a time")]
    means = f"challenger {values[theirs].mean():.4g} on {theirs.sum()}, champion {values[~theirs].mean():.4g}"
    return _measured(metric, found, quality, f"{means} on {(~theirs).sum()}, in {found.blocks} blocks")


def _measured(metric: FeedbackMetric, found: Difference, quality: Quality, shown: str) -> list[Measurement]:
    name = REPORTED + metric.name
    by_rows = robbins_radius(found.n, sqrt(found.variance), 2 * metric.alpha, n_opt=metric.min_rows)
    by_blocks = block_radius(found, by_rows, quality.model_copy(update={"alpha": metric.alpha}))
    given = {"value": found.mean, "n": found.n, "confidence": 1 - 2 * metric.alpha, "evidence": shown}
    radii = {name: by_blocks, name + ROWS: by_rows if np.isfinite(by_rows) else None}
    ends = {k: {} if r is None else {"low": found.mean - r, "high": found.mean + r} for k, r in radii.items()}
    return [Measurement.model_validate({"name": name, **given, **ends[name]}) for name in radii]


def _worse(metric: FeedbackMetric, difference: Measurement | None) -> tuple[float, float] | None:
    """How much worse, whichever way the number runs; None without an interval."""
    if difference is None or difference.value is None or difference.low is None or difference.high is None:
        return None
    better_higher = metric.better == "higher"
    return (-difference.high, -difference.low) if better_higher else (difference.low, difference.high)


def _judge(
    metric: FeedbackMetric, difference: Measurement | None, rows: Measurement | None, *, gross: float
) -> Verdict:
    check = REPORTED + metric.name
    if difference is None or difference.value is None:
        why = "it was not measured" if difference is None else difference.why
        return _made(check, Outcome.INCONCLUSIVE, f"{check}: no evidence ({why})", difference)
    bound = metric.margin if metric.ask == "non_inferior" else 0.0
    condition = Condition(direction="below" if metric.ask == "superior" else "at_most", bound=bound)
    worse, by_rows = _worse(metric, difference), _worse(metric, rows)
    ends = f"in [{difference.low:+.4g}, {difference.high:+.4g}]" if worse else "with too few blocks for an interval"
    shown = (
        f"{metric.name} ({metric.better} is better) differs by {difference.value:+.4g} {ends} ({difference.evidence})"
    )
    enough = difference.n >= metric.min_rows
    if enough and by_rows and by_rows[0] > gross * metric.margin:
        why = f"grossly worse: {shown}, more than {gross:g} times the margin {metric.margin:g} by rows"
        return _made(check, Outcome.FAILED, why, difference, condition)
    if enough and worse and worse[0] > metric.margin:
        return _made(check, Outcome.FAILED, f"clearly worse: {shown}, margin {metric.margin:g}", difference, condition)
    if enough and worse and condition.holds(worse[1]):
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
