"""What kill -9 of a gateway under load costs the prediction log: the stated bound by default, nothing where asked."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Route

BATCH = 2000
"""Rows of one batch by default."""


class Load:
    """Users who ask all the time and keep the ids of what they were answered, until the replica is gone."""

    def __init__(self, gateway: Gateway, users: int = 6) -> None:
        self.answered: set[str] = set()
        self._gateway = gateway
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(users)]

    def until_killed(self, answers: int) -> set[str]:
        """Kill the replica once so many answers were given; all that were."""
        for thread in self._threads:
            thread.start()
        while len(self.answered) < answers:
            assert any(thread.is_alive() for thread in self._threads), "nobody asks any more"
        self._gateway.kill()
        for thread in self._threads:
            thread.join()
        return self.answered

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._gateway.url, timeout=30) as client:
            for n in range(1_000_000):
                # One row goes the quick way, two the careful one.
                rows = [ROW | {"flight": f"U{number}-{n}-{place}"} for place in range(1 + n % 2)]
                try:
                    answer = client.post(f"/v1/models/{MODEL}/predict", json={"rows": rows})
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                self.answered |= {one["request_id"] for one in answer.json()["predictions"]}


def logged(home: Path) -> set[str]:
    frame = ParquetPredictions(home / "predictions").rollout(MODEL, "r")
    assert not frame.duplicated(["request_id", "key"]).any()
    return set(frame["request_id"])


@pytest.fixture
def route(tmp_path: Path) -> Route:
    old, new = (write_bundle_of(tmp_path / f"v{v}", version=v, onnx=graph(bias=v / 10))[1] for v in (1, 2))
    return Route(model=MODEL, champion=old, challenger=new, weight=2000, salt="s", rollout="r", paired=True)


def test_by_default_it_costs_what_is_stated(tmp_path: Path, route: Route) -> None:
    with running(tmp_path / "home") as gateway:
        gateway.route(route, 1)
        answered = Load(gateway).until_killed(600)
        gateway.start()
        gateway.stop()
    lost = len(answered - logged(tmp_path / "home"))
    # Rows of the last two seconds, of which there are at most a batch, and the batch that was being written.
    assert 0 < lost <= 2 * BATCH


def test_where_nothing_may_be_lost_nothing_is(tmp_path: Path, route: Route) -> None:
    home = tmp_path / "home"
    with running(home, "gateway-1", "--log-seconds", "0") as gateway:
        gateway.route(route, 1)
        before = Load(gateway).until_killed(600)
        assert before - logged(home)  # the files alone would not do
        gateway.start()  # writes down what is in the journal, and is killed again under load
        assert before <= logged(home)
        again = Load(gateway).until_killed(600)
        gateway.start()
        outcome = {"key": "U0-0-0", "label": 1, "known_at": datetime.now(UTC).isoformat()}
        assert gateway.http.post(f"/v1/models/{MODEL}/feedback", json={"rows": [outcome]}).status_code == 202
        gateway.kill()
        gateway.start()
        assert gateway.stop() == 0
    assert before | again <= logged(home)
    frame = ParquetPredictions(home / "predictions").rollout(MODEL, "r")
    assert (frame.set_index("key").loc[["U0-0-0"], "label"] == 1).all()
    assert list((home / "predictions" / ".journal" / "gateway-1").glob("*.wal")) == []
