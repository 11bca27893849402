"""The readiness score: what is left of each area once every gate has spoken. No score outweighs a blocker.

A gate earns its weight by passing and nothing otherwise; an area's score is the share of the weight that was earned.
What does not apply to a release, and dry runs, are left out of both. Every area must reach its threshold, and the
weighted mean of all areas the one for the whole. The band that the mean falls into chooses only who watches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.config.policies import Policy
from modelyard.core.readiness import SUPERVISION, Supervision
from modelyard.core.value import Digest, Value
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict

Area = Literal["code", "model_validation", "performance", "security", "integration", "end_to_end"]
AREAS: tuple[Area, ...] = ("code", "model_validation", "performance", "security", "integration", "end_to_end")
SCORE = "score"
"""The measurement's name, and the category of the verdicts made here."""


class AreaPolicy(Policy):
    """How much an area counts, and the least score (0 to 100) that it must have."""

    weight: float = Field(gt=0, le=1)
    threshold: float = Field(ge=0, le=100)


class Bands(Policy):
    """From which score on a release goes out at once, with monitoring, or with a person; below, not at all."""

    at_once: float = Field(gt=0, le=100)
    with_monitoring: float = Field(gt=0, le=100)
    with_a_person: float = Field(gt=0, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.at_once > self.with_monitoring > self.with_a_person:
            raise ValueError("bands fall: at_once > with_monitoring > with_a_person")
        return self

    def of(self, score: float) -> Supervision:
        """The band of a score.

        >>> Bands(at_once=95, with_monitoring=80, with_a_person=65).of(94.9)
        'with_monitoring'
        """
        if score >= self.at_once:
            return "at_once"
        if score >= self.with_monitoring:
            return "with_monitoring"
        return "with_a_person" if score >= self.with_a_person else "blocked"


class ScorePolicy(Policy):
    """All areas, the threshold of the whole, the bands, and what a gate weighs by its severity."""

    areas: dict[Area, AreaPolicy]
    threshold: float = Field(ge=0, le=100)
    bands: Bands
    weights: dict[Severity, float]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if missing := [a for a in AREAS if a not in self.areas]:
            raise ValueError(f"areas lack {', '.join(missing)}: an area without a threshold would always pass")
        total = sum(area.weight for area in self.areas.values())
        if not isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"the areas' weights add up to {total:g}, not to 1")
        if unweighted := [s.value for s in Severity if s not in self.weights]:
            raise ValueError(f"weights lack {', '.join(unweighted)}")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError("a weight below 0 would reward what fails")
        return self


class Share(Value):
    """What one gate put into the score: its weight, and whether it earned it."""

    area: Area
    weight: float = Field(ge=0)
    passed: bool


def score_verdicts(policy: ScorePolicy, shares: Sequence[Share], blocked: bool, subject: Digest) -> tuple[Verdict, ...]:
    """A verdict for each area, for the whole, and for the supervision, whose ``why`` says what to do."""
    scores = {area: _score(shares, area) for area in AREAS}
    areas = tuple(_area(name, policy.areas[name], scores[name], shares, subject) for name in AREAS)
    whole = _whole_score(policy, scores)
    return (*areas, _overall(policy, whole, subject), _supervision(policy, whole, areas, blocked, subject))


def _score(shares: Sequence[Share], area: Area) -> float | None:
    """None: nothing of this area was looked at."""
    own = [s for s in shares if s.area == area]
    total = sum(s.weight for s in own)
    return 100 * sum(s.weight for s in own if s.passed) / total if total > 0 else None


def _whole_score(policy: ScorePolicy, scores: Mapping[Area, float | None]) -> float:
    """An area without evidence counts as nothing: leaving it out would reward not measuring."""
    return sum(policy.areas[name].weight * (value or 0.0) for name, value in scores.items())


def _area(name: Area, policy: AreaPolicy, value: float | None, shares: Sequence[Share], subject: Digest) -> Verdict:
    condition = Condition(direction="at_least", bound=policy.threshold)
    check, said = f"{SCORE}_{name}", name.replace("_", " ")
    if value is None:
        why = f"no evidence: no gate of the area {said} carries weight here"
        absent = Measurement(name=SCORE, slice=name, value=None, why=why, subject=subject)
        reason = f"{why}. Add a gate of this area, or measure what its gates ask for."
        return _verdict(check, Outcome.INCONCLUSIVE, reason, absent, condition)
    own = [s for s in shares if s.area == name and s.weight > 0]
    found = Measurement(name=SCORE, slice=name, value=value, unit="of 100", n=len(own), subject=subject)
    outcome = Outcome.SUCCESSFUL if condition.holds(value) else Outcome.FAILED
    reason = f"{said} {value:.1f} of 100, must be {condition}: {sum(s.passed for s in own)} of {len(own)} gates passed"
    lost = "" if outcome is Outcome.SUCCESSFUL else ". Too many of its warnings stand at once: mend the heaviest first."
    return _verdict(check, outcome, reason + lost, found, condition)


def _overall(policy: ScorePolicy, value: float, subject: Digest) -> Verdict:
    condition = Condition(direction="at_least", bound=policy.threshold)
    found = Measurement(name=SCORE, value=value, unit="of 100", n=len(AREAS), subject=subject)
    outcome = Outcome.SUCCESSFUL if condition.holds(value) else Outcome.FAILED
    return _verdict(f"{SCORE}_overall", outcome, f"overall {value:.1f} of 100, must be {condition}", found, condition)


def _supervision(
    policy: ScorePolicy, value: float, areas: Sequence[Verdict], blocked: bool, subject: Digest
) -> Verdict:
    """The band, or ``blocked`` whatever the band says where a blocker or a threshold stands."""
    fell_short = [v.check for v in areas if v.outcome is not Outcome.SUCCESSFUL]
    short = blocked or bool(fell_short) or value < policy.threshold
    band: Supervision = "blocked" if short else policy.bands.of(value)
    outcome = {"blocked": Outcome.FAILED, "with_a_person": Outcome.INCONCLUSIVE}.get(band, Outcome.SUCCESSFUL)
    found = Measurement(name=SCORE, value=value, unit="of 100", n=len(AREAS), subject=subject)
    severity = Severity.BLOCKER if band == "blocked" else Severity.WARNING
    return _verdict(SUPERVISION, outcome, f"{band}: {_to_do(band, blocked, fell_short)}", found, None, severity)


def _to_do(band: Supervision, blocked: bool, short: Sequence[str]) -> str:
    match band:
        case "at_once":
            return "nothing is asked for beyond the rollout"
        case "with_monitoring":
            return "look at the warnings above while it is rolled out"
        case "with_a_person":
            return "somebody must look at the warnings above and answer for it"
        case "blocked":
            return "mend what blocks, and measure again" if blocked else _raise(short)


def _raise(short: Sequence[str]) -> str:
    return f"raise {', '.join(short)} to the threshold" if short else "the whole is below its threshold or every band"


def _verdict(
    check: str,
    outcome: Outcome,
    reason: str,
    found: Measurement,
    condition: Condition | None,
    severity: Severity = Severity.BLOCKER,
) -> Verdict:
    return Verdict(
        check=check,
        outcome=outcome,
        severity=severity,
        reason=reason,
        condition=condition,
        measurements=(found,),
        category=SCORE,
    )
