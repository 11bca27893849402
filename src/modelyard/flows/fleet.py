"""Bringing the gateway's replicas to a wanted route, and checking that they are there."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Literal

from modelyard.core.errors import Conflict, IntegrityError, Unavailable
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import Arm, ReplicaState, Route
from modelyard.ports.platform import Platform
from modelyard.release.signature import Signature
from modelyard.rollout.state import RolloutState

TOLERANCE = 1e-5
"""Replicas may differ in the last digits: a row scored in a batch is not bit-equal to a row scored alone."""


def arm_of(platform: Platform, release: Release) -> Arm:
    """A release as a route names it."""
    return Arm(release=release.digest, version=release.version, bundle=platform.ledger.releases.bundle(release.digest))


def follow(platform: Platform, route: Route, now: datetime) -> dict[str, ReplicaState]:
    """Record the wanted route, bring every replica to it, record their acknowledgements. The same again is harmless.

    The version that the route's champion has replaced is kept warm for the time that the policy of its rollout states.

    Raises:
        Unavailable: a replica did not acknowledge; the others follow already, and doing this again goes on.
        Conflict: a replica refuses the route (a bundle that it cannot serve).
    """
    route = with_the_way_back(platform, route, now)
    generation = platform.ledger.rollouts.set_route(route.model, route.to_dict())
    return _push(platform, route, generation, now)


def with_the_way_back(platform: Platform, route: Route, now: datetime) -> Route:
    """The route, with what its champion has replaced (or is replacing), to be kept warm while its time lasts.

    What a revert has left is not: it is quarantined. Equal for equal records, so that a step that is repeated wants the
    same route.
    """
    found = None if route.champion is None else _crowning(platform, route.model, route.champion.release)
    if found is None or found.strategy == "revert" or found.champion is None or found.decided_at is None:
        return route
    until = found.decided_at + timedelta(hours=found.policy.keep_warm_hours)
    in_use = route.challenger is not None and route.challenger.release == found.champion.release
    if now >= until or in_use or platform.ledger.releases.state(found.champion.release) == "quarantined":
        return route
    return route.model_copy(update={"warm": found.champion, "warm_until": until})


def _crowning(platform: Platform, model: str, release: str) -> RolloutState | None:
    """The last rollout that made this release the champion, or is making it so."""
    for body in reversed(platform.ledger.rollouts.history(model)):
        if body["release"] == release and body["status"] in ("promoting", "promoted"):
            return RolloutState.model_validate(body)
    return None


def restore(platform: Platform, model: str, now: datetime) -> dict[str, ReplicaState]:
    """Push the wanted route again, for replicas that were restarted or are new. Nothing wanted: nothing done.

    It is pushed as the generation that was read, never as a new one: what somebody else wants meanwhile (an abort)
    must not be undone by a route that was wanted before it.

    Raises:
        Unavailable: a replica did not acknowledge.
        Conflict: a replica refuses the route, or follows a newer one by now.
    """
    wanted = platform.ledger.rollouts.route(model)
    return {} if wanted is None else _push(platform, Route.model_validate(wanted[1]), wanted[0], now)


def tripped(platform: Platform, model: str, rollout: str, arm: Arm) -> str:
    """Which replicas have taken this challenger off, and by which guardrail; empty: none.

    By what those say that answer, and by what is on record: a replica that tripped may be gone by now.
    """
    states, _ = platform.fleet.survey(model)
    found = recorded(platform, model, rollout, arm)
    found |= {name: s.tripped for name, s in states.items() if s.tripped and s.challenger == arm.release}
    return ", ".join(f"{name}: {guard}" for name, guard in sorted(found.items()))


def recorded(platform: Platform, model: str, rollout: str, arm: Arm) -> dict[str, str]:
    """By replica the guardrail that took this challenger off, as the replicas wrote it down."""
    trips = platform.predictions.trips(model, rollout)
    return {trip.replica: trip.guardrail for trip in trips if trip.challenger == arm.release}


def smoke(
    platform: Platform, model: str, arm: Arm, variant: Literal["champion", "challenger"] = "champion"
) -> Measurement:
    """Ask every replica the example of a version's bundle; counts what is not as it should be.

    Every replica must answer every row with a probability, all alike, and the version must be the expected one
    wherever the champion answered. Of the ``challenger``, whatever its share, each row must come from that version.
    """
    rows = example(arm)
    if variant == "challenger":
        answers = platform.fleet.probe(model, rows)
    else:
        answers = platform.fleet.predict(model, {"rows": rows, "probe": True})
    problems = [p for answer in answers for p in _problems(answer, arm, len(rows), variant)]
    first = _scores(answers[0]) if answers else {}
    for answer in answers[1:]:
        problems += [
            f"{key}: {score:.6f} on one replica, {first.get(key, float('nan')):.6f} on another"
            for key, score in _scores(answer).items()
            if not abs(score - first.get(key, float("nan"))) <= TOLERANCE
        ]
    if not answers:
        return Measurement(name="smoke", value=None, why="there is no replica to ask")
    return Measurement(name="smoke", value=len(problems), n=len(answers), evidence="; ".join(problems[:5]))


def verify_alone(platform: Platform, model: str, champion: Arm | None) -> None:
    """Probe that on every replica this version answers everything and no other is asked.

    Raises:
        Conflict: a replica does something else.
    """
    wanted = None if champion is None else champion.release
    for replica, state in platform.fleet.state(model).items():
        if (state.champion, state.challenger, state.weight) != (wanted, None, 0):
            raise Conflict(f"{replica} answers with {state.champion} and {state.challenger} at {state.weight}")
    if champion is not None:
        probe = smoke(platform, model, champion)
        if probe.value != 0:
            raise Conflict(f"the replicas of {model} do not answer as they should: {probe.evidence or probe.why}")


def example(arm: Arm) -> list[dict[str, Any]]:
    """The rows of a bundle's ``example.json``, each with a key, as requests have it.

    Raises:
        IntegrityError: the bundle has none.
    """
    from modelyard.release.bundle import read_bundle

    files = read_bundle(arm.bundle).files
    rows: list[dict[str, Any]] = json.loads(files["example.json"])["rows"] if "example.json" in files else []
    if not rows:
        raise IntegrityError(f"{arm.bundle} has no example to ask the replicas")
    key = Signature.from_json(files["signature.json"]).key
    return [{key: f"example-{number}"} | row for number, row in enumerate(rows)]


def threshold(arm: Arm) -> float:
    """The probability from which on a version says yes. Raises ``IntegrityError``."""
    from modelyard.release.bundle import read_bundle

    return Signature.from_json(read_bundle(arm.bundle).files["signature.json"]).threshold


def _push(platform: Platform, route: Route, generation: int, now: datetime) -> dict[str, ReplicaState]:
    states = platform.fleet.apply(route, generation)
    for replica, state in states.items():
        if state.generation != generation:
            raise Unavailable(f"{replica} is at generation {state.generation} of {route.model}, not {generation}")
        platform.ledger.rollouts.ack(route.model, replica, generation, now)
    return states


def _problems(answer: dict[str, Any], arm: Arm, rows: int, variant: str) -> list[str]:
    predictions = answer["predictions"]
    problems = [] if len(predictions) == rows else [f"{len(predictions)} answers to {rows} rows"]
    for one in predictions:
        if not 0 <= one["probability"] <= 1:
            problems.append(f"{one['key']}: {one['probability']} is no probability")
        if variant in ("challenger", one["variant"]) and one["version"] != arm.version:
            problems.append(f"{one['key']}: version {one['version']} answered instead of {arm.version}")
    return problems


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {one["key"]: one["probability"] for one in answer["predictions"]}
