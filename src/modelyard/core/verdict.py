"""Measurements and what is made of them. Measuring is not judging: the two never share a function."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.core.value import Digest, Finite, Moment, Value
from modelyard.core.window import Window


class Outcome(StrEnum):
    """What a check came to. Only ``SUCCESSFUL`` lets anything go on."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Severity(StrEnum):
    """How much a check weighs. The platform has this one order and no other."""

    INFORMATIONAL = "informational"
    WARNING = "warning"
    BLOCKER = "blocker"

    @property
    def rank(self) -> int:
        """0 for informational to 2 for blocker."""
        return list(Severity).index(self)


class Measurement(Value):
    """One number that was measured, with what it is about.

    ``value`` None means that there is no evidence, and ``why`` then says why not.
    ``low`` and ``high`` bound the value at the ``confidence`` stated (by default 95%).
    """

    name: str
    value: Finite | None
    unit: str = ""
    n: int = Field(default=0, ge=0)
    low: Finite | None = None
    high: Finite | None = None
    confidence: float = Field(default=0.95, gt=0, lt=1)
    slice: str = ""
    variant: str = ""
    window: Window | None = None
    subject: Digest | None = None
    evidence: str = ""
    why: str = ""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.value is None and not self.why:
            raise ValueError(f"measurement {self.name!r} has no value and does not say why")
        return self


Direction = Literal["at_most", "at_least", "below", "above"]


class Condition(Value):
    """A bound with its direction in the type, so that it cannot be read the wrong way round.

    >>> Condition(direction="at_most", bound=0.05).holds(0.04)
    True
    """

    direction: Direction
    bound: Finite

    def holds(self, value: float) -> bool:
        """Whether the value satisfies the condition."""
        match self.direction:
            case "at_most":
                return value <= self.bound
            case "at_least":
                return value >= self.bound
            case "below":
                return value < self.bound
            case "above":
                return value > self.bound

    def __str__(self) -> str:
        return f"{self.direction.replace('_', ' ')} {self.bound:g}"


class Verdict(Value):
    """What one check came to, with the measurements it was made from."""

    check: str
    outcome: Outcome
    severity: Severity = Severity.BLOCKER
    reason: str
    condition: Condition | None = None
    measurements: tuple[Measurement, ...] = ()
    dry_run: bool = False
    category: str = ""

    @property
    def blocks(self) -> bool:
        """Whether this verdict alone stops the line: a blocker that did not succeed, unless it is a dry run."""
        return self.severity is Severity.BLOCKER and self.outcome is not Outcome.SUCCESSFUL and not self.dry_run


DecisionKind = Literal["validation", "parity", "governor", "gates", "governance", "rollout"]
"""Who decides."""


class Decision(Value):
    """An action with its reasons. Deciding does no I/O; the same evidence and policy give the same decision.

    ``kind`` is who decided (validation, parity, governor, gates, governance, rollout), ``subject`` what about (a digest
    or a name), ``evidence`` the digests of everything that was looked at, ``policy`` that of the policy in force.
    """

    kind: DecisionKind
    action: str
    model: str
    subject: str
    reasons: tuple[str, ...] = Field(min_length=1)
    verdicts: tuple[Verdict, ...] = ()
    evidence: tuple[Digest, ...] = ()
    policy: Digest
    as_of: Moment

    @property
    def summary(self) -> str:
        """One line for people."""
        return f"{self.kind}: {self.action}: {'; '.join(self.reasons)}"


def worst(outcomes: list[Outcome] | tuple[Outcome, ...]) -> Outcome:
    """The outcome of several together. None at all is inconclusive: no evidence is never a pass.

    >>> worst([])
    <Outcome.INCONCLUSIVE: 'inconclusive'>
    """
    order = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.SUCCESSFUL)
    return next((o for o in order if o in outcomes), Outcome.INCONCLUSIVE)
