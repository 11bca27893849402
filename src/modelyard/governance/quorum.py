"""Turns answers into a decision: approve, reject or wait. Pure, and built so that it cannot be talked round.

An answer counts only if it was given for this release and this gate decision, by a person of a role that approves, who
neither made the release nor started the run. People are told apart by their normalised names. A rejection outweighs any
number of approvals. Silence is never an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from modelyard.core.digest import short
from modelyard.core.records import Approval
from modelyard.core.value import Digest
from modelyard.core.verdict import Decision
from modelyard.governance.policy import POLICY_ACTOR, GovernancePolicy, identity
from modelyard.governance.risk import RiskAssessment

Action = Literal["approve", "reject", "wait"]


@dataclass(frozen=True, slots=True)
class Question:
    """What the answers are about. ``involved`` are the author, the starter: whoever may not approve."""

    gates: Decision
    risk: RiskAssessment
    involved: Collection[str]
    champion: Digest | None


def conclude(question: Question, approvals: Sequence[Approval], policy: GovernancePolicy) -> Decision:
    """Decide on the answers given so far. The order in which they came changes nothing."""
    action, reasons = _decide(question, approvals, policy)
    gates = question.gates
    return Decision(
        kind="governance",
        action=action,
        model=gates.model,
        subject=question.risk.release,
        reasons=tuple(reasons),
        evidence=tuple(sorted({gates.digest, question.risk.digest, *(a.digest for a in approvals)})),
        policy=policy.digest,
        as_of=gates.as_of,
    )


def void(approval: Approval, question: Question, policy: GovernancePolicy) -> str:
    """Why an answer does not count; empty when it does. A rejection by whoever is involved counts: it withdraws."""
    who = identity(approval.by)
    if approval.release != question.risk.release:
        return f"{approval.by} answered for release {short(approval.release)}"
    if approval.decision != question.gates.digest:
        return f"{approval.by} answered for other evidence ({short(approval.decision)})"
    if approval.automatic or who == identity(POLICY_ACTOR):
        return _void_automatic(approval, question)
    involved = who in {identity(p) for p in question.involved}
    if approval.answer == "reject" and involved:
        return ""
    if not policy.may_approve(approval.by):
        return f"{approval.by} has no role that approves"
    return f"{approval.by} made the release or started the run" if involved else ""


def _void_automatic(approval: Approval, question: Question) -> str:
    if not approval.automatic or approval.by != POLICY_ACTOR:
        return f"only {POLICY_ACTOR} approves automatically, and it is no person"
    return "a high-risk release is never approved automatically" if question.risk.level == "high" else ""


def _decide(question: Question, approvals: Sequence[Approval], policy: GovernancePolicy) -> tuple[Action, list[str]]:
    if unsound := _unsound(question, policy):
        return unsound
    counted = [a for a in approvals if not void(a, question, policy)]
    ignored = sorted({f"not counted: {why}" for a in approvals if (why := void(a, question, policy))})
    if rejections := sorted({a.by for a in counted if a.answer == "reject"}):
        return "reject", [f"rejected by {', '.join(rejections)}", *ignored]
    people = {identity(a.by): a.by for a in sorted(counted, key=lambda a: a.by) if not a.automatic}
    named = ", ".join(people.values()) or "nobody"
    if len(people) >= policy.quorum:
        return "approve", [f"approved by {named} ({len(people)} of {policy.quorum})", question.risk.summary, *ignored]
    if question.risk.level == "low" and any(a.automatic for a in counted):
        return "approve", [f"approved automatically: {question.risk.summary}", *ignored]
    return "wait", [f"approved by {named}; {policy.quorum} people are needed", question.risk.summary, *ignored]


def _unsound(question: Question, policy: GovernancePolicy) -> tuple[Action, list[str]] | None:
    """What makes any answer worthless: gates that did not pass, evidence or policy that is not the present one."""
    gates, risk = question.gates, question.risk
    if gates.kind != "gates" or gates.subject != risk.release or risk.decision != gates.digest:
        return "wait", ["the gate decision is not about this release: the gates must assess it"]
    if gates.action != "ready":
        return "reject", [f"the gates say {gates.action}: {gates.reasons[0]}"]
    if risk.policy != policy.digest:
        return "wait", [
            "the governance policy has changed since the risk was assessed: the question must be asked anew"
        ]
    champion = question.champion
    if champion is not None and champion != risk.release and champion not in gates.evidence:
        return "wait", [f"the gates did not compare with today's champion {short(champion)}: they must assess again"]
    return None
