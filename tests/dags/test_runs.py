"""DAG runs through ``dag.test()``: real flows on a real ledger, a real gateway and a real MLflow."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from fixtures.bundles import ROW, graph
from fixtures.gateways import Gateway
from fixtures.platforms import release_for

from .conftest import MODEL, Stage


def skipped(run: dict[str, Any]) -> set[str]:
    """The tasks that were skipped."""
    return {task for task, state in run["tasks"].items() if state == "skipped"}


class Users:
    """Requests without a pause, until told to stop; only while the challenger has at least this weight."""

    def __init__(self, gateway: Gateway, weight: int = 0) -> None:
        self._gateway, self._weight, self._done = gateway, weight, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: list[int] = []

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._done.wait(0.01):
            if self._weight and self._gateway.state(MODEL)["weight"] < self._weight:
                continue
            number += 1
            far = ROW | {"flight": f"UA{number}", "distance": 8000.0}  # where the broken version fails
            self.statuses.append(self._gateway.predict(MODEL, rows=[far]).status_code)


def test_nothing_is_checked_while_there_is_no_champion(stage: Stage) -> None:
    (found,) = stage.run("monitor", as_of="2013-04-10T00:00:00+00:00")
    assert found["state"] == "success"
    assert set(found["tasks"].values()) == {"skipped"}


def test_a_first_release_goes_live_and_a_second_run_changes_nothing(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 1, datetime.now(UTC))
    first, second = stage.run("rollout", times=2, release=release)
    assert first["state"] == second["state"] == "success"
    assert skipped(first) == {"stage_1", "stage_2", "stage_3", "stand_down", "roll_back"}
    assert skipped(second) == {"stage_0", *skipped(first)}
    champion = stage.platform.ledger.releases.champion(MODEL)
    assert champion is not None
    assert champion.digest == release
    answer = stage.gateway.predict(MODEL, rows=[ROW]).json()["predictions"][0]
    assert (answer["version"], answer["variant"]) == (1, "champion")
    assert [body["status"] for body in stage.platform.ledger.rollouts.history(MODEL)] == ["promoted"]


def test_a_version_that_fails_under_traffic_is_rolled_back_and_nobody_notices(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 2, datetime.now(UTC), onnx=graph(fault="raise"))
    with Users(stage.gateway) as users:
        (found,) = stage.run("rollout", release=release)
    assert found["state"] == "success"
    assert found["tasks"]["roll_back"] == "success"
    assert skipped(found) == {"stage_1", "stage_2", "stage_3", "stand_down", "promote"}
    ledger = stage.platform.ledger
    assert ledger.releases.state(release) == "quarantined"
    champion = ledger.releases.champion(MODEL)
    assert champion is not None
    assert champion.version == 1
    assert set(users.statuses) == {200}


def test_a_release_that_nobody_approved_fails_with_a_message(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 3, datetime.now(UTC), approve=False)
    (found,) = stage.run("rollout", release=release)
    assert found["state"] == "failed"
    assert found["tasks"]["start"] == "failed"
    assert found["tasks"]["stage_0"] == "upstream_failed"
