"""Governance: weigh the risk of a release, ask, keep the answers, and conclude.

Every answer is bound to the release and to the gate decision that it was given for. When the gates decide anew, or the
policy changes, or another champion is crowned, earlier answers are void and the question is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.config.policies import load_policy
from modelyard.core.digest import short
from modelyard.core.errors import EvidenceMissing, NotApproved
from modelyard.core.records import Approval, AuditEvent, Release
from modelyard.core.value import Digest
from modelyard.core.verdict import Decision
from modelyard.core.window import parse_moment
from modelyard.flows.attest import CONCLUSIONS, attest_approval, attest_decision
from modelyard.gates.assess import READY
from modelyard.governance import page, quorum
from modelyard.governance.policy import POLICY_ACTOR, GovernancePolicy, identity
from modelyard.governance.risk import Level, RiskAssessment, assess_risk
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle

LEVELS = {"low": "risk_low", "high": "risk_high"}
"""How an assessment is recorded: as a governance decision with this action."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask of whom: nothing is answered for them when ``timeout`` has passed."""

    people: tuple[str, ...]
    subject: str
    body: str
    timeout: timedelta


def assess(platform: Platform, release: str, decision: str, *, now: datetime | None = None) -> RiskAssessment:
    """Weigh the risk of a release for a gate decision (both by digest), and record it.

    Here and below ``now`` is when it is done, as the audit log has it; by default, now.

    Raises:
        NotFound: there is no such release or decision.
        EvidenceMissing: the decision is not the gates' newest one about this release.
    """
    manifest, gates = _subject(platform, release, decision)
    return _assess(platform, manifest, gates, now)


def risk(platform: Platform, release: str, decision: str) -> Level:
    """``low`` or ``high``; see ``assess``."""
    return assess(platform, release, decision).level


def request(platform: Platform, release: str, decision: str, excluded: Collection[str] = ()) -> Ask:
    """Whom to ask about a release, and what to show them; ``excluded`` are the starter and whoever has answered."""
    manifest, gates = _subject(platform, release, decision)
    policy = _policy(platform, manifest)
    assessment = _assess(platform, manifest, gates)
    barred = {identity(name) for name in (*excluded, manifest.author)}
    people = tuple(p for p in policy.people if identity(p) not in barred)
    body = page.body(manifest, gates, assessment, policy, platform.settings.mlflow_public_url)
    return Ask(people, page.title(manifest), body, timedelta(hours=policy.response_timeout_hours))


def answer(
    platform: Platform,
    release: str,
    decision: str,
    *,
    by: str,
    at: datetime | str,
    approve: bool,
    comment: str = "",
    where: str = "airflow",
    started_by: Collection[str] = (),
) -> Approval:
    """Keep one person's answer. Whoever may not answer is refused, and the attempt is audited.

    Raises:
        NotApproved: the person has no role that approves, made the release or started the run.
        EvidenceMissing: the gates have decided anew since the question was asked.
        Conflict: the person has answered otherwise to this evidence already.
    """
    manifest, gates = _subject(platform, release, decision)
    policy = _policy(platform, manifest)
    given = Approval(
        release=release,
        decision=decision,
        by=by,
        at=parse_moment(at) if isinstance(at, str) else at,
        answer="approve" if approve else "reject",
        automatic=False,
        comment=comment,
        where=where,
    )
    question = _question(platform, manifest, gates, policy, started_by)
    if why := quorum.void(given, question, policy):
        _audit(platform, manifest, given, "governance.refused", why)
        raise NotApproved(f"the answer of {by} does not count: {why}")
    return _keep(platform, manifest, given)


def approve_automatically(platform: Platform, release: str, decision: str, at: datetime | None = None) -> Approval:
    """Record the automatic approval of a low-risk release.

    ``at`` is by default now. A repeated task finds the approval that it gave before.

    Raises:
        NotApproved: the risk is high.
    """
    manifest, gates = _subject(platform, release, decision)
    assessment = _assess(platform, manifest, gates)
    if assessment.level != "low":
        raise NotApproved(f"{manifest.model} version {manifest.version} needs people: {assessment.summary}")
    given = Approval(
        release=release,
        decision=decision,
        by=POLICY_ACTOR,
        at=at or datetime.now(UTC),
        answer="approve",
        automatic=True,
        comment=assessment.summary,
        where="policy",
    )
    return _keep(platform, manifest, given)


def conclude(
    platform: Platform,
    release: str,
    decision: str,
    *,
    started_by: Collection[str] = (),
    now: datetime | None = None,
) -> Decision:
    """Decide on the answers so far and record it; returns only if the release is approved.

    Raises:
        NotApproved: it was rejected, or too few have answered; the decision is recorded and its reasons are quoted.
        EvidenceMissing: the gates have decided anew since.
    """
    manifest, gates = _subject(platform, release, decision)
    policy = _policy(platform, manifest)
    question = _question(platform, manifest, gates, policy, started_by)
    concluded = quorum.conclude(question, platform.ledger.journal.approvals(release), policy)
    known = _recorded(platform, manifest, concluded.action)
    _ = platform.signer  # without a key nothing is decided; what is decided and not yet signed can be signed later
    platform.ledger.journal.decide(concluded)
    attest_decision(platform, concluded, POLICY_ACTOR, now or datetime.now(UTC))
    if concluded.digest not in known:
        platform.ledger.journal.audit(_concluded(concluded, now))
    if concluded.action != "approve":
        raise NotApproved(f"{manifest.model} version {manifest.version}: {concluded.summary}")
    return concluded


def approved(platform: Platform, release: str) -> tuple[Decision, Decision]:
    """The gate decision and the approval in force: what a rollout asks for before it starts.

    Raises:
        NotApproved: the release is not ready, its newest conclusion is no approval or was given for another gate
            decision than the newest, or the gates did not compare with the present champion.
    """
    manifest = platform.ledger.releases.get(release)
    name = f"{manifest.model} version {manifest.version}"
    if (state := platform.ledger.releases.state(release)) != "ready":
        raise NotApproved(f"{name} is {state}, not ready; gates and governance come first")
    gates = _newest_gates(platform, manifest)
    if gates is None or gates.action != READY:
        raise NotApproved(f"{name}: {gates.summary if gates else 'the gates have not decided about it'}")
    conclusions = [d for d in _governance(platform, manifest) if d.action in CONCLUSIONS]
    if not conclusions or conclusions[-1].action != "approve":
        why = conclusions[-1].summary if conclusions else "governance has not decided about it"
        raise NotApproved(f"{name} is not approved: {why}")
    if gates.digest not in conclusions[-1].evidence:
        raise NotApproved(f"{name}: the gates have decided anew since the approval")
    rival = _rival(platform, manifest)
    if rival is not None and rival.digest not in gates.evidence:
        raise NotApproved(f"{name}: the gates did not compare with the present champion, version {rival.version}")
    return gates, conclusions[-1]


def _rival(platform: Platform, manifest: Release) -> Release | None:
    """The champion that the release competes with; once it is champion itself, the one before."""
    releases = platform.ledger.releases
    champion = releases.champion(manifest.model)
    itself = champion is not None and champion.digest == manifest.digest
    return releases.previous(manifest.model) if itself else champion


def _subject(platform: Platform, release: str, decision: str) -> tuple[Release, Decision]:
    manifest = platform.ledger.releases.get(release)
    gates = platform.ledger.journal.decision(decision)
    if gates.kind != "gates" or gates.subject != release:
        raise EvidenceMissing(f"{short(decision)} is no gate decision about release {short(release)}")
    newest = _newest_gates(platform, manifest)
    if newest is not None and newest.digest != decision:
        raise EvidenceMissing(
            f"the gates have decided anew ({short(newest.digest)}): answers to {short(decision)} are void; ask again"
        )
    return manifest, gates


def _newest_gates(platform: Platform, manifest: Release) -> Decision | None:
    found = platform.ledger.journal.decisions(manifest.model, "gates", manifest.digest)
    return found[-1] if found else None


def _governance(platform: Platform, manifest: Release) -> list[Decision]:
    return platform.ledger.journal.decisions(manifest.model, "governance", manifest.digest)


def _recorded(platform: Platform, manifest: Release, action: str) -> set[Digest]:
    return {d.digest for d in _governance(platform, manifest) if d.action == action}


def _policy(platform: Platform, manifest: Release) -> GovernancePolicy:
    return load_policy(GovernancePolicy, "governance", platform.settings, manifest.model)


def _assess(platform: Platform, manifest: Release, gates: Decision, now: datetime | None = None) -> RiskAssessment:
    """Assess and record once. The release itself may be champion by now: then its assessment stands."""
    policy = _policy(platform, manifest)
    champion = _rival(platform, manifest)
    assessment = assess_risk(
        manifest,
        champion,
        gates,
        policy,
        signature=_signature(platform, manifest),
        champion_signature=_signature(platform, champion) if champion else None,
    )
    entry = _as_decision(assessment, gates)
    if entry.digest not in _recorded(platform, manifest, entry.action):
        platform.ledger.journal.decide(entry)
        platform.ledger.journal.audit(_concluded(entry, now))
    return assessment


def _signature(platform: Platform, manifest: Release) -> dict[str, Any]:
    bundle = read_bundle(platform.ledger.releases.bundle(manifest.digest), manifest.digest)
    signature: dict[str, Any] = json.loads(bundle.files["signature.json"])
    return signature


def _question(
    platform: Platform, manifest: Release, gates: Decision, policy: GovernancePolicy, started_by: Collection[str]
) -> quorum.Question:
    """The present question. A risk once found high stays high, and a policy once asked under must still hold."""
    assessment = _assess(platform, manifest, gates)
    earlier = [d for d in _governance(platform, manifest) if d.action in LEVELS.values() and gates.digest in d.evidence]
    if any(d.policy != policy.digest for d in earlier):
        assessment = assessment.model_copy(update={"policy": earlier[0].policy})
    if any(d.action == LEVELS["high"] for d in earlier):
        assessment = assessment.model_copy(update={"level": "high"})
    champion = platform.ledger.releases.champion(manifest.model)
    involved = {manifest.author, *started_by}
    return quorum.Question(gates, assessment, involved, champion.digest if champion else None)


def _as_decision(assessment: RiskAssessment, gates: Decision) -> Decision:
    reasons = tuple(f"{r.trigger}: {r.detail}" for r in assessment.reasons)
    return Decision(
        kind="governance",
        action=LEVELS[assessment.level],
        model=gates.model,
        subject=assessment.release,
        reasons=reasons or ("no trigger of the policy applies",),
        evidence=(gates.digest, assessment.digest),
        policy=assessment.policy,
        as_of=gates.as_of,
    )


def _keep(platform: Platform, manifest: Release, given: Approval) -> Approval:
    """Record an answer; the audit log gets it once, however often a task is repeated. Returns the one on record."""
    known = {(a.decision, a.by): a for a in platform.ledger.journal.approvals(given.release)}
    platform.ledger.journal.approve(given)
    earlier = known.get((given.decision, given.by))
    attest_approval(platform, earlier or given)
    if earlier is not None:
        return earlier
    _audit(platform, manifest, given, f"governance.{given.answer}", given.comment or "without a comment")
    return given


def _audit(platform: Platform, manifest: Release, given: Approval, action: str, reason: str) -> None:
    event = AuditEvent(
        at=given.at,
        actor=given.by,
        action=action,
        model=manifest.model,
        subject=given.release,
        reason=reason,
        digests=(given.release, given.decision),
        detail={"where": given.where, "automatic": given.automatic, "comment": given.comment},
    )
    platform.ledger.journal.audit(event)


def _concluded(decision: Decision, now: datetime | None) -> AuditEvent:
    return AuditEvent(
        at=now or datetime.now(UTC),
        actor=POLICY_ACTOR,
        action=f"governance.{decision.action}",
        model=decision.model,
        subject=decision.subject,
        reason="; ".join(decision.reasons),
        digests=(decision.digest, *decision.evidence),
        detail={"as_of": decision.as_of.isoformat()},
    )
