"""The rollback drill: back to the champion before, and forward again, on the real replicas; timed and on record.

A way back that is never gone may be blocked on the day it is needed. The drill goes it while nothing is wrong: each
replica is brought to the earlier champion, probed, brought back and probed again. Nothing is quarantined and nobody is
crowned: in the ledger the champion stays what it is. After a kill half way the earlier champion goes on answering until
the drill is repeated or a rollout begins; the line ``rollback drill begun`` without an end says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from modelyard.core.errors import Conflict, ModelyardError
from modelyard.core.records import AuditEvent, Incident, Release
from modelyard.core.verdict import Severity
from modelyard.flows.fleet import arm_of, follow, verify_alone
from modelyard.ports.fleet import Route
from modelyard.ports.platform import Platform

BEGUN, DONE, FAILED = "rollback drill begun", "rollback drill done", "rollback drill failed"


def drill(platform: Platform, model: str, by: str, clock: Callable[[], datetime]) -> AuditEvent:
    """Go back and forward once; returns the line of the audit log that says how long each way took.

    Users are answered by the earlier champion for as long as its probe takes. The times are from the decision until
    every replica was seen to answer with the version alone: ``back_s`` and ``forward_s`` in the event's detail.

    Raises:
        Conflict: a rollout is open, there is no champion, or none before it that is not quarantined; or a replica does
            something else than asked. The champion is brought back first, and an incident says what went wrong.
        Unavailable: a replica did not acknowledge (the same).
    """
    if (rollout := platform.ledger.rollouts.current(model)) is not None:
        raise Conflict(f"rollout {rollout} of {model} is open; a drill waits until it has ended")
    champion, previous = platform.ledger.releases.champion(model), platform.ledger.releases.previous(model)
    if champion is None or previous is None:
        raise Conflict(f"{model} has no champion before the present one to go back to: there is nothing to drill")
    begun = _event(champion, previous, by, clock(), BEGUN, "a drill", {})
    platform.ledger.journal.audit(begun)
    try:
        back = _there(platform, previous, clock)
    except ModelyardError as error:
        _failed(platform, champion, previous, by, clock, error)
        raise
    finally:
        forward = _back_again(platform, champion, clock)
    times = {"back_s": back, "forward_s": forward}
    reason = f"back to version {previous.version} in {back:.3f} s, forward to {champion.version} in {forward:.3f} s"
    done = _event(champion, previous, by, clock(), DONE, reason, times)
    platform.ledger.journal.audit(done)
    platform.ledger.journal.resolve_incident(_key(model), clock(), reason)
    return done


def drills(platform: Platform, model: str) -> list[AuditEvent]:
    """The drills on record that came to something, oldest first."""
    log = platform.ledger.journal.audit_log(model, 10_000)
    return [event for _, event in log if event.action in (DONE, FAILED)]


def _there(platform: Platform, release: Release, clock: Callable[[], datetime]) -> float:
    """Every replica answers with this version alone, and was seen to; the seconds that took."""
    begun, arm = clock(), arm_of(platform, release)
    follow(platform, Route(model=release.model, champion=arm), begun)
    verify_alone(platform, release.model, arm)
    return (clock() - begun).total_seconds()


def _back_again(platform: Platform, champion: Release, clock: Callable[[], datetime]) -> float:
    """The champion, whatever has failed; unless somebody has begun a rollout meanwhile, whose route must hold."""
    if (rollout := platform.ledger.rollouts.current(champion.model)) is not None:
        raise Conflict(f"rollout {rollout} of {champion.model} was opened during the drill: its route holds")
    try:
        return _there(platform, champion, clock)
    except ModelyardError as error:
        platform.ledger.journal.raise_incident(_stuck(champion, clock(), str(error), Severity.BLOCKER))
        raise


def _failed(
    platform: Platform,
    champion: Release,
    previous: Release,
    by: str,
    clock: Callable[[], datetime],
    error: ModelyardError,
) -> None:
    platform.ledger.journal.audit(_event(champion, previous, by, clock(), FAILED, str(error), {}))
    platform.ledger.journal.raise_incident(_stuck(champion, clock(), str(error), Severity.WARNING))


def _event(
    champion: Release, previous: Release, by: str, at: datetime, action: str, reason: str, times: dict[str, float]
) -> AuditEvent:
    return AuditEvent(
        at=at,
        actor=by,
        action=action,
        model=champion.model,
        subject=champion.digest,
        reason=reason,
        digests=(champion.digest, previous.digest),
        detail={"version": champion.version, "previous": previous.version, **times},
    )


def _stuck(champion: Release, at: datetime, detail: str, severity: Severity) -> Incident:
    return Incident(
        key=_key(champion.model),
        model=champion.model,
        kind="rollout",
        severity=severity,
        title=f"{champion.model}: the drill of the way back failed",
        detail=detail,
        opened_at=at,
        evidence=(champion.digest,),
        next_step=f"Mend the replica that is named, then `modelyard rollout drill {champion.model}`, which brings the "
        "champion back too.",
    )


def _key(model: str) -> str:
    return f"drill-failed:{model}"
