"""Attestations: what was decided and done about a release, signed when it happens, and checked when somebody asks.

A record in the ledger is worth as much as the database; an attestation is worth as much as the signing key. So what was
changed, added or removed in the database afterwards shows: each record that must be attested is compared with what was
signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from pydantic import JsonValue

from modelyard.core.digest import short
from modelyard.core.errors import Untrusted
from modelyard.core.records import Approval, Attestation, AttestationKind, Release
from modelyard.core.verdict import Decision
from modelyard.ports.platform import Platform
from modelyard.ports.signing import Trust
from modelyard.signing.dsse import Envelope
from modelyard.signing.statement import read_statement, sign_statement

CONCLUSIONS = ("approve", "reject", "wait")
"""Of governance's decisions those that conclude; what it thinks of the risk is cited by them."""
_KINDS: dict[str, AttestationKind] = {"gates": "gates", "governance": "governance", "rollout": "rollout"}


def attest_decision(platform: Platform, decision: Decision, actor: str, at: datetime, **more: JsonValue) -> None:
    """Sign a decision about a release; one that is decided again right after itself is signed once.

    Raises:
        ConfigError: there is no key to sign with.
    """
    before = [a for a in platform.ledger.journal.attestations(decision.subject) if a.kind == decision.kind]
    if not before or before[-1].cites != decision.digest:
        _attest_decision(platform, decision, actor, at, more)


def attest_approval(platform: Platform, given: Approval) -> None:
    """Sign an answer, once. Raises ``ConfigError`` when there is no key to sign with."""
    if not any(a.cites == given.digest for a in platform.ledger.journal.attestations(given.release)):
        _attest_approval(platform, given, {})


def _attest_decision(
    platform: Platform, decision: Decision, actor: str, at: datetime, more: Mapping[str, JsonValue]
) -> None:
    said: dict[str, JsonValue] = {
        "action": decision.action,
        "reasons": list(decision.reasons),
        "evidence": list(decision.evidence),
        "policy": decision.policy,
        "as_of": decision.as_of.isoformat(),
    }
    _attest(platform, _KINDS[decision.kind], decision.subject, decision.digest, actor, at, {**said, **more})


def _attest_approval(platform: Platform, given: Approval, more: Mapping[str, JsonValue]) -> None:
    said: dict[str, JsonValue] = {
        "decision": given.decision,
        "answer": given.answer,
        "automatic": given.automatic,
        "comment": given.comment,
        "where": given.where,
    }
    _attest(platform, "approval", given.release, given.digest, given.by, given.at, {**said, **more})


def _attest(
    platform: Platform,
    kind: AttestationKind,
    release: str,
    cites: str,
    actor: str,
    at: datetime,
    said: Mapping[str, JsonValue],
) -> None:
    manifest = platform.ledger.releases.get(release)
    predicate: dict[str, JsonValue] = {"cites": cites, "actor": actor, "at": at.isoformat(), **said}
    envelope = sign_statement(kind, manifest, predicate, platform.signer).to_json()
    platform.ledger.journal.attest(
        Attestation(release=release, kind=kind, cites=cites, actor=actor, at=at, envelope=envelope)
    )


def faults(platform: Platform, release: Release, trust: Trust) -> Iterator[str]:
    """What is wrong with a release's attestations, and with the records that they are about."""
    records = dict(attested(platform, release))
    for one in platform.ledger.journal.attestations(release.digest):
        why = _unsound(one, trust)
        if not why and one.cites not in records:
            why = "what it cites is not on record, or was changed"
        if why:
            yield f"attestation of {one.kind} by {one.actor} ({short(one.cites)}): {why}"
    for digest, name in _unattested(platform, release, trust).items():
        yield f"{name} ({short(digest)}) is not attested: no trusted key has signed it"


def _unattested(platform: Platform, release: Release, trust: Trust) -> dict[str, str]:
    """Records about a release that no trusted key has signed, by digest."""
    kept = platform.ledger.journal.attestations(release.digest)
    sound = {one.cites for one in kept if not _unsound(one, trust)}
    return {digest: name for digest, name in attested(platform, release) if digest not in sound}


def afterwards(platform: Platform, release: Release, by: str, why: str, now: datetime) -> Iterator[str]:
    """Sign, by hand, what is on record about a release and no trusted key has signed; says what, one by one.

    The statement says that it was made afterwards, when and by whom: that person answers for the record's being true.
    """
    missing = _unattested(platform, release, platform.trust)
    late: dict[str, JsonValue] = {"afterwards": {"by": by, "why": why, "at": now.isoformat()}}
    for decision in decisions_to_attest(platform, release):
        if decision.digest in missing:
            _attest_decision(platform, decision, by, now, late)
            yield missing[decision.digest]
    for given in platform.ledger.journal.approvals(release.digest):
        if given.digest in missing:
            _attest_approval(platform, given, late)
            yield missing[given.digest]


def attested(platform: Platform, release: Release) -> Iterator[tuple[str, str]]:
    """The records about a release that must be attested: their digests as they are now, and what they are."""
    for decision in decisions_to_attest(platform, release):
        yield decision.digest, f"the {decision.kind} decision {decision.action!r}"
    for given in platform.ledger.journal.approvals(release.digest):
        yield given.digest, f"the answer {given.answer!r} of {given.by}"


def decisions_to_attest(platform: Platform, release: Release) -> list[Decision]:
    """Decisions about a release that must be attested, in the order last recorded."""
    return [
        decision
        for decision in platform.ledger.journal.decisions(release.model, subject=release.digest)
        if decision.kind in _KINDS and (decision.kind != "governance" or decision.action in CONCLUSIONS)
    ]


def _unsound(one: Attestation, trust: Trust) -> str:
    """Why an attestation is worth nothing; empty: it is sound."""
    try:
        envelope = Envelope.from_json(one.envelope)
        said = read_statement(envelope, one.kind, one.release, trust)[0].predicate
    except Untrusted as error:
        return str(error)
    wanted = {"cites": one.cites, "actor": one.actor, "at": one.at.isoformat()}
    wrong = [key for key, value in wanted.items() if said.get(key) != value]
    return f"the record of it says otherwise than what was signed ({', '.join(wrong)})" if wrong else ""
