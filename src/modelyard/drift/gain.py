"""Whether retraining would pay by now: judged on estimates of its gain, and on the champion's own answers.

An estimate comes from a cheap model that stands in for every kind of champion (``flows.gain``): it cannot see that this
very champion has got worse while its stand-in has not. The champion's own calibration gap, step by step, can.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.core.verdict import Condition, Measurement, Outcome, Verdict
from modelyard.drift.cusum import cusum, two_sided
from modelyard.drift.policy import GainRule
from modelyard.drift.verdicts import verdict

GAIN = "gain"

GAIN_MEASURED = "retraining_gain"
"""The measurement that ``gain`` is judged by: logloss of an old fit minus that of a newer one, on newer labels."""

GAP_MEASURED = "step_gap"
"""The champion's mean answer minus the observed rate, in a step since its training."""


def judge_gain(measured: Sequence[Measurement], rule: GainRule) -> Verdict:
    """Failed: what the steps since the training have cost adds up to a retraining's worth, or the gaps to a drift.

    ``measured``: the ``retraining_gain`` and, where the rule listens to them, the ``step_gap`` of each step, each
    oldest first. Inconclusive without an estimate of the gain, unless the gaps are enough by themselves.
    """
    known = _known(measured, GAIN_MEASURED, rule)
    bound = Condition(direction="at_most", bound=rule.retrain_above)
    if drifted := _drifted(measured, rule):
        return drifted
    if not known:
        gains = [m for m in measured if m.name == GAIN_MEASURED]
        why = next((m.why for m in gains if m.why), f"no step of {rule.step_hours} h with labels since")
        return verdict(GAIN, Outcome.INCONCLUSIVE, f"gain from retraining is unknown: {why}", condition=bound)
    total = cusum(map(_value, known), rule.allowance)[-1]
    shown = ", ".join(f"{_value(m):+.4f}" for m in known[-4:])
    of = f"of {len(known)} estimates less {rule.allowance:g} each, the newest {shown}"
    if bound.holds(total):
        reason = f"retraining would not have paid yet: {total:.4f} of logloss so far, {rule.retrain_above:g} would be "
        return verdict(GAIN, Outcome.SUCCESSFUL, f"{reason}enough ({of})", *known, condition=bound)
    reason = f"a retraining would have gained {total:.4f} of logloss so far, more than {rule.retrain_above:g} ({of})"
    return verdict(GAIN, Outcome.FAILED, reason, *known, condition=bound)


def _drifted(measured: Sequence[Measurement], rule: GainRule) -> Verdict | None:
    """The failed verdict where the champion's own gaps have added up; None where they have not, or nobody listens."""
    gaps = _known(measured, GAP_MEASURED, rule)
    if rule.gap_above is None or not gaps:
        return None
    total = two_sided(map(_value, gaps), rule.gap_allowance)[-1]
    bound = Condition(direction="at_most", bound=rule.gap_above)
    if bound.holds(total):
        return None
    shown = ", ".join(f"{_value(m):+.3f}" for m in gaps[-4:])
    of = f"of {len(gaps)} steps less {rule.gap_allowance:g} each, the newest {shown}"
    reason = f"calibration gaps since the training add up to {total:.3f}, more than {rule.gap_above:g} ({of})"
    return verdict(GAIN, Outcome.FAILED, reason, *gaps, condition=bound)


def _known(measured: Sequence[Measurement], name: str, rule: GainRule) -> list[Measurement]:
    return [m for m in measured if m.name == name and m.value is not None and m.n >= rule.min_labels]


def _value(measurement: Measurement) -> float:
    return 0.0 if measurement.value is None else measurement.value
