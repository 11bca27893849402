"""The past as traffic: nothing is asked or told before its time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from modelyard.config.project import ModelSpec, Project
from modelyard.core.window import Window
from modelyard.demo.past import Past

START = datetime(2013, 4, 9, tzinfo=UTC)
SPEC = {
    "name": "delays",
    "description": "d",
    "owner": "o",
    "source": {"file": "x.csv", "event_time": "at", "known_at": "known", "key": "id"},
    "entities": {"carrier": "carrier"},
    "label": {"column": "late", "depends_on_answer": False},
    "feature_builder": "f:build",
    "feature_views": {"recent": {"entity": "carrier", "ttl_hours": 3}},
    "features": {
        "distance": {"kind": "numeric", "from": "request", "nullable": True},
        "carrier": {"kind": "categorical", "from": "request"},
        "rate": {"kind": "numeric", "from": "recent", "nullable": True},
    },
}


def hour(place: int) -> Window:
    return Window(start=START + timedelta(hours=place), end=START + timedelta(hours=place + 1))


@pytest.fixture
def past(tmp_path: Path) -> Past:
    rows = pd.DataFrame(
        {
            "id": ["b", "a", "c", "d"],
            "at": pd.to_datetime(
                ["2013-04-09 00:30", "2013-04-09 00:10", "2013-04-09 01:00", "2013-04-09 00:59"], utc=True
            ),
            "known": pd.to_datetime(["2013-04-09 02:00", "2013-04-09 03:59", None, "2013-04-09 02:30"], utc=True),
            "carrier": ["UA", "DL", "UA", "AA"],
            "distance": [1.0, float("nan"), 3.0, 4.0],
            "rate": [0.1, 0.2, 0.3, 0.4],
            "late": [1.0, 0.0, float("nan"), 0.0],
        }
    )
    return Past(Project(tmp_path, ModelSpec.model_validate(SPEC), {}), rows)


def test_requests_come_in_order_with_what_is_known_when_they_are_made(past: Past) -> None:
    made = list(past.requests(hour(0)))
    assert [path for path, _ in made] == ["/v1/models/delays/predict"] * 3
    bodies = [body for _, body in made]
    assert [body["rows"][0]["id"] for body in bodies] == ["a", "b", "d"]
    assert bodies[0] == {
        "rows": [{"id": "a", "carrier": "DL", "distance": None}],
        "event_time": "2013-04-09T00:10:00+00:00",
    }
    json.dumps(bodies, allow_nan=False)


def test_hours_are_half_open(past: Past) -> None:
    assert [body["rows"][0]["id"] for _, body in past.requests(hour(1))] == ["c"]
    assert list(past.requests(hour(2))) == []


def test_outcomes_are_told_in_the_hour_in_which_they_became_known_and_unknown_ones_never(past: Past) -> None:
    assert list(past.feedback(hour(0))) == []
    told = [row for place in range(24) for _, body in past.feedback(hour(place)) for row in body["rows"]]
    assert [row["key"] for row in told] == ["b", "d", "a"]
    (path, body), *more = past.feedback(hour(2))
    assert (path, more) == ("/v1/models/delays/feedback", [])
    assert body["rows"][0] == {"key": "b", "label": 1.0, "known_at": "2013-04-09T02:00:00+00:00"}


def test_many_outcomes_are_sent_in_parts(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.demo.past._MOST_OUTCOMES", 1)
    assert len(list(past.feedback(hour(2)))) == 2
