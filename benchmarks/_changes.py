"""Changes of weight, hot swaps and blue-green switches while users ask; through the edge, and of the replicas directly.

Quiet times and changes take turns. Each change goes through the admin API by the platform's own adapter, and the next
is made only when every replica has acknowledged it. A hot swap puts a version in the champion's place that no replica
has seen before: it is read, verified, loaded, warmed up, and then answers; which version answers is asked each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path

from _bundles import MODEL, PATH, bundle, ours
from _replicas import Replicas, replicas
from _report import Row
from _scale import Found, Scale
from _users import Asked, users

from modelyard.ports.fleet import Arm, Route

RATE = 500.0
PAUSE_S = 0.1
LIMIT_MS = 25.0
WEIGHTS = (100, 500, 2000, 5000, 10_000, 7500, 0)
LIMITS = {"disagreement_above": 0.99, "latency_budget": 0.9}
"""The two versions of this benchmark differ at random, and its machine is busy: neither is what is measured here."""
Kind = tuple[Callable[[], None], Callable[[], None]]


def changes(scale: Scale, folder: Path) -> Found:
    """The slowest requests during changes beside those of quiet times, and what failed."""
    rows: list[Row] = []
    more: dict[str, dict[str, object]] = {}
    with replicas(folder / "home") as fleet:
        kinds = _kinds(fleet, folder)
        ways = {"edge": [fleet.edge_port], "direct": [each.port for each in fleet.all]}
        for way, ports in ways.items():
            met = _alternate(scale, kinds, ports)
            rows += _rows(scale, way, met)
            more[way] = {
                name: {"requests": len(a.latencies), "failed": dict(a.failed), "p99": a.quantile(0.99)}
                for name, a in met.items()
            }
    return Found(rows, {"users": f"{RATE:g} requests/s", "met": more})


def _alternate(scale: Scale, kinds: dict[str, Kind], ports: list[int]) -> dict[str, Asked]:
    met = {name: Asked() for name in ("quiet", *kinds)}
    each = -(-scale.changes // scale.rounds)
    for _ in range(scale.rounds):
        with users(ports, RATE, PATH, ours) as quiet:
            time.sleep(scale.seconds)
        met["quiet"] += quiet
        for name, (prepare, change) in kinds.items():
            prepare()
            with users(ports, RATE, PATH, ours) as asked:
                for _ in range(each):
                    change()
                    time.sleep(PAUSE_S)
            met[name] += asked
            said = f"p99 {asked.quantile(0.99):.1f} ms, quiet {quiet.quantile(0.99):.1f} ms, {asked.failures} failed"
            print(f"{each} {name}: {said}", flush=True)
    return met


def _kinds(fleet: Replicas, folder: Path) -> dict[str, Kind]:
    """What comes before, and what one change of each kind does.

    Weights change, and sides are switched, between two versions that are loaded: a rollout enters no stage before.
    """
    old, new = bundle(folder / "old", 1), bundle(folder / "new", 2)
    two = Route(model=MODEL, champion=old, challenger=new, salt="s", rollout="r", guardrails=LIMITS)
    weights, fresh = cycle(WEIGHTS), _fresh(folder)
    sides = cycle((10_000, 0))

    def loaded() -> None:
        fleet.follow(two)

    def weight() -> None:
        fleet.follow(two.model_copy(update={"weight": next(weights)}))

    def swap() -> None:
        arm = next(fresh)
        fleet.follow(Route(model=MODEL, champion=arm))
        assert fleet.versions() == {arm.version}

    def switch() -> None:
        side = next(sides)
        fleet.follow(two.model_copy(update={"weight": side}))
        assert fleet.versions() == {new.version if side else old.version}

    return {
        "weight changes": (loaded, weight),
        "hot swaps": (lambda: None, swap),
        "blue-green switches": (loaded, switch),
    }


def _fresh(folder: Path) -> Iterator[Arm]:
    """Versions that were never loaded."""
    for version in count(3):
        yield bundle(folder / f"fresh-{version}", version)


def _rows(scale: Scale, way: str, met: dict[str, Asked]) -> list[Row]:
    quiet, rows = met["quiet"].quantile(0.99), []
    limit = max(2 * quiet, LIMIT_MS)
    for name, asked in met.items():
        if name != "quiet":
            figure = f"{scale.changes} {name}, {way}"
            rows.append(Row(f"{figure}: failed", asked.failures, "requests", "the limit", 0, "lower", 1))
            rows.append(
                Row(f"{figure}: p99", asked.quantile(0.99), "ms", f"quiet {quiet:.1f} ms: the limit", limit, "lower", 1)
            )
    return rows
