"""Whether a canary is so good that stages may be left out. Pure; see ``policy.FastTrack``.

Each gain is a lower end that holds however often one looks, at a one-sided level of .025. All three must be shown, so
no level is shared among them: a version that lacks one passes at most that often (intersection-union).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.rollout.state import RolloutState

EXCEPTIONAL = "exceptional"
ACCURACY = "accuracy_gain"
"""The challenger's accuracy minus the champion's, on labelled rows."""


def offered(state: RolloutState) -> bool:
    """Whether the policy lets this stage go straight to the last one, with a stage left out between."""
    track = state.policy.fast_track
    return track is not None and state.current.weight >= track.from_weight and state.stage < len(state.stages) - 2


def exceptional(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> tuple[Verdict, ...]:
    """A verdict where it is offered, and none elsewhere. It is informational: an ordinary release is no fault."""
    track = state.policy.fast_track
    if track is None or not offered(state):
        return ()
    accuracy = found.get((ACCURACY, ""))
    errors, latency = (_both(found, name) for name in ("error_rate", "latency_p95_ms"))
    gains = (
        ("accuracy", _low(accuracy), track.accuracy),
        ("p95 latency", _lower_by_share(*latency), track.latency_p95),
        ("errors", _lower(*errors), track.error_rate),
    )
    labelled = 0 if accuracy is None else accuracy.n
    fine = labelled >= track.min_rows and all(gain >= least for _, gain, least in gains)
    shown = ", ".join(f"{name} better by {_least(gain)} (asked {least:.2%})" for name, gain, least in gains)
    return (
        Verdict(
            check=EXCEPTIONAL,
            outcome=Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE,
            severity=Severity.INFORMATIONAL,
            reason=f"{'' if fine else 'not '}exceptional: {shown}, {labelled} of {track.min_rows} labelled rows",
            condition=Condition(direction="at_least", bound=track.accuracy),
            measurements=tuple(m for m in (accuracy, *errors, *latency) if m is not None),
            category="rollout",
        ),
    )


def _both(found: Mapping[tuple[str, str], Measurement], name: str) -> tuple[Measurement | None, Measurement | None]:
    return found.get((name, "challenger")), found.get((name, "champion"))


def _low(measured: Measurement | None) -> float:
    return -inf if measured is None or measured.low is None else measured.low


def _high(measured: Measurement | None) -> float:
    return inf if measured is None or measured.high is None else measured.high


def _lower(challenger: Measurement | None, champion: Measurement | None) -> float:
    return _low(champion) - _high(challenger)


def _lower_by_share(challenger: Measurement | None, champion: Measurement | None) -> float:
    base = _low(champion)
    return 1 - _high(challenger) / base if base > 0 else -inf


def _least(gain: float) -> str:
    return "an unknown amount" if gain == -inf else f"at least {gain:+.2%}"
