"""Checks of the fleet in each stage of a rollout: measured here, judged in ``rollout/fleet.py``.

The first look of a stage asks every replica, and the edge where there is one, the same questions. The answers stay on
record with every look of the stage; what was not fine is asked again by the next look.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from modelyard.core.errors import Conflict, IntegrityError, Unavailable
from modelyard.core.verdict import Measurement, Outcome
from modelyard.flows.fleet import TOLERANCE, example, restore
from modelyard.ports.fleet import Edge, ReplicaState
from modelyard.ports.platform import Platform
from modelyard.rollout import fleet as checks
from modelyard.rollout.state import RolloutState

if TYPE_CHECKING:
    import pandas as pd

KEYS = 100
"""Keys asked about: at 5%, all of them fall to the champion once in 170 releases."""
EDGE_KEYS = 20
TRIES = 3
"""A difference counts when it is there each time: a call that a busy machine cut off is none of the versions."""

NO_ANSWER = (Unavailable, Conflict, IntegrityError)
"""A question that was not answered, or was refused, says nothing of the versions: the stage holds, with the reason."""

Predictions = dict[str, dict[str, Any]]


def replicas(platform: Platform, state: RolloutState, now: datetime) -> tuple[dict[str, ReplicaState], Measurement]:
    """The replicas that answer, and how many follow the wanted split. One that is behind is brought to it first."""
    wanted = platform.ledger.rollouts.route(state.model)
    states, silent = platform.fleet.survey(state.model)
    refused: list[str] = []
    if wanted is not None and (silent or _behind(states, wanted[0])):
        # A replica that was restarted without its state knows no model until it is told. A silent one is measured so.
        try:
            restore(platform, state.model, now)
        except (Unavailable, Conflict) as error:
            refused = [str(error)] if isinstance(error, Conflict) else []
        wanted = platform.ledger.rollouts.route(state.model) or wanted
        states, silent = platform.fleet.survey(state.model)
    late = {} if wanted is None else _behind(states, wanted[0])
    wrong = [*silent, *(f"{name} is at generation {at}" for name, at in sorted(late.items())), *refused]
    addresses = max(len(platform.settings.gateway_urls), len(states) + len(silent))
    if len(states) + len(silent) < addresses:
        wrong.append(f"{addresses} addresses lead to {len(states)} replicas ({', '.join(sorted(states))})")
    following = 0 if wanted is None else len(states) - len(late)
    return states, Measurement(name=checks.REPLICAS, value=following, n=addresses, evidence="; ".join(wrong))


def measure(
    platform: Platform, state: RolloutState, states: dict[str, ReplicaState], healthy: Measurement, frame: pd.DataFrame
) -> list[Measurement]:
    """All that a look says of the fleet: ``healthy`` is what ``replicas`` made, ``frame`` the rollout's logged rows."""
    entered = state.entered_at or state.opened_at
    asked = _kept(platform, state, healthy) or ask(platform, state, healthy)
    # Only those that answer now: one that was taken out of service for good has no share to reach any more, and one
    # that is lost holds the stage by the check of the replicas.
    return [healthy, *asked, checks.balance(frame, sorted(states), entered)]


def ask(platform: Platform, state: RolloutState, healthy: Measurement | None = None) -> list[Measurement]:
    """Put the same questions to every replica, and to the edge.

    Where ``healthy`` says that a replica is missing or behind, nobody is asked: one that still has the split of the
    stage before answers differently, and that is not the release's fault.
    """
    edge = Measurement(name=checks.EDGE, value=0 if platform.edge is None else 1)
    if healthy is not None and healthy.value != healthy.n:
        lost = Unavailable(f"not every replica follows the split: {healthy.evidence}")
        return [_nothing(checks.ALIKE, lost), edge, _nothing(checks.EDGE_SMOKE, lost)]
    try:
        rows = questions(state)
        answers = [_by_key(answer) for answer in _ask_all(platform, state, rows)]
    except NO_ANSWER as error:
        return [_nothing(checks.ALIKE, error), edge, _nothing(checks.EDGE_SMOKE, error)]
    alike = _alike(platform, state, rows, answers)
    if platform.edge is None or not answers:
        return [alike, edge]
    return [alike, edge, _through_edge(platform.edge, state.model, rows[:EDGE_KEYS], answers[0])]


def questions(state: RolloutState) -> list[dict[str, Any]]:
    """Rows under many keys, so that both versions are asked: each has what the examples of both bundles have.

    Where both examples have a value the champion's is taken: the gateway refuses a row that the champion does not take.

    Raises:
        IntegrityError: a bundle has no example.
    """
    newer = example(state.challenger)
    older = newer if state.champion is None else example(state.champion)
    key = next(iter(newer[0]))
    pairs = [newer[n % len(newer)] | older[n % len(older)] for n in range(KEYS)]
    return [row | {key: f"fleet-{number}"} for number, row in enumerate(pairs)]


def differences(first: Predictions, second: Predictions, names: tuple[str, str]) -> dict[str, str]:
    """By key, where two answers to the same rows are not alike: the version, or its output beyond ``TOLERANCE``."""
    found: dict[str, str] = {}
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        if a is None or b is None:
            found[key] = f"{key}: not answered by {names[0] if a is None else names[1]}"
        elif a["version"] != b["version"]:
            found[key] = f"{key}: version {a['version']} from {names[0]}, {b['version']} from {names[1]}"
        elif not abs(a["probability"] - b["probability"]) <= TOLERANCE:
            found[key] = f"{key}: {a['probability']:.6f} from {names[0]}, {b['probability']:.6f} from {names[1]}"
    return found


def _behind(states: dict[str, ReplicaState], generation: int) -> dict[str, int]:
    return {name: s.generation for name, s in states.items() if s.generation != generation}


def _kept(platform: Platform, state: RolloutState, healthy: Measurement) -> list[Measurement]:
    """The answers of this stage's last look, where all was fine then and no replica is missing now."""
    looks = [run for run in platform.ledger.rollouts.looks(state.id) if run.stage == state.stage]
    if not looks or healthy.value != healthy.n:
        return []
    last = looks[-1]
    outcomes = {v.check: v.outcome for v in last.verdicts}
    if any(outcomes.get(check) is not Outcome.SUCCESSFUL for check in ("replicas", "alike", "edge")):
        return []
    kept = [m for m in last.measurements if m.name in (checks.ALIKE, checks.EDGE, checks.EDGE_SMOKE)]
    had_edge = any(m.name == checks.EDGE and m.value == 1 for m in kept)
    return kept if had_edge == (platform.edge is not None) else []


def _alike(
    platform: Platform, state: RolloutState, rows: list[dict[str, Any]], answers: list[Predictions]
) -> Measurement:
    if not answers:
        return Measurement(name=checks.ALIKE, value=None, why="there is no replica to ask")
    problems = _problems(answers, len(rows))
    for _ in range(TRIES - 1):
        if not problems:
            break
        try:
            again = [_by_key(answer) for answer in _ask_all(platform, state, rows)]
        except NO_ANSWER as error:
            return _nothing(checks.ALIKE, error)
        still = _problems(again, len(rows))
        problems = {key: text for key, text in still.items() if key in problems}
    variants = Counter(one["variant"] for one in answers[0].values())
    shown = f"{len(rows)} keys, " + ", ".join(f"{n} by the {name}" for name, n in sorted(variants.items()))
    texts = list(islice(problems.values(), 5)) or [f"{shown}, within {TOLERANCE:g}"]
    return Measurement(name=checks.ALIKE, value=len(problems), n=len(answers), evidence="; ".join(texts))


def _problems(answers: list[Predictions], rows: int) -> dict[str, str]:
    problems: dict[str, str] = {}
    for place, answer in enumerate(answers):
        if len(answer) != rows:
            problems[f"replica {place + 1}"] = f"{len(answer)} answers to {rows} rows from replica {place + 1}"
        problems |= {
            key: f"{key}: {one['probability']} is no probability"
            for key, one in answer.items()
            if not 0 <= one["probability"] <= 1
        }
        problems |= differences(answers[0], answer, ("replica 1", f"replica {place + 1}")) if place else {}
    return problems


def _through_edge(edge: Edge, model: str, rows: list[dict[str, Any]], replica: Predictions) -> Measurement:
    """What a user is answered against what a replica answers, and whether the admin API is shut to users."""
    direct = dict(islice(replica.items(), len(rows)))
    problems: dict[str, str] = {}
    try:
        for attempt in range(TRIES):
            met = _by_key(edge.predict(model, {"rows": rows, "probe": True}))
            found = differences(direct, met, ("a replica", "the edge"))
            problems = {key: text for key, text in found.items() if attempt == 0 or key in problems}
            if not problems:
                break
        status = edge.admin_status(model)
    except NO_ANSWER as error:
        return _nothing(checks.EDGE_SMOKE, error)
    if status not in (403, 404):
        problems["admin"] = f"the admin API answers {status} through the edge instead of 403 or 404"
    shown = "; ".join(list(problems.values())[:5])
    return Measurement(name=checks.EDGE_SMOKE, value=len(problems), n=len(rows), evidence=shown)


def _ask_all(platform: Platform, state: RolloutState, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return platform.fleet.predict(state.model, {"rows": rows, "probe": True})


def _by_key(answer: dict[str, Any]) -> Predictions:
    return {str(one["key"]): one for one in answer["predictions"]}


def _nothing(name: str, error: Exception) -> Measurement:
    return Measurement(name=name, value=None, why=str(error))
