"""Users behind the real edge while a challenger misbehaves on two real replicas: none of them notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.edges import Edge, Users, edge_before
from fixtures.gateways import Gateway, running

from modelyard.ports.fleet import Arm, Route

PREDICT = f"/v1/models/{MODEL}/predict"
BAD_ROW = {"rows": [ROW | {"distance": 8000.0}]}
"""Where the faulty versions fail, or hang."""
ENOUGH = 10
LAX = {f"{name}_budget": 0.99 for name in ("error", "latency", "invalid", "disagreement", "cpu")} | {"cpu_ms": 60_000}
"""Guardrails that do not end what is to be seen."""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("users")
        yield [stack.enter_context(running(home, f"gateway-{n}")) for n in (1, 2)]


@pytest.fixture(scope="module")
def edge(replicas: list[Gateway], arms: dict[str, Arm], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    for gateway in replicas:
        gateway.route(Route(model=MODEL, champion=arms["old"]), 1).raise_for_status()
    with edge_before(tmp_path_factory.mktemp("haproxy"), [g.url for g in replicas]) as started:
        yield started


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arm]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {"old": write_bundle_of(folder / "old")[1]}
    for version, fault in enumerate(("raise", "hang"), 2):
        made[fault] = write_bundle_of(folder / fault, version=version, onnx=graph(bias=0.001, fault=fault))[1]
    return made


def follow(replicas: list[Gateway], **route: Any) -> None:
    for gateway in replicas:
        generation = gateway.state(MODEL)["generation"] + 1
        gateway.route(Route(model=MODEL, salt="s", paired=True, **route), generation).raise_for_status()


def counted(replicas: list[Gateway], arm: str, what: str) -> int:
    return sum(int(gateway.state(MODEL)["counts"].get(arm, {}).get(what, 0)) for gateway in replicas)


@pytest.mark.parametrize("fault", ["raise", "hang"])
def test_a_canary_that_fails_or_hangs_is_off_and_nobody_has_noticed(
    edge: Edge, replicas: list[Gateway], arms: dict[str, Arm], fault: str
) -> None:
    limits = {"timeout_ms": 2000}  # it hangs for as long as it may: two seconds
    follow(
        replicas, champion=arms["old"], challenger=arms[fault], weight=10_000, rollout=f"canary {fault}",
        guardrails=limits,
    )  # fmt: skip
    with Users(edge.url, PREDICT, BAD_ROW) as users:
        while not all(gateway.state(MODEL)["tripped"] for gateway in replicas):
            users.wait_for_more(1)
        users.wait_for_more(ENOUGH)
    assert set(users.answers) == {"200"}, users.answers
    assert {gateway.state(MODEL)["weight"] for gateway in replicas} == {0}
    assert counted(replicas, "challenger", "errors") > 0


def test_a_shadow_that_takes_200_ms_keeps_nobody_waiting_for_an_answer(
    edge: Edge, replicas: list[Gateway], arms: dict[str, Arm]
) -> None:
    follow(
        replicas, champion=arms["old"], challenger=arms["hang"], weight=0, rollout="shadow",
        guardrails=LAX | {"timeout_ms": 200},
    )  # fmt: skip
    with Users(edge.url, PREDICT, BAD_ROW) as users:
        while counted(replicas, "mirror", "errors") < ENOUGH:  # each after 200 ms of the shadow's own time
            users.wait_for_more(1)
    assert set(users.answers) == {"200"}, users.answers
    assert counted(replicas, "challenger", "rows") == 0
    # Far more were answered than a shadow of 200 ms could have let through: they did not wait for it.
    assert sum(users.answers.values()) > counted(replicas, "mirror", "errors")
