"""What every step of a rollout reads and writes: its state, its decision, its lines of the audit log."""

from __future__ import annotations

from datetime import datetime

from modelyard.core.errors import Conflict, ModelyardError
from modelyard.core.records import AuditEvent, Incident
from modelyard.core.value import Digest
from modelyard.core.verdict import Decision, Severity
from modelyard.flows.attest import attest_decision
from modelyard.flows.fleet import follow
from modelyard.ports.fleet import Route
from modelyard.ports.platform import Platform
from modelyard.rollout.state import RolloutState

PLATFORM = "modelyard"
REPEATABLE = ("rollout paused", "rollout resumed")


def read(platform: Platform, rollout: str) -> RolloutState:
    """Where a rollout stands. Raises ``NotFound``."""
    return RolloutState.model_validate(platform.ledger.rollouts.get(rollout)[0])


def history(platform: Platform, model: str) -> list[RolloutState]:
    """All rollouts of a model, oldest first."""
    return [RolloutState.model_validate(body) for body in platform.ledger.rollouts.history(model)]


def open_rollout(platform: Platform, model: str) -> RolloutState:
    """The open rollout of a model. Raises ``Conflict`` when none is open."""
    rollout = platform.ledger.rollouts.current(model)
    if rollout is None:
        raise Conflict(f"no rollout of {model} is open; to take a promotion back, `modelyard rollout revert {model}`")
    return read(platform, rollout)


def save(platform: Platform, old: RolloutState, new: RolloutState, *, closed: datetime | None = None) -> RolloutState:
    """Keep a change, unless another writer was there first (then ``Conflict``)."""
    if new == old and closed is None:
        return new
    body, revision = platform.ledger.rollouts.get(old.id)
    if RolloutState.model_validate(body) != old:
        raise _changed(old)
    platform.ledger.rollouts.save(old.id, new.to_dict(), revision, closed_at=closed)
    return new


def move(platform: Platform, state: RolloutState, route: Route, now: datetime) -> None:
    """Bring every replica to a route, in the name of a rollout that nobody has changed meanwhile.

    A person may abort while replicas are loading: then the champion's traffic, which the abort has restored, must not
    stay undone by whoever was slower.

    Raises:
        Conflict: somebody else has changed the rollout, or a replica refuses the route.
        Unavailable: a replica did not acknowledge; doing it again goes on.
    """
    if read(platform, state.id) != state:
        raise _changed(state)
    follow(platform, route, now)
    found = read(platform, state.id)
    if found == state:
        return
    called_off = found.status in ("rolling_back", "rolled_back") and state.status != "rolling_back"
    if called_off and platform.ledger.rollouts.current(state.model) in (None, state.id):
        follow(platform, Route(model=state.model, champion=state.champion), now)
    raise _changed(state)


def conclude(platform: Platform, state: RolloutState, action: str, at: datetime) -> None:
    """Record how a rollout has ended: the decision with its evidence, and a line of the audit log."""
    looks = platform.ledger.rollouts.looks(state.id)
    decision = Decision(
        kind="rollout",
        action=action,
        model=state.model,
        subject=subject(state),
        reasons=(state.reason or action,),
        verdicts=looks[-1].verdicts if looks else (),
        evidence=(state.gates, state.governance, *(run.digest for run in looks)),
        policy=state.policy.digest,
        as_of=at,
    )
    platform.ledger.journal.decide(decision)
    _attest(platform, state, decision, at)
    audit_once(platform, state, f"rollout {action}", state.decided_by or PLATFORM, at, state.reason)


def _attest(platform: Platform, state: RolloutState, decision: Decision, at: datetime) -> None:
    """Sign the outcome. What has happened to users is not undone or held up because it cannot be signed."""
    actor, key = state.decided_by or PLATFORM, f"unattested:{state.id}"
    try:
        attest_decision(platform, decision, actor, at, rollout=state.id, strategy=state.strategy, stage=state.stage)
    except (ModelyardError, OSError) as error:
        incident = Incident(
            key=key,
            model=state.model,
            kind="rollout",
            severity=Severity.WARNING,
            title=f"the outcome of {state.id} ({decision.action}) could not be signed",
            detail=str(error),
            opened_at=at,
            evidence=(decision.digest,),
            next_step=f"Mend the signing key, then `modelyard release sign {decision.subject}`.",
        )
        platform.ledger.journal.raise_incident(incident)


def audit_once(platform: Platform, state: RolloutState, action: str, actor: str, at: datetime, reason: str) -> None:
    """The log only grows: a step that is repeated after a crash must not be written down twice."""
    event = AuditEvent(
        at=at,
        actor=actor,
        action=action,
        model=state.model,
        subject=subject(state),
        reason=reason or action,
        digests=(state.gates, state.governance),
        detail={"rollout": state.id, "version": state.challenger.version, "stage": state.stage},
    )
    journal = platform.ledger.journal
    same = (e for _, e in journal.audit_log(state.model) if e.action == action and e.detail.get("rollout") == state.id)
    if action in REPEATABLE or next(same, None) is None:
        journal.audit(event)


def subject(state: RolloutState) -> Digest:
    """The release that is judged: the one rolled out; in a revert, the one that is taken back."""
    return state.champion.release if state.strategy == "revert" and state.champion else state.release


def _changed(state: RolloutState) -> Conflict:
    return Conflict(f"rollout {state.id} was changed by somebody else meanwhile; look again")
