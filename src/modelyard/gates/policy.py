"""The gates' policy, read from ``policies/gates.yaml``. What can never pass, or is misspelt, is refused at load."""

from __future__ import annotations

import difflib
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from modelyard.config.policies import Policy
from modelyard.core.verdict import Condition, Severity
from modelyard.gates.catalogue import GROUPS, MEASUREMENTS, Known
from modelyard.gates.score import Area, ScorePolicy

Category = Literal[
    "data",
    "features",
    "quality",
    "slices",
    "robustness",
    "fairness",
    "latency",
    "resources",
    "security",
    "observability",
    "rollback",
    "human",
]

Profile = Literal["pull_request", "nightly", "candidate", "canary", "post_release"]
"""When gates run: before a merge, each night, on a new release, during its rollout, after it."""

PROFILES: tuple[Profile, ...] = get_args(Profile)

SCORED: tuple[Profile, ...] = ("nightly", "candidate")
"""The profiles in which every area is looked at, so that a score means something."""

AREA_OF: dict[Category, Area] = {
    "data": "model_validation",
    "features": "model_validation",
    "quality": "model_validation",
    "slices": "model_validation",
    "robustness": "model_validation",
    "fairness": "model_validation",
    "latency": "performance",
    "resources": "performance",
    "security": "security",
    "observability": "integration",
    "rollback": "integration",
    "human": "integration",
}
"""The area of the score that a category counts for, unless the gate names another."""

ADVICE: dict[Category, str] = {
    "data": "Look at the snapshot's validation, or take a longer window.",
    "features": "Compare the inputs with those of the last release: a source may have changed.",
    "quality": "Look at the run's curves and at the data of these days; retrain when more outcomes are known.",
    "slices": "Look at the rows of this slice: too few, or another population than in training.",
    "robustness": "Look at what the model does with such inputs before users do.",
    "fairness": "Look at the groups one by one; the threshold, or what the label means in each, may be the reason.",
    "latency": "Measure again on a quiet machine; if it stays, a smaller network or fewer inputs.",
    "resources": "A smaller network, or more room on the replicas.",
    "security": "Do not serve it before this is understood.",
    "observability": "Train anew: without a reference nobody will see it drift.",
    "rollback": "Mend the way back first: modelyard release verify names what is wrong.",
    "human": "Name the people in policies/governance.yaml.",
}
"""What to do where a gate gives no advice of its own."""


class Regression(Policy):
    """How much worse than the champion a measurement may be: by ``tolerance``, a share of the champion's value."""

    better: Literal["higher", "lower"]
    tolerance: float = Field(ge=0, lt=1)

    def limit(self, champion: float) -> Condition:
        """The condition that follows from the champion's value.

        >>> str(Regression(better="higher", tolerance=0.05).limit(0.8))
        'at least 0.76'
        """
        allowance = abs(champion) * self.tolerance
        if self.better == "higher":
            return Condition(direction="at_least", bound=champion - allowance)
        return Condition(direction="at_most", bound=champion + allowance)


class Gate(Policy):
    """One requirement: a measurement of the release, and what it must satisfy.

    Exactly one of ``condition`` and ``regression`` (to the champion's own measurement). ``uses`` says which number
    must satisfy it: the ``value``, its ``absolute`` value, or an end (``low``, ``high``) of its interval, so that what
    is not known well enough does not pass. ``slice`` restricts it to a part of the rows, as in ``carrier=UA``. ``when:
    first_release`` is for bars that only make sense where there is no champion to compare with; ``never`` exempts a
    model from a gate of the default, and ``because`` then says why. ``advice`` says what to do where it failed,
    ``without_evidence`` where it could not be judged. ``profiles`` names when it runs. ``area`` and
    ``weight`` are its place in the score; by default its category and its severity say them.
    """

    category: Category
    measurement: str
    severity: Severity = Severity.BLOCKER
    slice: str = Field(default="", pattern=r"^$|^[A-Za-z0-9_]+=.+$")
    uses: Literal["value", "absolute", "low", "high"] = "value"
    condition: Condition | None = None
    regression: Regression | None = None
    when: Literal["always", "first_release", "never"] = "always"
    because: str = ""
    profiles: tuple[Profile, ...] = Field(default=SCORED, min_length=1)
    area: Area | None = None
    weight: float | None = Field(default=None, ge=0)
    min_n: int = Field(default=0, ge=0)
    dry_run: bool = False
    advice: str = ""
    without_evidence: str = "Nothing passes without evidence: look why it is missing, and evaluate again."

    @field_validator("measurement")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MEASUREMENTS:
            close = difflib.get_close_matches(name, MEASUREMENTS, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"no measurement {name!r}; {meant}known: {', '.join(sorted(MEASUREMENTS))}")
        return name

    @model_validator(mode="after")
    def _one_requirement(self) -> Self:
        if (self.condition is None) == (self.regression is None):
            raise ValueError("a gate has exactly one of condition and regression")
        if self.regression is not None and self.measured.compares:
            raise ValueError(f"{self.measurement} is a difference to the champion already: give a condition")
        if self.regression is not None and self.uses != "value":
            raise ValueError(f"a regression compares values; uses = {self.uses!r} has no meaning there")
        if self.when == "first_release" and self.needs_champion:
            raise ValueError("a first release has no champion: a comparison cannot apply to it")
        if (self.when == "never") != bool(self.because):
            raise ValueError("a gate that never applies says why in `because`, and no other does")
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.condition is not None and (why := _impossible(self.condition, self.measured, self.uses)):
            raise ValueError(f"{self.measurement} {self.condition} {why}: it lies in {_range(self.measured)}")
        return self

    @property
    def measured(self) -> Known:
        """What is known of the measurement."""
        return MEASUREMENTS[self.measurement]

    @property
    def needs_champion(self) -> bool:
        """Whether it compares with the champion."""
        return self.regression is not None or self.measured.compares

    @property
    def counts_for(self) -> Area:
        """The area of the score that it belongs to."""
        return self.area or AREA_OF[self.category]

    @property
    def to_do(self) -> str:
        """What to do when it does not pass."""
        return self.advice or ADVICE[self.category]


class GatePolicy(Policy):
    """All gates by id, the score (without one the blockers alone decide), and what becomes of comparisons when there is
    nothing to compare with.

    ``first_release: skip`` makes comparisons not applicable while the model has no champion at all (and only then; it
    is recorded as such), ``require`` lets them block.
    """

    gates: dict[str, Gate] = Field(min_length=1)
    first_release: Literal["skip", "require"]
    score: ScorePolicy | None = None

    def of(self, profile: Profile) -> dict[str, Gate]:
        """The gates of a profile, those that are cheap to measure first."""
        chosen = {name: gate for name, gate in self.gates.items() if profile in gate.profiles}
        return dict(sorted(chosen.items(), key=lambda item: GROUPS.index(item[1].measured.group)))

    @model_validator(mode="after")
    def _something_can_block(self) -> Self:
        chosen = self.of("candidate").values()
        firm = [g for g in chosen if g.severity is Severity.BLOCKER and not g.dry_run]
        if not [g for g in firm if not g.needs_champion and g.when == "always"]:
            raise ValueError("at least one gate must be a blocker, no dry run, and apply to every candidate")
        return self


def _impossible(condition: Condition, known: Known, uses: str) -> str:
    low = max(known.low, 0.0) if uses == "absolute" else known.low
    match condition.direction:
        case "at_least" | "above":
            never = condition.bound > known.high or (condition.direction == "above" and condition.bound == known.high)
            always = condition.bound < low or (condition.direction == "at_least" and condition.bound == low)
        case _:
            never = condition.bound < low or (condition.direction == "below" and condition.bound == low)
            always = condition.bound > known.high or (
                condition.direction == "at_most" and condition.bound == known.high
            )
    return "can never hold" if never else "always holds" if always else ""


def _range(known: Known) -> str:
    return f"[{known.low:g}, {known.high:g}]"
