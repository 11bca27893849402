"""The real gateway process: what it answers, what it refuses, what it survives."""

from __future__ import annotations

import html
import shlex
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from fixtures.bundles import MODEL, ROW, SIGNATURE, graph, write_bundle_of
from fixtures.gateways import Gateway, running

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Arm, Route

LAX = {"error_budget": 0.9, "invalid_budget": 0.9, "disagreement_budget": 0.9, "latency_budget": 0.9}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arm]:
    folder = tmp_path_factory.mktemp("bundles")
    kinds = {
        "old": graph(),
        "new": graph(bias=0.2),
        "nan": graph(fault="nan"),
        "raises": graph(fault="raise"),
    }
    made = {
        name: write_bundle_of(folder / name, version=version, onnx=onnx)[1]
        for version, (name, onnx) in enumerate(kinds.items(), 1)
    }
    miles = SIGNATURE.inputs[0].model_copy(update={"scale": 0.001})
    signature = SIGNATURE.model_copy(update={"inputs": (miles, *SIGNATURE.inputs[1:])})
    made["units"] = write_bundle_of(folder / "units", version=9, signature=signature)[1]
    return made


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path / "home", "gateway-1", "--log-seconds", "0.2") as started:
        yield started


def canary(arms: dict[str, Arm], challenger: str, weight: int = 5000, **changes: object) -> Route:
    given = {
        "model": MODEL, "champion": arms["old"], "challenger": arms[challenger], "weight": weight, "salt": "s",
        "rollout": "r1", "paired": True,
    }  # fmt: skip
    return Route.model_validate(given | changes)


def ask(gateway: Gateway, n: int, **row: object) -> list[dict[str, object]]:
    """One row per key; every answer must be good."""
    answers = [gateway.predict(MODEL, rows=[ROW | {"flight": f"F{i}"} | row]) for i in range(n)]
    assert {a.status_code for a in answers} == {200}
    return [a.json()["predictions"][0] for a in answers]


def test_it_answers_and_refuses(gateway: Gateway, arms: dict[str, Arm]) -> None:
    assert gateway.predict(MODEL, rows=[ROW]).status_code == 404
    assert gateway.route(Route(model=MODEL, champion=arms["old"]), 1).status_code == 200
    answer = gateway.predict(MODEL, rows=[ROW, ROW | {"wind": None, "carrier": "??"}]).json()
    assert (answer["model"], answer["version"], answer["release"], answer["variant"]) == (
        MODEL, 1, arms["old"].release, "champion",
    )  # fmt: skip
    expected = 1 / (1 + np.exp(-np.array([1400 * 0.001 - 0.5 + 0.1, 1.4])))
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(expected, abs=1e-6)
    assert [p["label"] for p in answer["predictions"]] == [1, 1]
    assert [p["key"] for p in answer["predictions"]] == ["UA1", "UA1"]
    assert len({p["request_id"] for p in answer["predictions"]}) == 2

    def status(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        return httpx.request(method, gateway.url + path, content=body, headers=headers).status_code

    path = f"/v1/models/{MODEL}/predict"
    assert status("POST", path, b'{"rows": [{"flight": "UA1"}]}') == 422
    assert status("POST", path, b'{"rows": [{"distance": 1}]}') == 422
    assert status("POST", path, b"{") == 400
    assert status("POST", path, b"x" * (1 << 20) + b"xx") == 413
    assert status("GET", path) == 405
    assert status("POST", "/v1/models/unknown/predict", b'{"rows": [{}]}') == 404
    assert status("GET", "/nowhere") == 404
    for page in ("/", "/docs", "/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert status("GET", page) == 200
    assert 'gateway_requests_total{kind="predict",model="delays",status="200"}' in gateway.http.get("/metrics").text
    assert f"/v1/models/{MODEL}/predict" in gateway.http.get("/openapi.json").json()["paths"]
    page = gateway.http.get("/docs").text
    assert "https://" not in page
    assert "<script" not in page
    # What it tells people to paste is answered.
    told = html.unescape(next(line for line in page.split("<pre>") if "/predict -d" in line).partition("</pre>")[0])
    words = shlex.split(told)
    assert words[:2] == ["curl", "-s"]
    assert httpx.post(words[2], content=words[4]).status_code == 200


def test_the_admin_api_wants_its_token(gateway: Gateway, arms: dict[str, Arm]) -> None:
    path = f"{gateway.url}/admin/v1/models/{MODEL}/route"
    body = {"route": Route(model=MODEL, champion=arms["old"]).to_dict(), "generation": 1}
    for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "a-token-for-tests"}):
        assert httpx.put(path, json=body, headers=header).status_code == 401
    assert gateway.http.get(f"/admin/v1/models/{MODEL}/state").status_code == 404
    assert gateway.http.put("/admin/v1/models/other/route", json=body).status_code == 422
    assert gateway.http.put(f"/admin/v1/models/{MODEL}/route", json=body | {"more": 1}).status_code == 422


def test_a_bundle_that_is_not_what_the_route_says_is_refused(
    gateway: Gateway, arms: dict[str, Arm], tmp_path: Path
) -> None:
    gateway.route(Route(model=MODEL, champion=arms["old"]), 1)
    _, damaged = write_bundle_of(tmp_path / "damaged", version=7)
    (tmp_path / "damaged" / "model.onnx").write_bytes(graph(bias=9))
    absent = arms["new"].model_copy(update={"bundle": (tmp_path / "absent").as_uri()})
    other = arms["new"].model_copy(update={"bundle": arms["old"].bundle})
    renumbered = arms["new"].model_copy(update={"version": 77})
    for arm in (damaged, absent, other, renumbered):
        refused = gateway.route(Route(model=MODEL, champion=arm), 2)
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "bundle_refused"
    assert gateway.state(MODEL)["generation"] == 1
    assert ask(gateway, 1)[0]["version"] == 1


def test_the_split_is_sticky_and_pairs_are_logged(gateway: Gateway, arms: dict[str, Arm]) -> None:
    gateway.route(canary(arms, "new"), 1)
    first, second = ask(gateway, 60), ask(gateway, 60)
    assert [p["variant"] for p in first] == [p["variant"] for p in second]
    assert {p["variant"] for p in first} == {"champion", "challenger"}
    gateway.route(canary(arms, "new", 8000), 2)
    third = ask(gateway, 60)
    assert all(b["variant"] == "challenger" for a, b in zip(first, third, strict=True) if a["variant"] == "challenger")
    known = datetime.now(UTC).isoformat()
    outcomes = [{"key": f"F{i}", "label": i % 2, "known_at": known} for i in range(60)] * 2
    assert gateway.http.post(f"/v1/models/{MODEL}/feedback", json={"rows": outcomes}).status_code == 202
    assert gateway.stop() == 0
    frame = ParquetPredictions(gateway.home / "predictions").rollout(MODEL, "r1")
    assert len(frame) == 180
    assert frame["request_id"].is_unique
    assert frame["other_score"].notna().all()
    old, new = (1 / (1 + np.exp(-(1.0 + bias))) for bias in (0.0, 0.2))
    challenger = frame["variant"] == "challenger"
    assert frame["score"].to_numpy() == pytest.approx(np.where(challenger, new, old), abs=1e-6)
    assert frame["other_score"].to_numpy() == pytest.approx(np.where(challenger, old, new), abs=1e-6)
    assert (frame["label"].to_numpy() == frame["key"].str[1:].astype(int).to_numpy() % 2).all()
    assert {"distance", "wind", "carrier"} <= set(frame.columns)


@pytest.mark.parametrize(
    ("challenger", "row", "guardrail"),
    [("nan", {}, "invalid_output"), ("raises", {"distance": 9000}, "error_rate"), ("units", {}, "disagreement")],
)
def test_a_bad_challenger_harms_nobody_and_is_off_soon(
    gateway: Gateway, arms: dict[str, Arm], challenger: str, row: dict[str, object], guardrail: str
) -> None:
    limits = {"alpha": 0.00125, "disagreement_above": 0.1}
    gateway.route(canary(arms, challenger, guardrails=limits), 1)
    answers = ask(gateway, 80, **row)
    if guardrail == "disagreement":  # which is looked at some 50 ms later
        while not gateway.state(MODEL)["tripped"]:
            ask(gateway, 80, **row)
    else:
        assert {p["variant"] for p in answers} == {"champion"}
        assert gateway.state(MODEL)["counts"]["challenger"]["rows"] <= 20
    state = gateway.state(MODEL)
    assert (state["tripped"], state["weight"]) == (guardrail, 0)
    assert state["trip_detail"][guardrail]["failures"] > 0
    # A new step of the same rollout does not bring it back; nor does a restart.
    assert gateway.route(canary(arms, challenger, 8000, guardrails=limits), 2).json()["weight"] == 0
    # The event is written by the log's thread, which a busy machine may be about to run still.
    events = gateway.home / "predictions" / MODEL / "events"
    until = time.monotonic() + 10
    while not list(events.glob("*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(events.glob("*.json"))
    gateway.kill()
    gateway.start()
    state = gateway.state(MODEL)
    assert (state["generation"], state["tripped"], state["weight"]) == (2, guardrail, 0)


def test_failures_are_charged_to_the_challenger_and_answered_by_the_champion(
    gateway: Gateway, arms: dict[str, Arm]
) -> None:
    gateway.route(canary(arms, "raises", 10_000, paired=False, guardrails=LAX), 1)
    assert {p["version"] for p in ask(gateway, 5, distance=9000)} == {1}
    counts = gateway.state(MODEL)["counts"]
    assert {key: counts["challenger"][key] for key in ("rows", "errors", "dropped_pairs")} == {
        "rows": 5, "errors": 5, "dropped_pairs": 0,
    }  # fmt: skip
    assert counts["guard.error_rate"] == {"failures": 5, "trials": 5}
    assert counts["champion"]["errors"] == 0
    gateway.stop()
    frame = ParquetPredictions(gateway.home / "predictions").rollout(MODEL, "r1")
    assert frame["error"].str.startswith("challenger: ").all()


def test_a_killed_replica_comes_back_to_what_it_acknowledged(
    gateway: Gateway, arms: dict[str, Arm], tmp_path: Path
) -> None:
    _, gone = write_bundle_of(tmp_path / "gone", version=5, onnx=graph(bias=0.3))
    gateway.route(Route(model=MODEL, champion=arms["old"]), 3)
    gateway.route(canary(arms, "new", 2000), 4)
    gateway.kill()
    gateway.start()
    state = gateway.state(MODEL)
    assert (state["generation"], state["weight"], state["challenger"]) == (4, 2000, arms["new"].release)
    assert gateway.route(Route(model=MODEL, champion=arms["old"]), 3).status_code == 409
    # A challenger that cannot be loaded any more is left out; the champion answers.
    gateway.route(Route(model=MODEL, champion=arms["old"], challenger=gone, weight=10_000, rollout="r2"), 5)
    gateway.kill()
    (tmp_path / "gone" / "model.onnx").unlink()
    gateway.start()
    assert {p["version"] for p in ask(gateway, 5)} == {1}
    assert gateway.state(MODEL)["tripped"].startswith("not restored")


def test_a_state_file_that_is_damaged_is_reported_and_not_served(gateway: Gateway, arms: dict[str, Arm]) -> None:
    gateway.route(Route(model=MODEL, champion=arms["old"]), 1)
    gateway.kill()
    (gateway.home / "gateway" / "gateway-1" / f"{MODEL}.json").write_text("{")
    gateway.start()
    ready = gateway.http.get("/readyz")
    assert ready.status_code == 503
    assert MODEL in ready.json()["broken"]
    assert gateway.route(Route(model=MODEL, champion=arms["old"]), 2).status_code == 200
    assert gateway.http.get("/readyz").status_code == 200


def test_nothing_fails_while_versions_are_swapped_under_load(gateway: Gateway, arms: dict[str, Arm]) -> None:
    gateway.route(Route(model=MODEL, champion=arms["old"]), 1)
    done = threading.Event()

    def load(worker: int) -> list[int]:
        statuses = []
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            while not done.is_set():
                body = {"rows": [ROW | {"flight": f"W{worker}-{len(statuses)}"}]}
                statuses.append(client.post(f"/v1/models/{MODEL}/predict", json=body).status_code)
        return statuses

    with ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load, n) for n in range(6)]
        try:
            for generation in range(2, 42):
                route = {
                    0: Route(model=MODEL, champion=arms["old"]),
                    1: canary(arms, "new", 2000, rollout=f"r{generation}"),
                    2: canary(arms, "units", 9000, rollout=f"r{generation}", guardrails=LAX),
                    3: Route(model=MODEL, champion=arms["new"]),
                }[generation % 4]
                pushed = gateway.route(route, generation)
                assert pushed.status_code == 200, pushed.text
        finally:
            done.set()
        statuses = [status for each in loads for status in each.result()]
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_sigterm_drains_and_every_answer_is_in_the_log(gateway: Gateway, arms: dict[str, Arm]) -> None:
    gateway.route(Route(model=MODEL, champion=arms["old"]), 1)

    def load(worker: int) -> int:
        answered = 0
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            try:
                while True:
                    body = {"rows": [ROW | {"flight": f"W{worker}-{answered}"}]}
                    assert client.post(f"/v1/models/{MODEL}/predict", json=body).status_code == 200
                    answered += 1
            except httpx.TransportError:  # the replica has closed its doors
                return answered

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, n) for n in range(4)]
        while gateway.state(MODEL)["counts"]["champion"]["rows"] < 200:
            pass
        assert gateway.stop() == 0
        answered = sum(each.result() for each in loads)
    assert len(ParquetPredictions(gateway.home / "predictions").rollout(MODEL, "")) == answered >= 200


def test_a_probe_is_answered_and_leaves_no_trace(gateway: Gateway, arms: dict[str, Arm]) -> None:
    gateway.route(canary(arms, "new", 5000), 1)
    answer = gateway.predict(MODEL, rows=[ROW], probe=True)
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["probability"] > 0
    assert gateway.predict(MODEL, rows=[ROW, ROW], probe=True).status_code == 200
    assert [gateway.state(MODEL)["counts"][v]["rows"] for v in ("champion", "challenger")] == [0, 0]
    gateway.stop()
    assert ParquetPredictions(gateway.home / "predictions").rollout(MODEL, "r1").empty


def test_a_damaged_challenger_is_refused_by_its_warm_up(gateway: Gateway, tmp_path: Path, arms: dict[str, Arm]) -> None:
    gateway.route(Route(model=MODEL, champion=arms["old"]), 1)
    _, broken = write_bundle_of(tmp_path / "broken", version=8, onnx=graph(fault="raise_all"))
    refused = gateway.route(Route(model=MODEL, champion=arms["old"], challenger=broken, weight=500), 2)
    assert refused.status_code == 422
    assert gateway.state(MODEL)["challenger"] is None
