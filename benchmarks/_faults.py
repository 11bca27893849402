"""What users meet when a replica is killed, and when the version on trial fails, hangs or is slow.

All of it behind the shipped edge, with two replicas, under a steady load. Each fault of a version is seen twice: with
the guardrails that a rollout gives its replicas, and with guardrails that only count (``dry_run``), where the fault
lasts: that no user notices must not hang on a quick trip. That the fault was met at all is asked of the replicas.
"""

from __future__ import annotations

import time
from pathlib import Path

from _bundles import MODEL, PATH, bundle, graph, ours
from _replicas import Replicas, replicas
from _report import ROOT, Row
from _scale import Found, Scale
from _users import Asked, users

from modelyard.config.settings import Settings
from modelyard.ports.fleet import Arm, Route
from modelyard.rollout.guardrails import GUARDS
from modelyard.rollout.policy import load_rollout_policy

RATE = 300.0
FAILS, HANGS, SLOW = 2, 3, 4
WAITS = {HANGS: 2.0, SLOW: 0.2}
"""Versions that take so many seconds for a score."""
SHARE = 2000
SHADOW_TARGET = 1 / 1.10


def faults(scale: Scale, folder: Path) -> Found:
    """Failed requests under each fault, and what a slow shadow adds."""
    with replicas(folder / "home", WAITS) as fleet:
        arms = {n: bundle(folder / str(n), n, graph(n, fails=n == FAILS)) for n in (1, FAILS, HANGS, SLOW)}
        alone = Route(model=MODEL, champion=arms[1])
        fleet.follow(alone)
        met = {"kill -9 of one replica": _killed(scale, fleet)}
        noticed: dict[str, dict[str, object]] = {}
        for name, version in (("a canary that fails", FAILS), ("a canary that hangs for 2 s", HANGS)):
            for guarded in (True, False):
                shown = name if guarded else f"{name}, never taken off"
                met[shown], noticed[shown] = _canary(scale, fleet, _route(arms, version, guarded))
                fleet.follow(alone)
        with_shadow, without = _shadow(scale, fleet, alone, _route(arms, SLOW, False, weight=0))
    met["a shadow that takes 200 ms"] = with_shadow
    rows = [Row(f"{name}: failed", a.failures, "requests", "the limit", 0, "lower", 1) for name, a in met.items()]
    p95 = with_shadow.quantile(0.95), without.quantile(0.95)
    rows.append(Row("p95 with the slow shadow", p95[0], "ms", "without it", p95[1], "lower", SHADOW_TARGET))
    shown_met = {
        name: {"requests": len(a.latencies), "failed": dict(a.failed), "p99": a.quantile(0.99)}
        for name, a in met.items()
    }
    return Found(rows, {"users": f"{RATE:g} requests/s", "met": shown_met, "replicas": noticed})


def _route(arms: dict[int, Arm], version: int, guarded: bool, weight: int = SHARE) -> Route:
    limits = load_rollout_policy(Settings.from_env({"MODELYARD_ROOT": str(ROOT)}), MODEL).guardrails.limits(2)
    if not guarded:
        limits = limits.model_copy(update={"dry_run": GUARDS})
    return Route(
        model=MODEL,
        champion=arms[1],
        challenger=arms[version],
        weight=weight,
        salt="s",
        rollout=f"{version}, {guarded}",
        paired=weight == 0,
        guardrails=limits.to_dict(),
    )


def _killed(scale: Scale, fleet: Replicas) -> Asked:
    """A third of the time with both, a third with one, a third while the other is back."""
    met, (*_, last) = Asked(), fleet.all
    for _ in range(scale.rounds):
        with users([fleet.edge_port], RATE, PATH, ours) as asked:
            for act in (lambda: None, last.kill, last.start):
                act()
                time.sleep(scale.fault_seconds / 3)
        fleet.edge.wait_for_all(len(fleet.all))
        met += asked
        print(f"killed once: {asked.failures} of {len(asked.latencies)} failed {dict(asked.failed)}", flush=True)
    return met


def _canary(scale: Scale, fleet: Replicas, route: Route) -> tuple[Asked, dict[str, object]]:
    """Users while the canary has its share, and what the replicas say of it."""
    fleet.follow(route)
    with users([fleet.edge_port], RATE, PATH, ours) as asked:
        time.sleep(scale.fault_seconds)
    counts = fleet.counts()
    assert sum(each.get("errors", 0) for each in counts.values()), f"no replica met the fault: {counts}"
    print(f"version {route.challenger and route.challenger.version}: {asked.failures} failed; {counts}", flush=True)
    return asked, dict(counts)


def _shadow(scale: Scale, fleet: Replicas, alone: Route, shadowed: Route) -> tuple[Asked, Asked]:
    """In turn with and without, each time in the other order."""
    met = {True: Asked(), False: Asked()}
    for number in range(2 * scale.rounds):
        first = bool(number % 2)
        for shadow in (first, not first):
            fleet.follow(shadowed if shadow else alone)
            with users([fleet.edge_port], RATE, PATH, ours) as asked:
                time.sleep(scale.seconds / 2 + 0.5)
            met[shadow] += asked
            if shadow:
                slow = [state.counts["guard.latency_slo"] for state in fleet.fleet.state(MODEL).values()]
                assert all(each["failures"] for each in slow), f"the shadow was not asked, or was not slow: {slow}"
    return met[True], met[False]
