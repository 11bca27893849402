"""What every fleet keeps to: the in-memory one of the tests and the real gateway over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import running
from fixtures.memory_fleet import MemoryFleet

from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.core.errors import Conflict, Unavailable
from modelyard.ports.fleet import Arm, Fleet, Route
from modelyard.serving.router import to_challenger


@dataclass(frozen=True)
class Handle:
    """What may befall the last of two replicas: it is killed, it is started again, it is taken out of the fleet."""

    kill: Callable[[], object]
    start: Callable[[], object]
    eject: Callable[[], Fleet]


@pytest.fixture(params=["memory", "gateway"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Fleet, Handle]]:
    """A fleet of two replicas, and what may befall the last of them."""
    if request.param == "memory":
        memory, rest = MemoryFleet(), MemoryFleet()
        rest.replicas = memory.replicas[:-1]
        last = memory.replicas[-1]
        yield memory, Handle(lambda: setattr(last, "up", False), lambda: setattr(last, "up", True), lambda: rest)
        return
    with ExitStack() as stack:
        gateways = [stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2)]

        def of(urls: list[str]) -> Fleet:
            return GatewayFleet(urls, tmp_path / "home" / "token", timeout=20)

        one, two = gateways
        yield of([one.url, two.url]), Handle(two.kill, two.start, lambda: of([one.url]))


@pytest.fixture
def arms(tmp_path: Path) -> tuple[Arm, Arm]:
    return (
        write_bundle_of(tmp_path / "one")[1],
        write_bundle_of(tmp_path / "two", version=2, onnx=graph(bias=0.1))[1],
    )


def test_a_fleet(fleet: tuple[Fleet, Handle], arms: tuple[Arm, Arm]) -> None:
    """One test, for a real fleet takes seconds to start; each step says what it is about."""
    replicas, last = fleet
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
    last.kill()
    states, silent = replicas.survey(MODEL)
    assert (sorted(states), len(silent)) == (["gateway-1"], 1)  # a lost replica is told of, and raises nothing
    with pytest.raises(Unavailable):  # one replica is silent; the others follow all the same
        replicas.apply(alone, 4)
    with pytest.raises(Unavailable):
        replicas.state(MODEL)


def test_the_split_is_the_same_on_every_replica_and_nested(fleet: tuple[Fleet, Handle], arms: tuple[Arm, Arm]) -> None:
    replicas, _ = fleet
    old, new = arms
    rows = [ROW | {"flight": f"UA{n}"} for n in range(200)]
    before: set[str] = set()
    for generation, weight in enumerate((500, 2000, 5000, 10_000), 1):
        route = Route(model=MODEL, champion=old, challenger=new, weight=weight, salt=new.release, rollout="r")
        replicas.apply(route, generation)
        answers = [a["predictions"] for a in replicas.predict(MODEL, {"rows": rows, "probe": True})]
        wanted = {row["flight"] for row in rows if to_challenger(new.release, row["flight"], weight)}
        for answer in answers:
            assert {p["key"] for p in answer if p["variant"] == "challenger"} == wanted
            assert {p["version"] for p in answer if p["variant"] == "challenger"} == {2}
        assert before < wanted
        before = wanted


def test_a_replica_that_was_away(fleet: tuple[Fleet, Handle], arms: tuple[Arm, Arm]) -> None:
    """Generation, acknowledgement, restart and ejection, of the replica that misses a change."""
    replicas, last = fleet
    old, new = arms
    alone = Route(model=MODEL, champion=old)
    canary = Route(model=MODEL, champion=old, challenger=new, weight=500, salt="s", rollout="r")
    replicas.apply(alone, 1)
    replicas.apply(canary, 2)

    last.kill()
    with pytest.raises(Unavailable):  # nobody has acknowledged for it
        replicas.apply(canary.model_copy(update={"weight": 2000}), 3)
    left = last.eject()  # those that are left follow, and are a fleet of their own
    assert [(s.generation, s.weight) for s in left.state(MODEL).values()] == [(3, 2000)]
    assert left.apply(alone, 4)["gateway-1"].generation == 4
    assert len(left.predict(MODEL, {"rows": [ROW]})) == 1

    last.start()  # comes back to what it acknowledged last, and says so: not to what it never heard of
    found = {name: (s.generation, s.weight, s.challenger) for name, s in replicas.state(MODEL).items()}
    assert found == {"gateway-1": (4, 0, None), "gateway-2": (2, 500, new.release)}
    caught_up = replicas.apply(alone, 4)  # the same generation again is nothing new to the one, and news to the other
    assert {(s.generation, s.weight, s.challenger) for s in caught_up.values()} == {(4, 0, None)}
    with pytest.raises(Conflict):  # what is late is refused by both
        replicas.apply(canary, 3)
