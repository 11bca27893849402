"""What every fleet keeps to: the in-memory one of the tests and the real gateway over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import running
from fixtures.memory_fleet import MemoryFleet

from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.core.errors import Conflict, Unavailable
from modelyard.ports.fleet import Arm, Fleet, Route

Break = Callable[[], None]


@pytest.fixture(params=["memory", "gateway"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Fleet, Break]]:
    """A fleet of two replicas, and how to take its last replica down."""
    if request.param == "memory":
        memory = MemoryFleet()
        yield memory, lambda: setattr(memory.replicas[-1], "up", False)
        return
    with ExitStack() as stack:
        gateways = [stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2)]
        yield GatewayFleet([g.url for g in gateways], tmp_path / "home" / "token", timeout=20), gateways[-1].kill


@pytest.fixture
def arms(tmp_path: Path) -> tuple[Arm, Arm]:
    return (
        write_bundle_of(tmp_path / "one")[1],
        write_bundle_of(tmp_path / "two", version=2, onnx=graph(bias=0.1))[1],
    )


def test_a_fleet(fleet: tuple[Fleet, Break], arms: tuple[Arm, Arm]) -> None:
    """One test, for a real fleet takes seconds to start; each step says what it is about."""
    replicas, take_down = fleet
    old, new = arms

    with pytest.raises(Unavailable):  # a model that nobody was told of
        replicas.state(MODEL)

    alone = Route(model=MODEL, champion=old)
    for _ in range(2):  # the same generation again changes nothing
        states = replicas.apply(alone, 1)
        assert sorted(states) == ["gateway-1", "gateway-2"]
        assert {(s.generation, s.champion, s.challenger, s.weight) for s in states.values()} == {
            (1, old.release, None, 0)
        }

    with pytest.raises(Conflict, match="no challenger"):
        replicas.probe(MODEL, [ROW])

    canary = Route(model=MODEL, champion=old, challenger=new, weight=500, salt="s", rollout="r", paired=True)
    states = replicas.apply(canary, 2)
    assert {(s.generation, s.challenger, s.weight, s.tripped) for s in states.values()} == {(2, new.release, 500, "")}
    assert replicas.state(MODEL) == states

    with pytest.raises(Conflict, match="1"):  # an older generation
        replicas.apply(alone, 1)
    with pytest.raises(Conflict):  # another route under the same generation
        replicas.apply(alone, 2)
    assert {s.weight for s in replicas.state(MODEL).values()} == {500}

    answers = replicas.predict(MODEL, {"rows": [ROW]})
    assert len(answers) == 2
    assert all(0 <= a["predictions"][0]["probability"] <= 1 for a in answers)
    assert {a["predictions"][0]["variant"] for a in answers} <= {"champion", "challenger"}

    probed = replicas.probe(MODEL, [ROW, ROW | {"flight": "UA2"}])  # the challenger alone, whatever its share
    assert [[(p["variant"], p["version"]) for p in a["predictions"]] for a in probed] == [[("challenger", 2)] * 2] * 2

    states = replicas.apply(Route(model=MODEL, champion=None), 3)  # nobody is left to answer
    assert {(s.generation, s.champion) for s in states.values()} == {(3, None)}
    with pytest.raises(Unavailable):
        replicas.predict(MODEL, {"rows": [ROW]})

    states, silent = replicas.survey(MODEL)
    assert (sorted(states), silent) == (["gateway-1", "gateway-2"], ())
    take_down()
    states, silent = replicas.survey(MODEL)
    assert (sorted(states), len(silent)) == (["gateway-1"], 1)  # a lost replica is told of, and raises nothing
    with pytest.raises(Unavailable):  # one replica is silent; the others follow all the same
        replicas.apply(alone, 4)
    with pytest.raises(Unavailable):
        replicas.state(MODEL)
