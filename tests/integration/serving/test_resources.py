"""A version that eats processor time or memory, on the real gateway: off before it hurts, and on record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Arm, Route

LAX = {"error_budget": 0.9, "latency_budget": 0.9, "timeout_ms": 10_000, "disagreement_budget": 0.9}


def arms(folder: Path, **hungry: int) -> dict[str, Arm]:
    made = {"old": write_bundle_of(folder / "old")[1]}
    for version, (name, numbers) in enumerate(hungry.items(), 2):
        onnx = graph(bias=0.01 * version, hungry=numbers)
        made[name] = write_bundle_of(folder / name, version=version, onnx=onnx)[1]
    return made


def routed(gateway: Gateway, made: dict[str, Arm], challenger: str, generation: int, **limits: Any) -> dict[str, Any]:
    route = Route(
        model=MODEL, champion=made["old"], challenger=made[challenger], weight=5000, salt="s", rollout=challenger,
        guardrails=LAX | limits,
    )  # fmt: skip
    answer = gateway.route(route, generation)
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def ask(gateway: Gateway, n: int) -> set[int]:
    answers = [gateway.predict(MODEL, rows=[ROW | {"flight": f"F{i}"}]) for i in range(n)]
    assert {a.status_code for a in answers} == {200}
    return {a.json()["version"] for a in answers}


def asked_until_tripped(gateway: Gateway) -> dict[str, Any]:
    """The state then. Only calls are charged, a second of them at a time."""
    for _ in range(1000):
        ask(gateway, 10)
        state = gateway.state(MODEL)
        if state["tripped"]:
            assert state["tripped"] == "cpu_time"
            return state
        time.sleep(0.1)
    raise AssertionError(f"nothing tripped: {state}")


def test_a_version_that_eats_processor_time_is_off_soon(tmp_path: Path) -> None:
    made = arms(tmp_path, hungry=4_000_000, modest=0)
    with running(tmp_path / "home") as gateway:
        limits = {"cpu_ms": 1.0, "cpu_ratio": 3.0, "cpu_budget": 0.05, "alpha": 0.005}
        assert routed(gateway, made, "hungry", 1, **limits)["tripped"] == ""
        assert asked_until_tripped(gateway)["counts"]["guard.cpu_time"]["trials"] <= 20
        assert gateway.state(MODEL)["weight"] == 0
        assert ask(gateway, 20) == {1}
        # One that does the same work as the champion is left alone, whatever the machine is doing meanwhile.
        routed(gateway, made, "modest", 2, **limits)
        assert ask(gateway, 200) == {1, 3}
        assert gateway.state(MODEL)["tripped"] == ""
        # As much as the policy grants, relative to the champion, is no harm either.
        limits |= {"cpu_ms": 60_000.0}
        routed(gateway, made, "hungry", 3, **limits)
        log = ParquetPredictions(tmp_path / "home" / "predictions")
        for _ in range(200):
            if trips := log.trips(MODEL, "hungry"):
                break
            time.sleep(0.05)
    assert [trip.guardrail for trip in trips] == ["cpu_time"]
    assert trips[0].detail["cpu_time"]["failures"] > 0  # type: ignore[index,operator,call-overload]


def test_a_version_that_eats_memory_is_off_before_it_is_asked(tmp_path: Path) -> None:
    made = arms(tmp_path, hungry=20_000_000, modest=0)  # 160 MB at each call, which ONNX Runtime keeps
    with running(tmp_path / "home") as gateway:
        state = routed(gateway, made, "hungry", 1, memory_mb=100, cpu_ms=60_000)
        assert (state["tripped"], state["weight"]) == ("memory", 0)
        assert state["trip_detail"]["memory"]["grown_mb"] > 100
        assert ask(gateway, 20) == {1}
        assert gateway.state(MODEL)["counts"]["challenger"]["rows"] == 0
        assert routed(gateway, made, "modest", 2, memory_mb=100)["tripped"] == ""
        assert ask(gateway, 40) == {1, 3}
        # Watched only: counted, told, and not acted on.
        watched = {"memory_mb": 100, "cpu_ms": 60_000, "dry_run": ["memory"]}
        made["again"] = write_bundle_of(tmp_path / "again", version=9, onnx=graph(hungry=20_000_001))[1]
        assert routed(gateway, made, "again", 3, **watched)["tripped"] == ""
