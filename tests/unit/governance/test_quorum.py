"""Attempts to get a release approved that nobody should: each must fail."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from modelyard.core.records import Approval
from modelyard.core.verdict import Decision
from modelyard.governance.policy import POLICY_ACTOR, GovernancePolicy
from modelyard.governance.quorum import Question, conclude, void
from modelyard.governance.risk import Level, Reason, RiskAssessment

RELEASE, OTHER, CHAMPION, EVIDENCE = ("sha256:" + c * 64 for c in "abcd")
NOW = datetime(2013, 6, 1, tzinfo=UTC)


def policy(**over: object) -> GovernancePolicy:
    values = {
        "high_risk": ("first_release", "changed_signature"),
        "quorum": 2,
        "approvers": ("risk_owner",),
        "roles": {"risk_owner": ("ada", "ben", "cleo", "grace")},
        "accuracy_drop": 0.05,
        "response_timeout_hours": 72,
    }
    return GovernancePolicy.model_validate(values | over)


POLICY = policy()


def gates(action: str = "ready", subject: str = RELEASE, evidence: tuple[str, ...] = (EVIDENCE, CHAMPION)) -> Decision:
    return Decision(
        kind="gates",
        action=action,
        model="flight_delay",
        subject=subject,
        reasons=("14 of 14 gates passed",),
        evidence=evidence,
        policy=EVIDENCE,
        as_of=NOW,
    )


GATES = gates()


def question(level: Level = "high", decision: Decision = GATES, champion: str | None = CHAMPION) -> Question:
    reasons = (Reason(trigger="changed_signature", detail="temp.scale: 1.0 -> 0.5556"),) if level == "high" else ()
    risk = RiskAssessment(
        release=RELEASE, decision=decision.digest, level=level, reasons=reasons, policy=POLICY.digest, as_of=NOW
    )
    return Question(gates=decision, risk=risk, involved={"grace", "starter"}, champion=champion)


def given(by: str, answer: str = "approve", **over: object) -> Approval:
    values = {"release": RELEASE, "decision": GATES.digest, "by": by, "at": NOW, "answer": answer, "automatic": False}
    return Approval.model_validate(values | over)


AUTOMATIC = given(POLICY_ACTOR, automatic=True)


def decide(*approvals: Approval, level: Level = "high", **over: object) -> Decision:
    return conclude(question(level, **over), approvals, POLICY)  # type: ignore[arg-type]


def test_two_distinct_people_approve_a_high_risk_release() -> None:
    decision = decide(given("ada"), given("ben"))
    assert decision.action == "approve"
    assert decision.reasons[0] == "approved by ada, ben (2 of 2)"
    assert GATES.digest in decision.evidence


def test_a_low_risk_release_is_approved_automatically_and_recorded_as_such() -> None:
    decision = decide(AUTOMATIC, level="low")
    assert decision.action == "approve"
    assert decision.reasons[0].startswith("approved automatically: low risk")


EVASIONS = {
    "silence until the time-out": [],
    "one person alone": [given("ada")],
    "the same person twice": [given("ada"), given("ada", comment="again")],
    "the same person in other letters": [given("ada"), given("ADA")],
    "the same person with blanks": [given("ada"), given(" ada ")],
    "the same person with a no-break space": [given("ada"), given("a\u00a0da")],
    "the same person in full-width letters": [given("ada"), given("ａｄａ")],
    "the author": [given("ada"), given("grace")],
    "the author in other letters": [given("ada"), given("Grace")],
    "whoever started the run": [given("ada"), given("starter")],
    "somebody without a role": [given("ada"), given("mallory")],
    "two without a role": [given("mallory"), given("trudy")],
    "an empty name": [given("ada"), given("")],
    "an automatic approval of high risk": [AUTOMATIC],
    "an automatic approval beside one person": [given("ada"), AUTOMATIC],
    "automatic approvals in people's names": [given("ada", automatic=True), given("ben", automatic=True)],
    "a person under the policy's name": [given("ada"), given(POLICY_ACTOR)],
    "a person under the policy's name in capitals": [given("ada"), given(POLICY_ACTOR.upper())],
    "answers for another release": [given("ada", release=OTHER), given("ben", release=OTHER)],
    "one answer for another release": [given("ada"), given("ben", release=OTHER)],
    "answers for older evidence": [given("ada", decision=OTHER), given("ben", decision=OTHER)],
    "one answer for older evidence": [given("ada"), given("ben", decision=OTHER)],
}


@pytest.mark.parametrize("name", EVASIONS)
def test_evasion_of_high_risk_waits_for_ever(name: str) -> None:
    assert decide(*EVASIONS[name]).action == "wait"


@pytest.mark.parametrize("name", EVASIONS)
def test_evasion_together_with_a_rejection_is_rejected(name: str) -> None:
    assert decide(*EVASIONS[name], given("cleo", "reject")).action == "reject"


def test_one_rejection_settles_it_whatever_the_approvals_and_their_order() -> None:
    answers = [given("ada"), given("ben"), given("cleo", "reject")]
    decisions = {conclude(question(), order, POLICY).digest for order in permutations(answers)}
    assert len(decisions) == 1
    assert decide(*answers).action == "reject"


def test_changing_ones_mind_after_rejecting_does_not_help() -> None:
    assert decide(given("ada", "reject"), given("ada"), given("ben")).action == "reject"


def test_the_author_may_withdraw() -> None:
    assert decide(given("ada"), given("ben"), given("grace", "reject")).action == "reject"


def test_a_stranger_cannot_veto() -> None:
    decision = decide(given("ada"), given("ben"), given("mallory", "reject"))
    assert decision.action == "approve"
    assert "not counted: mallory has no role that approves" in decision.reasons


def test_a_rejection_of_older_evidence_does_not_count() -> None:
    assert decide(given("ada"), given("ben"), given("cleo", "reject", decision=OTHER)).action == "approve"


def test_a_person_cannot_approve_low_risk_alone_without_the_policy() -> None:
    assert decide(given("ada"), level="low").action == "wait"
    assert decide(given("ada", automatic=True), level="low").action == "wait"


def test_low_risk_can_be_rejected_after_the_automatic_approval() -> None:
    assert decide(AUTOMATIC, given("ben", "reject"), level="low").action == "reject"


def test_blocked_gates_are_rejected_whatever_people_say() -> None:
    blocked = gates("blocked")
    answers = [given(p, decision=blocked.digest) for p in ("ada", "ben")]
    assert conclude(question(decision=blocked), answers, POLICY).action == "reject"


def test_a_gate_decision_about_another_release_is_worthless() -> None:
    foreign = gates(subject=OTHER)
    answers = [given(p, decision=foreign.digest) for p in ("ada", "ben")]
    assert conclude(question(decision=foreign), answers, POLICY).action == "wait"


def test_another_kind_of_decision_is_no_gate_decision() -> None:
    forged = gates().model_copy(update={"kind": "governance"})
    answers = [given(p, decision=forged.digest) for p in ("ada", "ben")]
    assert conclude(question(decision=forged), answers, POLICY).action == "wait"


def test_a_risk_assessed_for_other_gates_is_worthless() -> None:
    asked = question()
    swapped = Question(gates("ready", evidence=(OTHER, CHAMPION)), asked.risk, asked.involved, CHAMPION)
    answers = [given(p, decision=swapped.gates.digest) for p in ("ada", "ben")]
    assert conclude(swapped, answers, POLICY).action == "wait"


def test_a_policy_changed_between_question_and_answer_voids_the_question() -> None:
    weaker = policy(roles={"risk_owner": ("ada", "ben", "mallory")})
    decision = conclude(question(), [given("ada"), given("mallory")], weaker)
    assert decision.action == "wait"
    assert "policy has changed" in decision.reasons[0]


def test_another_champion_since_the_gates_voids_the_evidence() -> None:
    decision = decide(given("ada"), given("ben"), champion=OTHER)
    assert decision.action == "wait"
    assert "today's champion" in decision.reasons[0]


def test_concluding_again_after_the_release_was_crowned_stands() -> None:
    assert decide(given("ada"), given("ben"), champion=RELEASE).action == "approve"


def test_every_ignored_answer_is_named_with_its_reason() -> None:
    decision = decide(given("ada"), given("grace"), given("mallory"))
    assert "not counted: grace made the release or started the run" in decision.reasons
    assert "not counted: mallory has no role that approves" in decision.reasons


def test_an_answer_that_counts_is_not_void() -> None:
    assert void(given("ada"), question(), POLICY) == ""
    assert void(AUTOMATIC, question("low"), POLICY) == ""
