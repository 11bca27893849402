"""What the governor's checks share: how a verdict on drift is made, and how its numbers read."""

from __future__ import annotations

from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict


def verdict(
    check: str,
    outcome: Outcome,
    reason: str,
    *measured: Measurement | None,
    condition: Condition | None = None,
    severity: Severity = Severity.BLOCKER,
) -> Verdict:
    """A verdict of category ``drift``; measurements that are not there are left out."""
    return Verdict(
        check=check,
        outcome=outcome,
        severity=severity,
        reason=reason,
        condition=condition,
        measurements=tuple(m for m in measured if m is not None),
        category="drift",
    )


def advice(check: str, outcome: Outcome, reason: str, *measured: Measurement | None) -> Verdict:
    """A verdict of severity ``warning``: failed, it asks for a look and for nothing else."""
    return verdict(check, outcome, reason, *measured, severity=Severity.WARNING)


def bounded(measured: Measurement, form: str = "+.1%") -> str:
    """The value with its interval, as people read it."""
    value = 0.0 if measured.value is None else measured.value
    if measured.low is None or measured.high is None:
        return f"{value:{form}}"
    return f"{value:{form}} [{measured.low:{form}}, {measured.high:{form}}]"
