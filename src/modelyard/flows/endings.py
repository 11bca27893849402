"""How a rollout ends: promotion, or the way back to the champion. Each may be repeated until it is done.

A promotion changes the replicas, verifies them, and only then records a new champion: until it is recorded a person
may call it off, and whoever asks the ledger never hears of a champion that was not seen to answer. The way back gives
users the champion first and writes about it afterwards. An ending that fails is an incident, for a person to decide:
trying again may mend it, and nothing tries for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from modelyard.core.errors import Conflict, ModelyardError, Unavailable
from modelyard.core.records import Incident
from modelyard.core.verdict import Severity
from modelyard.flows.fleet import tripped, verify_alone
from modelyard.flows.projections import project_aliases, project_state
from modelyard.flows.rollout_records import PLATFORM, audit_once, conclude, move, open_rollout, read, save, subject
from modelyard.ports.fleet import Route
from modelyard.ports.platform import Platform
from modelyard.rollout.state import RolloutState


def promote(platform: Platform, rollout: str, now: datetime, *, by: str = "", why: str = "") -> RolloutState:
    """Make the release the champion: on every replica, then, once verified, in the ledger and in MLflow's aliases.

    With ``by`` a person insists before the last stage was passed; this is recorded as a manual override. A revert that
    was begun is ended in the same way. A guardrail that has tripped since the last look rolls it back instead, unless a
    person has decided for the release.

    Raises:
        Conflict: it has not been earned, and nobody insists; the release was quarantined meanwhile; or a replica does
            something else (an incident says so, and a person may abort).
        Unavailable: a replica did not acknowledge (the same), or all is done but MLflow's aliases.
    """
    state = read(platform, rollout)
    if not by and (called_off := _tripped_since(platform, state, "promote", now)) is not None:
        return called_off
    reason = f"manual override by {by}: {why}" if by else state.reason
    state = save(platform, state, state.begin_promotion(reason, by or PLATFORM, now, by_hand=bool(by)))
    return complete(platform, state, now)


def complete(platform: Platform, state: RolloutState, now: datetime) -> RolloutState:
    """Carry a promotion out that was decided on; see ``promote``."""
    if not state.closed:
        if not state.verified:
            with _incident_on_failure(platform, state, now):
                _take_over(platform, state, now)
            state = save(platform, state, state.verify(now))
        _record(platform, state, now)
        state = save(platform, state, state.finish(now), closed=now)
    _project(platform, state)
    return state


def roll_back(platform: Platform, rollout: str, now: datetime, *, by: str = "", why: str = "") -> RolloutState:
    """Give all traffic back to the champion, verify it on every replica, quarantine the release, say so.

    With ``by`` a person may call a promotion off that was not verified yet. Whoever calls a revert off quarantines
    nothing: the champion stays, and nothing was found against the version before it.

    Raises:
        Conflict: the release is champion already, or a replica does something else.
        Unavailable: a replica did not acknowledge (the others are back already), and doing it again goes on; or all is
            done but MLflow's aliases.
    """
    state = read(platform, rollout)
    state = save(platform, state, state.begin_rollback(why or state.reason, by or PLATFORM, now, by_hand=bool(by)))
    at = state.decided_at or now
    if not state.closed:
        with _incident_on_failure(platform, state, now):
            move(platform, state, Route(model=state.model, champion=state.champion), now)
            if state.strategy != "revert":
                platform.ledger.releases.mark(state.release, "quarantined", state.reason)
            verify_alone(platform, state.model, state.champion)
        conclude(platform, state, "rollback", at)
        platform.ledger.journal.raise_incident(_rolled_back(state, at))
        platform.ledger.journal.resolve_incident(_stuck(state), now, "the champion answers everywhere")
        state = save(platform, state, state.finish(now), closed=now)
    _project(platform, state)
    return state


def stand_down(platform: Platform, rollout: str, now: datetime) -> RolloutState:
    """End a shadow that was passed: the champion alone on every replica, verified; nothing is held against the release.

    A guardrail that has tripped since the last look rolls it back instead.

    Raises:
        Conflict: its stage was not passed, or a replica does something else (an incident says so).
        Unavailable: a replica did not acknowledge; doing it again goes on.
    """
    state = read(platform, rollout)
    if (called_off := _tripped_since(platform, state, "conclude", now)) is not None:
        return called_off
    state = save(platform, state, state.begin_conclusion(state.reason, PLATFORM, now))
    if state.closed:
        return state
    with _incident_on_failure(platform, state, now):
        move(platform, state, Route(model=state.model, champion=state.champion), now)
        verify_alone(platform, state.model, state.champion)
    conclude(platform, state, "conclude", state.decided_at or now)
    platform.ledger.journal.resolve_incident(_stuck(state), now, "the champion answers everywhere")
    return save(platform, state, state.finish(now), closed=now)


def abort(platform: Platform, model: str, by: str, why: str, now: datetime) -> RolloutState:
    """Roll the open rollout of a model back by hand. Raises ``Conflict`` when none is open."""
    return roll_back(platform, open_rollout(platform, model).id, now, by=by, why=f"aborted by {by}: {why}")


def _tripped_since(platform: Platform, state: RolloutState, action: str, now: datetime) -> RolloutState | None:
    """Roll back what a guardrail has taken off after the last look decided for it; None when nothing has tripped.

    Asked at every try, before the replicas are moved: the route that ends a rollout makes them forget the trip.
    """
    decided = state.status == "running" and state.action == action
    begun = state.status in ("promoting", "concluding") and not state.verified and state.decided_by == PLATFORM
    if not (decided or begun):
        return None
    found = tripped(platform, state.model, state.id, state.challenger)
    if not found:
        return None
    reason = f"a guardrail tripped after the last look ({found})"
    save(platform, state, state.begin_rollback(reason, PLATFORM, now, tripped=True))
    return roll_back(platform, state.id, now)


def _take_over(platform: Platform, state: RolloutState, now: datetime) -> None:
    """Everybody is answered by the challenger; seen on every replica."""
    if platform.ledger.releases.state(state.release) == "quarantined":
        raise Conflict(f"{state.model} version {state.challenger.version} is quarantined and cannot become champion")
    move(platform, state, Route(model=state.model, champion=state.challenger), now)
    verify_alone(platform, state.model, state.challenger)


def _record(platform: Platform, state: RolloutState, now: datetime) -> None:
    """Crown what was verified; in a revert, the release that was taken back is quarantined for good."""
    ledger, at = platform.ledger, state.decided_at or now
    ledger.releases.crown(state.model, state.release, state.id, at)
    if state.strategy == "revert" and state.champion is not None:
        ledger.releases.mark(state.champion.release, "quarantined", state.reason)
        conclude(platform, state, "revert", at)
        ledger.journal.raise_incident(_reverted(state, at))
    else:
        conclude(platform, state, "promote", at)
    ledger.journal.resolve_incident(_stuck(state), now, "verified on every replica")


def _project(platform: Platform, state: RolloutState) -> None:
    try:
        project_aliases(platform, state.model)
        if state.status == "rolled_back" or state.strategy == "revert":
            project_state(platform, subject(state))
    except Unavailable as error:
        raise Unavailable(
            f"{state.summary}. This is done and recorded; MLflow's aliases and tags lag behind until "
            f"`modelyard reconcile {state.model}` or its hourly run: {error}"
        ) from error


@contextmanager
def _incident_on_failure(platform: Platform, state: RolloutState, now: datetime) -> Iterator[None]:
    """An ending that does not come about must not stay between a task and its log."""
    try:
        yield
    except ModelyardError as error:
        if read(platform, state.id) == state:  # else somebody else has taken it on
            platform.ledger.journal.raise_incident(_unfinished(state, error, now))
            audit_once(platform, state, f"rollout {state.status} failed", PLATFORM, now, str(error))
        raise


def _stuck(state: RolloutState) -> str:
    return f"rollout-stuck:{state.id}"


def _unfinished(state: RolloutState, error: ModelyardError, now: datetime) -> Incident:
    again = "revert" if state.strategy == "revert" else "promote"
    commands = [again, "abort"] if state.status == "promoting" else ["abort"]
    doing = state.status.replace("_", " ")
    named = " or ".join(f"`modelyard rollout {command} {state.model}`" for command in commands)
    named += " or clear the task `stand_down` in Airflow" if state.status == "concluding" else ""
    return Incident(
        key=_stuck(state),
        model=state.model,
        kind="rollout",
        severity=Severity.BLOCKER,
        title=f"{state.model} version {state.challenger.version}: {doing} could not be verified",
        detail=str(error),
        opened_at=now,
        evidence=(state.release, state.gates, state.governance),
        next_step=f"Mend the replica that is named, then {named}; the rollout stays open until then.",
    )


def _rolled_back(state: RolloutState, at: datetime) -> Incident:
    name = f"{state.model} version {state.challenger.version}"
    revert = state.strategy == "revert"
    fate = "Nothing is quarantined" if revert else "The release is quarantined"
    return Incident(
        key=f"rolled-back:{state.id}",
        model=state.model,
        kind="rollout",
        severity=Severity.BLOCKER if state.champion is None else Severity.WARNING,
        title=f"the way back to {name} was called off" if revert else f"{name} was rolled back",
        detail=state.reason,
        opened_at=at,
        evidence=(state.release, state.gates, state.governance),
        next_step=f"{fate}; `modelyard rollout history {state.model}` shows the evidence.",
    )


def _reverted(state: RolloutState, at: datetime) -> Incident:
    left = state.champion.version if state.champion else "none"
    return Incident(
        key=f"reverted:{state.id}",
        model=state.model,
        kind="rollout",
        severity=Severity.WARNING,
        title=f"{state.model} went back from version {left} to version {state.challenger.version}",
        detail=state.reason,
        opened_at=at,
        evidence=(subject(state), state.release),
        next_step=f"Version {left} is quarantined: find out why it passed, then train a new one "
        f"(`modelyard rollout history {state.model}`).",
    )
