"""The staged rollout of a release, one step at a time. Every step may be repeated: what was done stays done.

Each step writes down what is wanted, does it, and writes down that it was done; after a crash at any point the same
step leads to the same end. Users are protected first: the split changes before anything is written about it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from modelyard.config.project import ModelSpec, load_project
from modelyard.core.digest import digest_json, short
from modelyard.core.errors import ConfigError, Conflict, Unavailable
from modelyard.core.records import Incident, Release
from modelyard.core.value import Digest
from modelyard.core.verdict import Measurement, Severity
from modelyard.flows import endings, fleet_checks
from modelyard.flows.endings import abort, roll_back, stand_down
from modelyard.flows.fleet import arm_of, follow, recorded, restore, smoke, threshold, tripped
from modelyard.flows.govern import approved
from modelyard.flows.revert import revert
from modelyard.flows.rollout_records import PLATFORM, audit_once, history, move, open_rollout, read, save
from modelyard.ports.fleet import Route
from modelyard.ports.platform import Platform
from modelyard.rollout.decide import decide
from modelyard.rollout.look import measurements
from modelyard.rollout.policy import RolloutPolicy, load_rollout_policy
from modelyard.rollout.state import DECIDED, RolloutState


def start(platform: Platform, release: str, now: datetime) -> RolloutState:
    """Open the rollout of an approved release. The same release and approval find the same rollout.

    One that has ``concluded`` (a shadow) is found too, unless the policy names another strategy by now.

    Raises:
        NotApproved: see ``flows.govern.approved``.
        ConfigError: the policy's strategy cannot judge this model.
        Conflict: another rollout of the model is open; the release is champion already, or was left by a revert.
    """
    ledger = platform.ledger
    body = ledger.releases.get(release)
    gates, governance = approved(platform, release)
    champion = ledger.releases.champion(body.model)
    policy = load_rollout_policy(platform.settings, body.model)
    spec = load_project(body.model, platform.settings).spec
    paired = not spec.label.depends_on_answer
    if champion is not None:
        _fits(policy, spec, platform)
    rollout = _name(platform, body, governance.digest, policy)
    state = RolloutState(
        id=rollout,
        model=body.model,
        release=release,
        challenger=arm_of(platform, body),
        champion=None if champion is None else arm_of(platform, champion),
        strategy="first" if champion is None else policy.strategy,
        paired=paired,
        policy=policy,
        gates=gates.digest,
        governance=governance.digest,
        as_of=body.as_of,
        opened_at=now,
    )
    if champion is not None and champion.digest == release and ledger.rollouts.current(body.model) is None:
        known = [old["id"] for old in ledger.rollouts.history(body.model)]
        if rollout not in known:
            raise Conflict(f"{body.model} version {body.version} is the champion already")
    ledger.rollouts.open(rollout, body.model, release, state.to_dict(), now)
    kept = read(platform, rollout)
    if kept.status == "promoted" and (champion is None or champion.digest != release):
        raise Conflict(
            f"{kept.id} was promoted and left again since; governance must approve version {body.version} anew"
        )
    audit_once(platform, kept, "rollout opened", PLATFORM, now, "approved")
    return kept


def enter(platform: Platform, rollout: str, stage: int, now: datetime) -> RolloutState:
    """Bring every replica to the split of a stage. A stage that has been entered is entered.

    Nobody looks between two stages. So each try asks the replicas first: a guardrail that has tripped begins the way
    back instead, and so may the deadline of the stage before, once tries to go on from it have failed for some time.

    Raises:
        Conflict: the stage before has not been passed, the rollout is paused, or a replica refuses the version.
        Unavailable: a replica did not acknowledge, and the others are back at the split before; doing it again goes on.
    """
    state = read(platform, rollout)
    if state.stage >= stage:
        return state
    state = _watch(platform, state, stage, now)
    if state.status == "rolling_back":
        return state
    state = save(platform, state, state.begin_stage(stage, now))
    try:
        move(platform, state, route_of(state, stage, len(platform.settings.gateway_urls)), now)
    except (Unavailable, Conflict):
        _undo(platform, state, now)
        raise
    return save(platform, state, state.enter(stage, now))


def look(platform: Platform, rollout: str, now: datetime) -> RolloutState:
    """Measure, decide, record both; ``state.action`` says what is to be done next.

    Only one thing is done at once: when the look ends the rollout, the traffic goes back to the champion.

    A closed rollout, or one that has decided already, is returned as it is.
    """
    state = read(platform, rollout)
    if state.status != "running" or state.action in DECIDED:
        return state
    return _look(platform, state, now)


def promote(platform: Platform, rollout: str, now: datetime, *, by: str = "", why: str = "") -> RolloutState:
    """See ``endings.promote``. What the last look found must be fresh: after a long silence it is looked at again.

    Raises:
        Conflict: also when the new look does not promote.
    """
    state = read(platform, rollout)
    if not by and not state.paused and (state.status, state.action) == ("running", "promote") and state.stale(now):
        state = _look(platform, state, now)
        if state.status == "rolling_back":
            return roll_back(platform, rollout, now)
        if state.action != "promote":
            raise Conflict(
                f"{state.summary}: the look that promoted it was too old, and a new one says {state.action}. "
                "Clear the run of the rollout's DAG, which then looks until the stage comes to something"
            )
    return endings.promote(platform, rollout, now, by=by, why=why)


def _look(platform: Platform, state: RolloutState, now: datetime) -> RolloutState:
    """What counts is the record: after a crash between it and the state, the look on record is acted on first."""
    found = decide(state, measure(platform, state, now), now)
    run = platform.ledger.rollouts.look(found)
    if run.action == "ask":
        _ask(platform, state, "; ".join(run.reasons), (run.digest,), now)
    looked = state.looked(run.action, "; ".join(run.reasons), run.as_of)
    if run.action != "rollback":
        kept = save(platform, state, looked)
        # What this look has found must not wait: it is the next one.
        return kept if run.as_of == found.as_of or run.action in DECIDED else _look(platform, kept, now)
    ending = save(platform, state, looked.begin_rollback(looked.reason, PLATFORM, now))
    _protect(platform, ending, now)
    return ending


def measure(platform: Platform, state: RolloutState, now: datetime) -> list[Measurement]:
    """What a look is based on. A replica that is behind is brought to the wanted route first."""
    states, healthy = fleet_checks.replicas(platform, state, now)
    if state.strategy == "first":
        return [_smoke(platform, state, healthy), healthy, *fleet_checks.ask(platform, state, healthy)]
    frame = platform.predictions.rollout(state.model, state.id)
    trips = recorded(platform, state.model, state.id, state.challenger)
    smoked = [_smoke(platform, state, healthy)] if state.strategy == "blue_green" else []
    return [
        *smoked,
        *measurements(state, states, frame, now, _thresholds(state), trips),
        *fleet_checks.measure(platform, state, states, healthy, frame),
    ]


def pause(platform: Platform, model: str, by: str, now: datetime, *, paused: bool = True) -> RolloutState:
    """Hold the open rollout where it is (guardrails and clear harm still end it), or let it go on."""
    state = open_rollout(platform, model)
    changed = save(platform, state, state.pause(paused, by, now))
    audit_once(platform, changed, f"rollout {'paused' if paused else 'resumed'}", by, now, "by hand")
    return changed


def route_of(state: RolloutState, stage: int, replicas: int) -> Route:
    """The route of a stage. A first release is the champion of its own rollout: there is nobody to compare it with."""
    if state.champion is None:
        return Route(model=state.model, champion=state.challenger, rollout=state.id)
    return Route(
        model=state.model,
        champion=state.champion,
        challenger=state.challenger,
        weight=state.stages[stage].basis_points,
        salt=state.release,
        paired=state.paired or state.stages[stage].shadow,
        sample=round(state.stages[stage].sample * 100),
        rollout=state.id,
        guardrails=state.policy.guardrails.limits(replicas).to_dict(),
    )


def _undo(platform: Platform, state: RolloutState, now: datetime) -> None:
    """A step counts on every replica or on none: back to the split of the stage before.

    A replica that is silent now comes back with what it acknowledged last, which is this very split. Where somebody
    else has changed the rollout meanwhile, what they did holds; a pause is no change of the split.

    Before the first stage the challenger stays loaded and is asked by nobody, in the same rollout: a replica that
    forgot it would forget its guardrails' evidence, and a trip, at each try.
    """
    replicas = len(platform.settings.gateway_urls)
    before = Route(model=state.model, champion=state.champion)
    if state.stage >= 0:
        before = route_of(state, state.stage, replicas)
    elif state.champion is not None:
        before = route_of(state, 0, replicas).model_copy(update={"weight": 0, "paired": False})
    with suppress(Unavailable, Conflict):
        found = read(platform, state.id)
        same = (found.status, found.stage, found.entering) == (state.status, state.stage, state.entering)
        move(platform, found if same else state, before, now)


def _watch(platform: Platform, state: RolloutState, stage: int, now: datetime) -> RolloutState:
    """Between two stages: begin the way back when a guardrail has tripped, or when the next stage is overdue."""
    if state.status not in ("pending", "running"):
        return state
    why = ""
    if found := tripped(platform, state.model, state.id, state.challenger):
        why = f"a guardrail tripped before stage {stage} was entered ({found})"
    elif state.overdue(stage, now) and not state.paused:
        late = f"stage {stage} could not be entered before the deadline of the stage before it"
        if state.policy.on_deadline == "ask":
            _ask(platform, state, late, (), now)  # and the split stays, while the next stage is tried again
        else:
            why = late
    if not why:
        return state
    ending = save(platform, state, state.begin_rollback(why, PLATFORM, now))
    _protect(platform, ending, now)
    return ending


def _protect(platform: Platform, state: RolloutState, now: datetime) -> None:
    """Give the traffic back at once; a replica that does not answer now is ``roll_back``'s to bring back."""
    with suppress(Unavailable):
        follow(platform, Route(model=state.model, champion=state.champion), now)


def _name(platform: Platform, release: Release, governance: str, policy: RolloutPolicy) -> str:
    """The id of the rollout of a release as it was approved; a new one once it has concluded in another strategy."""
    known = [
        state
        for state in history(platform, release.model)
        if (state.release, state.governance) == (release.digest, governance) and state.strategy != "revert"
    ]
    if known and (known[-1].status != "concluded" or known[-1].strategy == policy.strategy):
        return known[-1].id
    parts = [release.digest, governance, *([len(known)] if known else [])]
    return f"{release.model}-v{release.version}-{short(digest_json(parts), 8)}"


def _fits(policy: RolloutPolicy, spec: ModelSpec, platform: Platform) -> None:
    """After the switch of a blue-green rollout only one version answers; unpaired, its outcomes have no counterpart."""
    where, paired = str(platform.settings.policies / "rollout.yaml"), not spec.label.depends_on_answer
    for metric in policy.feedback:
        if metric.name not in spec.feedback:
            raise ConfigError("feedback", metric.name, tuple(spec.feedback) or "a number of model.yaml", where=where)
    if policy.strategy in ("blue_green", "shadow") and policy.feedback:
        hint = "A number that users report compares answers of the same time: both versions must answer."
        raise ConfigError("feedback", policy.strategy, ("canary", "ab_test"), where=where, hint=hint)
    if policy.strategy == "blue_green" and not paired:
        raise ConfigError(
            "strategy",
            policy.strategy,
            ("canary", "shadow", "ab_test"),
            where=where,
            hint="The outcome depends on the answer (model.yaml): both versions must answer at the same time.",
        )


def _thresholds(state: RolloutState) -> dict[str, float]:
    """From which probability on each version says yes, where accuracy is asked for."""
    if state.champion is None or (state.policy.fast_track is None and state.policy.quality.metric != "accuracy"):
        return {}
    return {"champion": threshold(state.champion), "challenger": threshold(state.challenger)}


def _smoke(platform: Platform, state: RolloutState, healthy: Measurement) -> Measurement:
    """Of all replicas or of none: one that hangs is not waited for once more."""
    if healthy.value != healthy.n:
        return Measurement(name="smoke", value=None, why=f"not every replica follows the split: {healthy.evidence}")
    try:
        return smoke(platform, state.model, state.challenger, "champion" if state.champion is None else "challenger")
    except (Unavailable, Conflict) as error:  # a replica that has tripped refuses to ask the challenger
        return Measurement(name="smoke", value=None, why=str(error))


def _ask(platform: Platform, state: RolloutState, why: str, evidence: tuple[Digest, ...], now: datetime) -> None:
    platform.ledger.journal.raise_incident(
        Incident(
            key=f"rollout-undecided:{state.id}",
            model=state.model,
            kind="rollout",
            severity=Severity.WARNING,
            title=f"{state.summary}: undecided at its deadline",
            detail=why,
            opened_at=now,
            evidence=evidence,
            next_step=f"`modelyard rollout promote {state.model}` or `modelyard rollout abort {state.model}`",
        )
    )


__all__ = [
    "abort",
    "enter",
    "look",
    "measure",
    "pause",
    "promote",
    "read",
    "restore",
    "revert",
    "roll_back",
    "route_of",
    "stand_down",
    "start",
]
