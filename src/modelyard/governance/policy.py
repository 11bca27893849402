"""The governance policy, read from ``policies/governance.yaml``: what is risky, and who may approve it."""

from __future__ import annotations

import unicodedata
from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.config.policies import Policy

Trigger = Literal[
    "first_release",
    "changed_signature",
    "new_architecture",
    "manual_override",
    "accuracy_drop",
    "critical_slice",
    "low_score",
]

POLICY_ACTOR = "modelyard-policy"
"""Who gives automatic approvals. No person may bear this name."""


def identity(name: str) -> str:
    """A person's name in the form that is compared: spelling it differently makes nobody a second person.

    >>> identity(" Ada\\u00a0") == identity("ADA")
    True
    """
    return "".join(unicodedata.normalize("NFKC", name).split()).casefold()


class GovernancePolicy(Policy):
    """Risk rules, quorum and people.

    ``high_risk`` lists the triggers that make a release high risk; a high-risk release needs ``quorum`` distinct people
    out of ``approvers``, the roles whose members are named in ``roles``. Without people nothing of high risk can be
    approved. ``accuracy_drop`` is in points of accuracy or AUC against the champion on the same rows.
    """

    high_risk: tuple[Trigger, ...]
    quorum: int = Field(ge=2)
    approvers: tuple[str, ...] = Field(min_length=1)
    roles: dict[str, tuple[str, ...]]
    accuracy_drop: float = Field(gt=0, lt=1)
    critical_slices: tuple[str, ...] = ()
    response_timeout_hours: float = Field(gt=0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if unknown := [r for r in self.approvers if r not in self.roles]:
            raise ValueError(f"approvers name no role: {', '.join(unknown)}; roles are {', '.join(self.roles)}")
        people = {identity(p) for p in self.people}
        if people and len(people) < self.quorum:
            raise ValueError(f"quorum = {self.quorum} of {len(people)} distinct people can never be reached")
        if identity(POLICY_ACTOR) in people or "" in people:
            raise ValueError(f"a person may not be called {POLICY_ACTOR!r} or nothing")
        if "first_release" not in self.high_risk:
            raise ValueError("first_release must stay in high_risk: there is nothing to compare a first release with")
        return self

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody who may approve, each once, in the order of the file."""
        named = (person for role in self.approvers for person in self.roles[role])
        return tuple({identity(p): p for p in named}.values())

    def may_approve(self, name: str) -> bool:
        """Whether this person has a role that approves."""
        return identity(name) in {identity(p) for p in self.people}
