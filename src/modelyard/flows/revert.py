"""The way back after a promotion: an earlier champion takes the place of the present one, at once.

An emergency brake: it needs the ledger and the replicas, not Airflow. What is wanted is written down before anything
is done, as a rollout of the strategy ``revert``, so that the same command goes on after a crash at any point.
"""

from __future__ import annotations

from datetime import datetime

from modelyard.core.digest import digest_json, short
from modelyard.core.errors import Conflict, IntegrityError
from modelyard.core.records import Release
from modelyard.flows.endings import complete
from modelyard.flows.fleet import arm_of
from modelyard.flows.rollout_records import audit_once, history, read
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle
from modelyard.rollout.state import RolloutState


def revert(
    platform: Platform,
    model: str,
    by: str,
    why: str,
    now: datetime,
    *,
    to: int | None = None,
    asked: datetime | None = None,
) -> RolloutState:
    """Go back from the champion to the champion before it, or to the earlier champion with version ``to``.

    Every replica is brought to it and probed; then it is crowned, and the release that was left is quarantined. A
    revert that was begun is gone on with; one that has just been done is done, and is returned: whoever wants to go
    back one version more names it. Whoever may be repeating an old wish says when it was ``asked``: it was about the
    champion of then, and not about one that was crowned since.

    Raises:
        Conflict: there is no champion, or none before it; another rollout is open; the target never was champion or is
            quarantined; the champion was crowned after it was ``asked``; or a replica refuses it (an incident says so;
            repeat, or abort).
        IntegrityError: the target's bundle cannot be read as it was released. Nothing was changed.
        Unavailable: a replica did not acknowledge (the others are back already); doing it again goes on.
        NotFound: the model has no such version.
    """
    state = _begun(platform, model, to) or _begin(platform, model, by, why, now, to, asked)
    audit_once(platform, state, "rollout revert begun", state.decided_by, state.opened_at, state.reason)
    return complete(platform, state, now)


def _begun(platform: Platform, model: str, to: int | None) -> RolloutState | None:
    """The revert that this call repeats: the open one, or the one that made the present champion just now."""
    rollouts = history(platform, model)
    if (current := platform.ledger.rollouts.current(model)) is not None:
        state = read(platform, current)
        if state.strategy != "revert":
            raise Conflict(_in_the_way(state))
        if to not in (None, state.challenger.version):
            raise Conflict(
                f"a revert to version {state.challenger.version} of {model} is open: repeat it, or call it off with "
                f"`modelyard rollout abort {model}`"
            )
        return state
    champion = platform.ledger.releases.champion(model)
    last = rollouts[-1] if rollouts else None
    if last is None or champion is None or (last.strategy, last.status) != ("revert", "promoted"):
        return None
    return last if last.release == champion.digest and to in (None, champion.version) else None


def _in_the_way(state: RolloutState) -> str:
    if state.verified:
        return (
            f"{state.id} is on every replica and only its record is missing: end it with "
            f"`modelyard rollout promote {state.model}`, then revert"
        )
    return f"rollout {state.id} is open: `modelyard rollout abort {state.model}` gives the traffic back to the champion"


def _begin(
    platform: Platform, model: str, by: str, why: str, now: datetime, to: int | None, asked: datetime | None
) -> RolloutState:
    champion = platform.ledger.releases.champion(model)
    if champion is None:
        raise Conflict(f"{model} has no champion to go back from")
    rollouts = history(platform, model)
    _still_meant(rollouts, champion, asked)
    target = _target(platform, champion, to)
    promotion = _promotion(rollouts, target)
    _readable(platform, target)
    reverts = sum(state.strategy == "revert" for state in rollouts)
    name = short(digest_json([champion.digest, target.digest, reverts]), 8)
    wanted = RolloutState(
        id=f"{model}-v{target.version}-revert-{name}",
        model=model,
        release=target.digest,
        challenger=arm_of(platform, target),
        champion=arm_of(platform, champion),
        strategy="revert",
        paired=promotion.paired,
        # What it was promoted on. The policy file is not read: a fault in it must not be in the way now.
        policy=promotion.policy,
        gates=promotion.gates,
        governance=promotion.governance,
        as_of=target.as_of,
        opened_at=now,
    ).begin_revert(f"reverted by {by}: {why}", by, now)
    platform.ledger.rollouts.open(wanted.id, model, target.digest, wanted.to_dict(), now)
    return read(platform, wanted.id)


def _still_meant(rollouts: list[RolloutState], champion: Release, asked: datetime | None) -> None:
    crowned = [state.decided_at for state in rollouts if (state.release, state.status) == (champion.digest, "promoted")]
    since = crowned[-1] if crowned else None
    if asked is not None and since is not None and since > asked:
        raise Conflict(
            f"version {champion.version} of {champion.model} has become champion since this was asked for, at "
            f"{asked.isoformat()}: nothing was reverted; ask again if it is this version that must go"
        )


def _target(platform: Platform, champion: Release, to: int | None) -> Release:
    releases, model = platform.ledger.releases, champion.model
    target = releases.previous(model) if to is None else releases.by_version(model, to)
    if target is None:
        raise Conflict(
            f"there is no champion of {model} before version {champion.version} to go back to (a quarantined one never "
            "is): roll out another version"
        )
    if target.digest == champion.digest:
        raise Conflict(f"version {to} of {model} is the champion already")
    if releases.state(target.digest) == "quarantined":
        raise Conflict(f"version {target.version} of {model} is quarantined and is never taken up again; name another")
    return target


def _promotion(rollouts: list[RolloutState], target: Release) -> RolloutState:
    """The rollout that made the target a champion: its evidence is what a revert stands on."""
    promoted = [state for state in rollouts if state.status == "promoted"]
    found = [state for state in promoted if state.release == target.digest]
    if not found:
        known = ", ".join(str(v) for v in sorted({state.challenger.version for state in promoted}))
        raise Conflict(
            f"version {target.version} of {target.model} never was champion (those that were: {known or 'none'}): "
            "a version that was not goes through a rollout"
        )
    return found[-1]


def _readable(platform: Platform, target: Release) -> None:
    bundle = platform.ledger.releases.bundle(target.digest)
    try:
        read_bundle(bundle, target.digest)
    except OSError as error:
        raise IntegrityError(f"the bundle of version {target.version}, {bundle}, cannot be read: {error}") from error
