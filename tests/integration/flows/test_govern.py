"""Governance on a real ledger: from the gates' decision to an approval, and the ways round it that are shut."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.flows.decisions import MODEL, NOW, Here, evidence, here

from modelyard.core.errors import Conflict, EvidenceMissing, GateBlocked, NotApproved, NotFound
from modelyard.core.records import Approval, Release
from modelyard.flows import gate, govern
from modelyard.governance.policy import POLICY_ACTOR

if TYPE_CHECKING:
    from sqlalchemy import Engine

ONE, TWO = "demo-approver-1", "demo-approver-2"


@pytest.fixture
def platform(ledger_engine: Engine, tmp_path: Path) -> Here:
    return here(ledger_engine, tmp_path)


def first(platform: Here, **over: object) -> tuple[Release, str]:
    """A first release that passed the gates: high risk."""
    release = platform.release(**over)  # type: ignore[arg-type]
    return release, gate.assess(platform, release.digest, evidence(release), NOW).digest


def refit(platform: Here, **over: object) -> tuple[Release, str]:
    """A refit that passed the gates against a champion."""
    champion = platform.release()
    platform.crown(champion)
    release = platform.release(2, **over)  # type: ignore[arg-type]
    return release, gate.assess(platform, release.digest, evidence(release, champion), NOW).digest


def answer(platform: Here, release: Release, gates: str, by: str, approve: bool = True, **over: object) -> Approval:
    return govern.answer(platform, release.digest, gates, by=by, at=NOW, approve=approve, **over)  # type: ignore[arg-type]


def test_a_first_release_is_high_risk_and_two_people_approve_it(platform: Here) -> None:
    release, gates = first(platform)
    assert govern.risk(platform, release.digest, gates) == "high"
    answer(platform, release, gates, ONE, comment="looks right")
    with pytest.raises(NotApproved, match="2 people are needed"):
        govern.conclude(platform, release.digest, gates)
    answer(platform, release, gates, TWO)
    decision = govern.conclude(platform, release.digest, gates)
    assert decision.action == "approve"
    assert [d.digest for d in govern.approved(platform, release.digest)] == [gates, decision.digest]
    assert platform.actions() == [
        "gates.ready",
        "governance.risk_high",
        "governance.approve",
        "governance.wait",
        "governance.approve",
        "governance.approve",
    ]


def test_a_plain_refit_is_low_risk_and_approved_by_policy(platform: Here) -> None:
    release, gates = refit(platform)
    assert govern.risk(platform, release.digest, gates) == "low"
    given = govern.approve_automatically(platform, release.digest, gates)
    assert (given.by, given.automatic) == (POLICY_ACTOR, True)
    assert govern.conclude(platform, release.digest, gates).action == "approve"


def test_repeated_tasks_add_nothing(platform: Here) -> None:
    release, gates = refit(platform)
    for _ in range(3):
        govern.assess(platform, release.digest, gates)
        govern.approve_automatically(platform, release.digest, gates)
        govern.conclude(platform, release.digest, gates)
    assert len(platform.ledger.journal.approvals(release.digest)) == 1
    assert platform.actions() == ["gates.ready", "governance.risk_low", "governance.approve", "governance.approve"]


def test_the_log_says_when_it_was_done_however_often_it_is_repeated(platform: Here) -> None:
    release, gates = refit(platform)
    done = NOW + timedelta(days=4000)
    for minutes in range(2):
        now = done + timedelta(minutes=minutes)
        govern.assess(platform, release.digest, gates, now=now)
        assert govern.approve_automatically(platform, release.digest, gates, now).at == done
        govern.conclude(platform, release.digest, gates, now=now)
    events = [event for _, event in platform.ledger.journal.audit_log(MODEL)][-3:]
    assert [event.action for event in events] == ["governance.risk_low", "governance.approve", "governance.approve"]
    assert {event.at for event in events} == {done}


def test_high_risk_is_never_approved_automatically(platform: Here) -> None:
    release, gates = first(platform)
    with pytest.raises(NotApproved, match="needs people: high risk: first_release"):
        govern.approve_automatically(platform, release.digest, gates)
    assert platform.ledger.journal.approvals(release.digest) == []


def test_an_automatic_approval_smuggled_into_the_ledger_does_not_help(platform: Here) -> None:
    release, gates = first(platform)
    for by in (POLICY_ACTOR, ONE, TWO):
        platform.ledger.journal.approve(
            Approval(release=release.digest, decision=gates, by=by, at=NOW, answer="approve", automatic=True)
        )
    with pytest.raises(NotApproved, match="approved by nobody"):
        govern.conclude(platform, release.digest, gates)


def test_a_rejection_ends_it(platform: Here) -> None:
    release, gates = first(platform)
    answer(platform, release, gates, ONE, approve=False, comment="no rollback plan")
    answer(platform, release, gates, TWO)
    with pytest.raises(NotApproved, match=f"rejected by {ONE}"):
        govern.conclude(platform, release.digest, gates)
    with pytest.raises(NotApproved, match=f"rejected by {ONE}"):
        govern.approved(platform, release.digest)


def test_a_changed_unit_or_an_override_needs_people(platform: Here) -> None:
    release, gates = refit(platform, scale=0.5556, overrides={"serving_units": {"temp": {"scale": 0.5556}}})
    found = govern.assess(platform, release.digest, gates)
    assert {r.trigger for r in found.reasons} == {"changed_signature", "manual_override"}


class TestWhoMayAnswer:
    @pytest.mark.parametrize("author", [ONE, "Demo-Approver-1", " demo-approver-1"])
    def test_the_author_is_not_asked_and_is_refused(self, platform: Here, author: str) -> None:
        release, gates = first(platform, author=author)
        assert ONE not in govern.request(platform, release.digest, gates).people
        with pytest.raises(NotApproved, match="made the release"):
            answer(platform, release, gates, ONE)
        assert platform.actions()[-1] == "governance.refused"
        assert platform.ledger.journal.approvals(release.digest) == []

    def test_whoever_started_the_run_is_refused(self, platform: Here) -> None:
        release, gates = first(platform)
        with pytest.raises(NotApproved, match="started the run"):
            answer(platform, release, gates, ONE, started_by=[ONE])

    def test_whoever_started_it_does_not_count_even_if_the_answer_slipped_in(self, platform: Here) -> None:
        release, gates = first(platform)
        answer(platform, release, gates, ONE)
        answer(platform, release, gates, TWO)
        with pytest.raises(NotApproved, match="2 people are needed"):
            govern.conclude(platform, release.digest, gates, started_by=[TWO])

    @pytest.mark.parametrize("by", ["mallory", POLICY_ACTOR, ""])
    def test_strangers_are_refused(self, platform: Here, by: str) -> None:
        release, gates = first(platform)
        with pytest.raises(NotApproved, match="does not count"):
            answer(platform, release, gates, by)

    def test_nobody_answers_twice_in_different_ways(self, platform: Here) -> None:
        release, gates = first(platform)
        answer(platform, release, gates, ONE, approve=False)
        with pytest.raises(Conflict, match="already answered 'reject'"):
            answer(platform, release, gates, ONE)

    def test_the_second_question_leaves_out_the_first_approver(self, platform: Here) -> None:
        release, gates = first(platform)
        ask = govern.request(platform, release.digest, gates, {ONE, ""})
        assert ask.people == (TWO, "admin")
        assert release.digest in ask.body
        assert "first_release" in ask.body
        assert ask.timeout.total_seconds() == 2 * 3600

    def test_in_production_nobody_may_approve_until_somebody_is_named(
        self, ledger_engine: Engine, tmp_path: Path
    ) -> None:
        platform = here(ledger_engine, tmp_path, profile="production")
        release, gates = first(platform)
        assert govern.request(platform, release.digest, gates).people == ()
        with pytest.raises(NotApproved, match="no role"):
            answer(platform, release, gates, ONE)


class TestEvidence:
    def test_a_new_gate_decision_voids_earlier_answers(self, platform: Here) -> None:
        release, gates = first(platform)
        answer(platform, release, gates, ONE)
        answer(platform, release, gates, TWO)
        newer = gate.assess(platform, release.digest, evidence(release, auc=0.74), NOW).digest
        with pytest.raises(EvidenceMissing, match="decided anew"):
            govern.conclude(platform, release.digest, gates)
        with pytest.raises(NotApproved, match="answered for other evidence"):
            govern.conclude(platform, release.digest, newer)

    def test_new_evidence_after_the_approval_takes_it_back(self, platform: Here) -> None:
        release, gates = refit(platform)
        govern.approve_automatically(platform, release.digest, gates)
        govern.conclude(platform, release.digest, gates)
        champion = platform.ledger.releases.champion(MODEL)
        gate.assess(platform, release.digest, evidence(release, champion, auc=0.74), NOW)
        with pytest.raises(NotApproved, match="decided anew"):
            govern.approved(platform, release.digest)

    def test_a_champion_crowned_after_the_approval_takes_it_back(self, platform: Here) -> None:
        release, gates = refit(platform)
        govern.approve_automatically(platform, release.digest, gates)
        govern.conclude(platform, release.digest, gates)
        platform.crown(platform.release(3))
        with pytest.raises(NotApproved, match="did not compare with the present champion, version 3"):
            govern.approved(platform, release.digest)

    def test_blocked_gates_cannot_be_approved(self, platform: Here) -> None:
        release = platform.release()
        with pytest.raises(GateBlocked):
            gate.assess(platform, release.digest, [], NOW)
        gates = platform.ledger.journal.decisions(MODEL, "gates")[-1].digest
        for by in (ONE, TWO):
            answer(platform, release, gates, by)
        with pytest.raises(NotApproved, match="the gates say blocked"):
            govern.conclude(platform, release.digest, gates)

    def test_another_releases_gates_are_refused(self, platform: Here) -> None:
        release, _ = first(platform)
        other = platform.release(7)
        theirs = gate.assess(platform, other.digest, evidence(other), NOW).digest
        with pytest.raises(EvidenceMissing, match="is no gate decision about"):
            govern.conclude(platform, release.digest, theirs)

    def test_a_governance_decision_is_no_gate_decision(self, platform: Here) -> None:
        release, gates = first(platform)
        govern.assess(platform, release.digest, gates)
        own = platform.ledger.journal.decisions(MODEL, "governance")[-1].digest
        with pytest.raises(EvidenceMissing):
            govern.conclude(platform, release.digest, own)

    def test_a_champion_crowned_meanwhile_voids_the_comparison(self, platform: Here) -> None:
        release, gates = refit(platform)
        govern.approve_automatically(platform, release.digest, gates)
        platform.crown(platform.release(3))
        with pytest.raises(NotApproved, match="today's champion"):
            govern.conclude(platform, release.digest, gates)

    def test_a_policy_changed_between_question_and_answer_voids_the_question(
        self, platform: Here, tmp_path: Path
    ) -> None:
        release, gates = first(platform)
        govern.request(platform, release.digest, gates)
        weaker = tmp_path / "policies"
        weaker.mkdir()
        text = (platform.settings.policies / "governance.yaml").read_text()
        (weaker / "governance.yaml").write_text(text.replace("demo-approver-1,", "demo-approver-1, mallory,"))
        platform.settings = platform.settings.model_copy(update={"policies": weaker})
        for by in (ONE, "mallory"):
            answer(platform, release, gates, by)
        with pytest.raises(NotApproved, match="policy has changed"):
            govern.conclude(platform, release.digest, gates)

    def test_once_high_the_risk_stays_high(self, platform: Here) -> None:
        release, gates = first(platform)
        govern.assess(platform, release.digest, gates)
        platform.crown(platform.release(9))
        with pytest.raises(NotApproved):
            govern.conclude(platform, release.digest, gates)

    def test_unknown_digests_are_refused(self, platform: Here) -> None:
        release, gates = first(platform)
        with pytest.raises(NotFound):
            govern.conclude(platform, release.digest, "sha256:" + "8" * 64)
        with pytest.raises(NotFound):
            govern.conclude(platform, "sha256:" + "8" * 64, gates)

    def test_nothing_is_approved_before_somebody_asked(self, platform: Here) -> None:
        release, _ = first(platform)
        with pytest.raises(NotApproved, match="has not decided"):
            govern.approved(platform, release.digest)

    def test_the_approval_stands_when_the_task_is_repeated_after_the_promotion(self, platform: Here) -> None:
        release, gates = refit(platform)
        govern.approve_automatically(platform, release.digest, gates)
        decision = govern.conclude(platform, release.digest, gates)
        platform.crown(release)
        assert govern.conclude(platform, release.digest, gates) == decision
