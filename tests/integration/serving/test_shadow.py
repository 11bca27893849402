"""A shadow on the real gateway: sampled, counted by request, timed beside the champion, through a queue that drops."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import ReplicaState, Route
from modelyard.rollout import shadow

LAX = {
    "error_budget": 0.9, "invalid_budget": 0.9, "disagreement_budget": 0.9, "latency_budget": 0.9, "cpu_budget": 0.9,
    "timeout_ms": 60_000,
}  # fmt: skip


def shadowed(tmp_path: Path, gateway: Gateway, sample: int = 10_000, **new: Any) -> None:
    old = write_bundle_of(tmp_path / "old")[1]
    second = write_bundle_of(tmp_path / "new", version=2, onnx=graph(bias=0.01, **new))[1]
    route = Route(
        model=MODEL, champion=old, challenger=second, weight=0, salt="s", rollout="r", paired=True, sample=sample,
        guardrails=LAX,
    )  # fmt: skip
    assert gateway.route(route, 1).status_code == 200


def ask(gateway: Gateway, n: int, rows: int = 1, **row: Any) -> None:
    for i in range(n):
        answer = gateway.predict(MODEL, rows=[ROW | {"flight": f"F{rows}-{i}-{place}"} | row for place in range(rows)])
        assert {one["version"] for one in answer.json()["predictions"]} == {1}


def state(gateway: Gateway, mirrored: int) -> ReplicaState:
    """What the replica says once so many requests were shown to the shadow."""
    for _ in range(400):
        found = ReplicaState.model_validate(gateway.state(MODEL))
        mirror = found.counts["mirror"]
        if mirror["requests"] + mirror["dropped"] >= mirrored:
            return found
        time.sleep(0.05)
    raise AssertionError(found.counts)


def test_errors_are_counted_by_request_and_calls_timed_beside_the_champion(tmp_path: Path) -> None:
    with running(tmp_path / "home") as gateway:
        shadowed(tmp_path, gateway, hungry=300_000, fault="raise")
        ask(gateway, 60)  # the quick way
        ask(gateway, 20, rows=5)  # the careful one: a request each, however many rows
        state(gateway, 80)  # so that none of these is in a call with those that follow, and fails with them
        ask(gateway, 20, distance=9000)  # on which the shadow fails
        found = state(gateway, 100)
        assert found.counts["mirror"] == {"requests": 100, "errors": 20, "dropped": 0}
        errors = shadow.error_rate({"g": found})
        assert (errors.value, errors.n) == (0.2, 100)
        slow, quick = (shadow.call_latency(variant, {"g": found}) for variant in ("challenger", "champion"))
        assert slow.n == quick.n > 0  # calls that came back; each has the requests of some milliseconds
        assert slow.value > 1.5 * quick.value  # type: ignore[operator]
        # Kept over a kill, as the guardrails' counts are.
        gateway.stop()
        gateway.start()
        assert gateway.state(MODEL)["counts"]["mirror"]["requests"] == 100


@pytest.mark.parametrize(("sample", "low", "high"), [(10_000, 400, 400), (2500, 50, 160)])
def test_a_share_of_the_requests_is_sampled(tmp_path: Path, sample: int, low: int, high: int) -> None:
    with running(tmp_path / "home") as gateway:
        shadowed(tmp_path, gateway, sample)
        ask(gateway, 400)
        assert gateway.stop() == 0
    frame = ParquetPredictions(tmp_path / "home" / "predictions").rollout(MODEL, "r")
    assert len(frame) == 400
    assert low <= int(frame["other_score"].notna().sum()) <= high  # 100 expected; six standard deviations


def test_a_shadow_that_cannot_keep_up_drops_and_says_how_many(tmp_path: Path) -> None:
    with running(tmp_path / "home") as gateway:
        shadowed(tmp_path, gateway, hungry=60_000)  # 240 MB for 500 rows
        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(ask, gateway, 12, 500) for _ in range(4)]:
                each.result()
        mirror = state(gateway, 48).counts["mirror"]
        assert mirror["dropped"] > 0
        assert mirror["requests"] + mirror["dropped"] == 48
