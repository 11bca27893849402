"""The gates' flow: assess a release by its evidence, record the decision, and stop the line unless it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from modelyard.config.policies import load_policy
from modelyard.core.errors import Conflict, GateBlocked, IntegrityError
from modelyard.core.records import AuditEvent, Incident, Release
from modelyard.core.verdict import Decision, Measurement, Severity
from modelyard.flows.attest import attest_decision
from modelyard.flows.evaluate import read_evidence
from modelyard.gates import assess as gates
from modelyard.gates.policy import GatePolicy, Profile
from modelyard.ports.platform import Platform

ACTOR = "gates"


def decide(
    platform: Platform,
    release: Release,
    evidence: str | Sequence[Measurement],
    as_of: datetime,
    *,
    profile: Profile = "candidate",
) -> Decision:
    """Assess without recording anything: what the gates would say now, against the present champion.

    ``evidence`` is the digest of what ``flows.evaluate`` kept, or measurements made elsewhere.

    Raises:
        NotFound: there is no evidence of that digest.
        IntegrityError: the evidence was changed, or is about another release.
    """
    measurements, digest = _read(platform, release, evidence) if isinstance(evidence, str) else (evidence, None)
    policy = load_policy(GatePolicy, "gates", platform.settings, release.model)
    champion = platform.ledger.releases.champion(release.model)
    return gates.assess(
        policy,
        measurements,
        model=release.model,
        release=release.digest,
        champion=champion.digest if champion else None,
        as_of=as_of,
        evidence=digest,
        profile=profile,
        had_champion=champion is None and _ever_promoted(platform, release.model),
    )


def assess(
    platform: Platform,
    release_digest: str,
    evidence: str | Sequence[Measurement],
    as_of: datetime,
    *,
    now: datetime | None = None,
) -> Decision:
    """Assess a candidate, record the decision, and mark the release ``ready`` if nothing blocks it.

    The same evidence again records nothing new. ``now`` is when it is done (audit log, incidents); by default, now.

    Raises:
        NotFound: there is no such release, or no such evidence.
        Conflict: the release is quarantined; evidence does not change that.
        GateBlocked: a blocker did not pass. The decision is recorded and an incident is open.
    """
    ledger = platform.ledger
    release = ledger.releases.get(release_digest)
    if ledger.releases.state(release_digest) == "quarantined":
        raise Conflict(f"{release.model} version {release.version} is quarantined; train a new version")
    decision = decide(platform, release, evidence, as_of)
    now = now or datetime.now(UTC)
    earlier = ledger.journal.decisions(release.model, "gates", release_digest)
    _ = platform.signer  # without a key nothing is decided; what is decided and not yet signed can be signed later
    ledger.journal.decide(decision)
    attest_decision(platform, decision, ACTOR, now)
    if not earlier or earlier[-1].digest != decision.digest:
        ledger.journal.audit(_event(decision, now))
    if decision.action == gates.BLOCKED:
        if ledger.releases.state(release_digest) == "ready":
            ledger.releases.mark(release_digest, "candidate", "new evidence: the gates block it now")
        ledger.journal.raise_incident(_incident(release, decision, now))
        raise GateBlocked(f"{release.model} version {release.version} may not ship: {'; '.join(decision.reasons)}")
    ledger.releases.mark(release_digest, "ready", decision.reasons[0])
    ledger.journal.resolve_incident(_key(release), now, decision.reasons[0])
    return decision


def _ever_promoted(platform: Platform, model: str) -> bool:
    """Whether a rollout of the model ever ended in a promotion: then a ledger without a champion has lost it."""
    return any(body.get("status") == "promoted" for body in platform.ledger.rollouts.history(model))


def _read(platform: Platform, release: Release, digest: str) -> tuple[Sequence[Measurement], str]:
    kept = read_evidence(platform, release.model, digest)
    if kept.release != release.digest:
        raise IntegrityError(f"evidence {digest} is about release {kept.release}, not {release.digest}")
    return kept.measurements, kept.digest


def _event(decision: Decision, now: datetime) -> AuditEvent:
    return AuditEvent(
        at=now,
        actor=ACTOR,
        action=f"gates.{decision.action}",
        model=decision.model,
        subject=decision.subject,
        reason="; ".join(decision.reasons),
        digests=(decision.digest, *decision.evidence),
        detail={"as_of": decision.as_of.isoformat()},
    )


def _key(release: Release) -> str:
    return f"gates:{release.digest}"


def _incident(release: Release, decision: Decision, now: datetime) -> Incident:
    failed = [v.check for v in decision.verdicts if v.blocks]
    return Incident(
        key=_key(release),
        model=release.model,
        kind="gates",
        severity=Severity.BLOCKER,
        title=f"{release.model} version {release.version} is blocked by {', '.join(failed)}",
        detail="\n".join(decision.reasons),
        opened_at=now,
        evidence=(decision.digest,),
        next_step="Read the reasons; mend data or model and retrain. A policy change is reviewed like code.",
    )
