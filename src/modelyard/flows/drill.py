"""The rollback drill: back to the champion before, and forward again, on the real replicas; timed and on record.

A way back that is never gone may be blocked on the day it is needed. The drill goes it while nothing is wrong: each
replica is brought to the earlier champion, probed, brought back and probed again. Nothing is quarantined and nobody is
crowned: in the ledger the champion stays what it is.

An incident is opened before the first replica is moved, and resolved once the champion was seen to answer everywhere.
So a drill that is killed half way has said that the earlier champion may be answering; the next one only goes forward.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from modelyard.core.errors import Conflict, ModelyardError
from modelyard.core.records import AuditEvent, Incident, Release
from modelyard.core.verdict import Severity
from modelyard.flows.fleet import arm_of, follow, verify_alone
from modelyard.flows.rollout_records import read
from modelyard.ports.fleet import Route
from modelyard.ports.platform import Platform
from modelyard.rollout.state import RolloutState

BEGUN, DONE, FAILED = "rollback drill begun", "rollback drill done", "rollback drill failed"
FINISHED = "rollback drill finished forward"
Clock = Callable[[], datetime]


def drill(platform: Platform, model: str, by: str, clock: Clock) -> AuditEvent:
    """Go back and forward once; returns the line of the audit log that says how long each way took.

    Users are answered by the earlier champion for as long as its probe takes. The times are from the decision until
    every replica was seen to answer with the version alone: ``back_s`` and ``forward_s`` in the event's detail. After a
    drill that did not come to its end, this one only brings the champion back: its line has no ``back_s``.

    Raises:
        Conflict: see ``obstacle``; or a replica does something else than asked. The champion is brought back first, and
            an incident says what went wrong.
        Unavailable: a replica did not acknowledge (the same).
    """
    if _under_way(platform, model):
        return _finish(platform, model, by, clock)
    champion, previous = platform.ledger.releases.champion(model), platform.ledger.releases.previous(model)
    if (why := obstacle(platform, model)) or champion is None or previous is None:
        raise Conflict(why)
    platform.ledger.journal.audit(_event(champion, by, clock(), BEGUN, "a drill", {"previous": previous.version}))
    platform.ledger.journal.raise_incident(_begun(champion, previous, clock()))
    try:
        back = _there(platform, previous, clock)
    except (ModelyardError, KeyboardInterrupt) as error:
        why = str(error) or "interrupted"
        platform.ledger.journal.raise_incident(_failed(champion, clock(), why))
        platform.ledger.journal.audit(_event(champion, by, clock(), FAILED, why, {"previous": previous.version}))
        _forward(platform, model, clock)
        raise
    now_champion, forward = _forward(platform, model, clock)
    reason = f"back to version {previous.version} in {back:.3f} s, forward to {now_champion.version} in {forward:.3f} s"
    times = {"previous": previous.version, "back_s": back, "forward_s": forward}
    done = _event(champion, by, clock(), DONE, reason, times)
    platform.ledger.journal.audit(done)
    platform.ledger.journal.resolve_incident(f"drill-failed:{model}", clock(), reason)
    return done


def obstacle(platform: Platform, model: str) -> str:
    """What keeps a drill from being begun now; empty where nothing does, or where one is to be ended first."""
    if _under_way(platform, model):
        return ""
    if (rollout := platform.ledger.rollouts.current(model)) is not None:
        return f"rollout {rollout} of {model} is open; a drill waits until it has ended"
    if platform.ledger.releases.previous(model) is None:
        return f"{model} has no champion before the present one to go back to: there is nothing to drill"
    return ""


def drills(platform: Platform, model: str) -> list[AuditEvent]:
    """The drills on record that came to something, oldest first."""
    log = platform.ledger.journal.audit_log(model, 10_000)
    return [event for _, event in log if event.action in (DONE, FAILED, FINISHED)]


def _there(platform: Platform, release: Release, clock: Clock) -> float:
    """Every replica answers with this version alone, and was seen to; the seconds that took."""
    begun, arm = clock(), arm_of(platform, release)
    follow(platform, Route(model=release.model, champion=arm), begun)
    verify_alone(platform, release.model, arm)
    return (clock() - begun).total_seconds()


def _forward(platform: Platform, model: str, clock: Clock) -> tuple[Release, float]:
    """Whoever is champion by now, whatever has failed; unless a rollout has moved the replicas, or is about to.

    Where this fails, the incident that the drill opened stays open.
    """
    rollout, champion = platform.ledger.rollouts.current(model), platform.ledger.releases.champion(model)
    if champion is None:
        raise Conflict(f"{model} has no champion any more")
    if rollout is not None and _moves(read(platform, rollout)):
        why = f"rollout {rollout} of {model} was begun during the drill: its route holds"
        platform.ledger.journal.resolve_incident(_key(model), clock(), why)
        raise Conflict(why)
    took = _there(platform, champion, clock)
    platform.ledger.journal.resolve_incident(_key(model), clock(), "the champion answers everywhere")
    return champion, took


def _moves(state: RolloutState) -> bool:
    """Whether a rollout has written down where it wants the replicas: a pending one has not until it enters a stage."""
    return state.status != "pending" or state.entering >= 0


def _finish(platform: Platform, model: str, by: str, clock: Clock) -> AuditEvent:
    champion, took = _forward(platform, model, clock)
    reason = f"a drill did not come to its end; forward to {champion.version} in {took:.3f} s"
    finished = _event(champion, by, clock(), FINISHED, reason, {"forward_s": took})
    platform.ledger.journal.audit(finished)
    return finished


def _under_way(platform: Platform, model: str) -> bool:
    """Whether a drill has not said yet that the champion is back."""
    incidents = platform.ledger.journal.incidents(model, open_only=True)
    return any(incident.key == _key(model) for _, _, incident in incidents)


def _event(
    champion: Release, by: str, at: datetime, action: str, reason: str, detail: dict[str, int | float]
) -> AuditEvent:
    return AuditEvent(
        at=at,
        actor=by,
        action=action,
        model=champion.model,
        subject=champion.digest,
        reason=reason,
        digests=(champion.digest,),
        detail={"version": champion.version, **detail},
    )


def _begun(champion: Release, previous: Release, at: datetime) -> Incident:
    """What a person should know should the drill get no further."""
    return Incident(
        key=_key(champion.model),
        model=champion.model,
        kind="rollout",
        severity=Severity.BLOCKER,
        title=f"{champion.model}: version {previous.version} may be answering instead of {champion.version}",
        detail="A drill of the way back is under way, or was stopped before it had brought the champion back.",
        opened_at=at,
        evidence=(champion.digest, previous.digest),
        next_step="Should this still be open after a minute: mend what stopped it, then clear the run in Airflow or "
        f"`modelyard rollout drill {champion.model}`, which brings the champion back.",
    )


def _failed(champion: Release, at: datetime, detail: str) -> Incident:
    return Incident(
        key=f"drill-failed:{champion.model}",
        model=champion.model,
        kind="rollout",
        severity=Severity.WARNING,
        title=f"{champion.model}: the drill of the way back failed",
        detail=detail,
        opened_at=at,
        evidence=(champion.digest,),
        next_step=f"Mend the replica that is named, then `modelyard rollout drill {champion.model}`.",
    )


def _key(model: str) -> str:
    return f"drill-under-way:{model}"
