"""Outcomes reported to the real gateway: labels and declared numbers, joined to the version that served."""

from __future__ import annotations

import html
import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import running
from fixtures.platforms import write_project

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Route

PATH = f"/v1/models/{MODEL}/feedback"
NUMBERS = "feedback:\n  rating: {min: 1, max: 5}\n  cost: {min: 0, max: 100}\n"


def test_numbers_reach_the_version_that_served(tmp_path: Path) -> None:
    write_project(tmp_path, MODEL)
    described = tmp_path / "projects" / MODEL / "model.yaml"
    described.write_text(described.read_text() + NUMBERS)
    old, new = (write_bundle_of(tmp_path / f"v{v}", version=v, onnx=graph(bias=v))[1] for v in (1, 2))
    with running(tmp_path / "home", env={"MODELYARD_ROOT": str(tmp_path)}) as gateway:
        route = Route(model=MODEL, champion=old, challenger=new, weight=5000, salt="s", rollout="r")
        assert gateway.route(route, 1).status_code == 200
        served = {}
        for n in range(40):
            answer = gateway.predict(MODEL, rows=[ROW | {"flight": f"F{n}"}]).json()
            served[f"F{n}"] = (answer["version"], answer["request_id"])
        now = datetime.now(UTC)
        known, later = now.isoformat(), (now + timedelta(seconds=5)).isoformat()
        # The later version is liked better. By key and by request, twice, in any order; the last one known counts.
        ratings = [
            {"known_at": known, "numbers": {"rating": 1 + version}}
            | ({"key": key} if n % 2 else {"request_id": request})
            for n, (key, (version, request)) in enumerate(served.items())
        ]
        last = {"key": "F1", "known_at": later, "numbers": {"rating": 5, "cost": 0.5}, "label": 1}
        for batch in ([last], ratings, ratings[::-1]):
            assert gateway.http.post(PATH, json={"rows": batch}).status_code == 202
        for numbers, accepted in (({"stars": 1}, "cost, rating"), ({"rating": 9}, "from 1 to 5")):
            refused = gateway.http.post(PATH, json={"rows": [{"key": "F1", "known_at": known, "numbers": numbers}]})
            assert refused.status_code == 422
            assert accepted in refused.json()["error"]["accepted"]
        _pasted(gateway.url, gateway.http.get("/docs").text)
        schema = gateway.http.get("/openapi.json").json()["paths"][PATH]["post"]["requestBody"]
        assert '"maximum": 5.0' in json.dumps(schema)
        assert gateway.stop() == 0
    frame = ParquetPredictions(tmp_path / "home" / "predictions").rollout(MODEL, "r").set_index("key")
    assert len(frame) == 40
    assert set(frame["version"]) == {1, 2}
    assert frame.loc["F1", ["feedback.rating", "feedback.cost", "label"]].tolist() == [5, 0.5, 1]
    others = frame.drop(index="F1")
    assert (others["feedback.rating"] == 1 + others["version"]).all()
    assert others["feedback.cost"].isna().all()
    assert others["label"].isna().all()


def _pasted(url: str, page: str) -> None:
    """What the page tells people to paste is taken, and is of now."""
    told = html.unescape(next(line for line in page.split("<pre>") if "/feedback -d" in line).partition("</pre>")[0])
    words = shlex.split(told)
    assert words[2].startswith(url)
    assert httpx.post(words[2], content=words[4]).status_code == 202
    (row,) = json.loads(words[4])["rows"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(row["known_at"])) < timedelta(minutes=5)
    assert row["numbers"] == {"rating": 5, "cost": 100}
