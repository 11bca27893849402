"""What is asked of the fleet: nobody's refusal and no replica that is behind speaks against a release."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from fixtures.bundles import MODEL, ROW, SIGNATURE, write_bundle_of
from fixtures.memory_fleet import MemoryFleet, MemoryReplica
from fixtures.rollouts import NOW, running

from modelyard.core.digest import canonical_json
from modelyard.core.errors import Conflict, IntegrityError, Unavailable
from modelyard.core.verdict import Measurement
from modelyard.flows import fleet_checks
from modelyard.ports.fleet import Arm, Route
from modelyard.rollout import fleet
from modelyard.rollout.state import RolloutState
from modelyard.serving.encoding import Encoder

WIDER = SIGNATURE.inputs[0].model_copy(update={"high": 30_000})


class Answering(MemoryReplica):
    """Raises what it is given, from the n-th question on; before that it answers ``probability``."""

    def __init__(self, name: str, probability: float = 0.5, error: Exception | None = None, good: int = 0) -> None:
        super().__init__(name)
        self.probability, self.error, self.good = probability, error, good

    def predict(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.error is not None and self.good <= 0:
            raise self.error
        self.good -= 1
        answer = super().predict(model, body)
        return {"predictions": [one | {"probability": self.probability} for one in answer["predictions"]]}


def bundle(folder: Path, version: int, signature: Any = SIGNATURE, **row: object) -> Arm:
    example = canonical_json({"rows": [ROW | row], "probability": [0.5]})
    return write_bundle_of(folder / str(version), version=version, signature=signature, example=example)[1]


@pytest.fixture
def state(tmp_path: Path) -> RolloutState:
    """A challenger that takes distances that the champion refuses, and has one in its example."""
    newer = SIGNATURE.model_copy(update={"inputs": (WIDER, *SIGNATURE.inputs[1:])})
    old, new = bundle(tmp_path, 1), bundle(tmp_path, 2, newer, distance=20_000.0, gusts=3)
    return running(champion=old, challenger=new)


def platform(state: RolloutState, *replicas: MemoryReplica) -> Any:
    made = MemoryFleet()
    made.replicas = list(replicas)
    for replica in replicas:
        replica.apply(Route(model=MODEL, champion=state.champion), 1)
    looks = SimpleNamespace(looks=lambda rollout: [])  # noqa: ARG005
    return SimpleNamespace(fleet=made, edge=None, ledger=SimpleNamespace(rollouts=looks))


def alike(found: list[Measurement]) -> Measurement:
    return next(m for m in found if m.name == fleet.ALIKE)


def test_the_champion_takes_every_row_that_is_asked(state: RolloutState) -> None:
    rows = fleet_checks.questions(state)
    Encoder(SIGNATURE).encode(rows)
    assert {row["distance"] for row in rows} == {1400.0}
    assert {row["gusts"] for row in rows} == {3}  # what only the newer version knows comes from its example
    assert len({row["flight"] for row in rows}) == fleet_checks.KEYS


@pytest.mark.parametrize("error", [Conflict("distance: 20000"), Unavailable("away"), IntegrityError("damaged")])
@pytest.mark.parametrize("good", [0, 1])
def test_a_question_that_is_refused_is_no_evidence(state: RolloutState, error: Exception, good: int) -> None:
    other = Answering("gateway-2", 0.6, error=error, good=good)
    found = alike(fleet_checks.ask(platform(state, Answering("gateway-1"), other), state))
    assert found.value is None
    assert str(error) in found.why


def test_replicas_are_only_compared_when_all_follow_the_split(state: RolloutState) -> None:
    here = platform(state, Answering("gateway-1"), Answering("gateway-2", 0.6))
    assert alike(fleet_checks.ask(here, state)).value == fleet_checks.KEYS
    late = Measurement(name=fleet.REPLICAS, value=1, n=2, evidence="gateway-2 is at generation 3")
    found = fleet_checks.measure(here, state, {}, late, pd.DataFrame())
    assert alike(found).value is None
    assert "gateway-2 is at generation 3" in alike(found).why


def test_a_replica_that_was_taken_out_of_service_has_no_share_to_reach(state: RolloutState) -> None:
    here = platform(state, Answering("gateway-1"), Answering("gateway-2"))
    names = ["gateway-1", "gateway-2"] * 100 + ["gateway-3"] * 300
    served = [NOW] * 200 + [NOW.replace(year=2025)] * 300
    frame = pd.DataFrame({"replica": names, "served_at": pd.Series(served, dtype="datetime64[us, UTC]")})
    fine = Measurement(name=fleet.REPLICAS, value=2, n=2)
    found = fleet_checks.measure(here, state, here.fleet.survey(MODEL)[0], fine, frame)
    least = next(m for m in found if m.name == fleet.LEAST)
    assert (least.value, least.n, least.evidence) == (1.0, 200, "gateway-1: 100, gateway-2: 100")
