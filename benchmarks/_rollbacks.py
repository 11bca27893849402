"""How long a rollback takes: from the decision to the moment at which no replica gives the canary anything.

The rollout's own flows, on a real ledger (PostgreSQL that waits for the disk) and two real replicas under load. Half of
the rollbacks are decided by a look, whose rows say that the version does harm and whose stage is over; half by a
person's abort. The clock of the first begins when the look's decision is put on record, that of the second with the
call; both end when the last replica has acknowledged the champion alone. What then follows (quarantine, probes of every
replica, records) is told beside it. The rows of the looks and MLflow's tags are kept in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from _bundles import trust
from _fixtures import (
    ROW,
    TESTS_KEY,
    FakePlatform,
    MemoryPredictions,
    graph,
    release_for,
    running_server,
    write_project,
)
from _replicas import Replicas, replicas
from _report import Row
from _scale import Found, Scale
from _users import Asked, users

from modelyard.adapters.db.engine import connect, migrate
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.flows import rollout

MODEL, PATH = "delays", "/v1/models/delays/predict"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
"""Past the deadline of the first stage."""
RATE = 200.0
LIMIT_MS = 250.0


class Noted:
    """Passes everything on, and notes when one method was called (``begin``) or came back."""

    def __init__(self, inner: Any, method: str, times: list[float], *, begin: bool) -> None:
        self._inner, self._method, self._times, self._begin = inner, method, times, begin

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            answer = found(*args, **kwargs)
            self._times.append(begun if self._begin else time.perf_counter())
            return answer

        return called


class NotedLedger:
    """A ledger, of whose looks it is noted when they are put on record."""

    def __init__(self, inner: PostgresLedger, looks: list[float]) -> None:
        self._inner, self.rollouts = inner, Noted(inner.rollouts, "look", looks, begin=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def rollbacks(scale: Scale, folder: Path) -> Found:
    """The times of all rollbacks, by who decided."""
    times: dict[str, list[float]] = {"a look": [], "a person": []}
    whole: list[float] = []
    with _platform(folder) as (platform, fleet, looks, followed), _users(fleet) as asked:
        for number in range(scale.rollbacks):
            by = list(times)[number % 2]
            opened = _canary(platform, fleet, number + 2)
            followed.clear()
            begun = time.perf_counter()
            if by == "a look":
                found = rollout.look(platform, opened, LATER)
                assert found.status == "rolling_back", found.reason
                begun = looks[-1]
                rollout.roll_back(platform, opened, LATER)
            else:
                rollout.abort(platform, MODEL, "ann", "a benchmark", LATER)
            whole.append(1e3 * (time.perf_counter() - begun))
            times[by].append(1e3 * (followed[0] - begun))
            _verify(fleet, alone=True)
    for by, found_ms in times.items():
        print(f"decided by {by}: median {np.median(found_ms):.1f} ms, most {max(found_ms):.1f} ms", flush=True)
    return Found(_rows(times, asked.failures), {"whole_p99_ms": _p99(whole), "users": f"{RATE:g} requests/s"})


@contextmanager
def _platform(folder: Path) -> Iterator[tuple[FakePlatform, Replicas, list[float], list[float]]]:
    """A platform with a champion; when looks were put on record, and when all replicas had followed a route."""
    looks: list[float] = []
    followed: list[float] = []
    folder.joinpath("database").mkdir()
    with running_server(folder / "database", durable=True) as server, replicas(folder / "home") as fleet:
        trust(folder / "home", TESTS_KEY)
        engine = connect(server.fresh("ledger"))
        migrate(engine)
        ledger = NotedLedger(PostgresLedger(engine), looks)
        platform = FakePlatform(
            write_project(folder, MODEL), ledger, Noted(fleet.fleet, "apply", followed, begin=False)
        )
        platform.predictions = MemoryPredictions(worse=3.0, now=NOW)
        first = release_for(platform, MODEL, 1, NOW)
        rollout.promote(
            platform, rollout.enter(platform, rollout.start(platform, first, NOW).id, 0, NOW).id, NOW, by="ann"
        )
        yield platform, fleet, looks, followed
        engine.dispose()


def _canary(platform: FakePlatform, fleet: Replicas, version: int) -> str:
    """Open a rollout and give the canary its first share on every replica; the rollout's id."""
    release = release_for(platform, MODEL, version, NOW, onnx=graph(bias=version / 1e4))
    opened = rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)
    _verify(fleet, alone=False)
    return opened.id


def _verify(fleet: Replicas, *, alone: bool) -> None:
    states = fleet.fleet.state(MODEL)
    found = {name: (s.challenger is None, s.weight == 0) for name, s in states.items()}
    assert found == {each.name: (alone, alone) for each in fleet.all}, states


def _users(fleet: Replicas) -> AbstractContextManager[Asked]:
    return users([each.port for each in fleet.all], RATE, PATH, _body)


def _body(n: int) -> bytes:
    return json.dumps({"rows": [ROW | {"flight": f"k{n}"}]}).encode()


def _p99(values: list[float]) -> float:
    return float(np.quantile(values, 0.99))


def _rows(times: dict[str, list[float]], failed: int) -> list[Row]:
    figure = f"{sum(map(len, times.values()))} rollbacks"
    rows = [
        Row(f"{figure}: p99 until 0 %, decided by {by}", _p99(each), "ms", "the limit", LIMIT_MS, "lower", 1)
        for by, each in times.items()
    ]
    every = [value for each in times.values() for value in each]
    rows.insert(0, Row(f"{figure}: p99 until 0 %", _p99(every), "ms", "the limit", LIMIT_MS, "lower", 1))
    return [*rows, Row(f"{figure}: failed", failed, "requests", "the limit", 0, "lower", 1)]
