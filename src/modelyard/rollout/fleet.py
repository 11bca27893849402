"""What is asked of the replicas and the edge in each stage, beside what is asked of the release. Pure.

A replica that is lost, an edge that does not answer or a load that is not spread says nothing against the release: such
a check holds the stage (until its deadline) and never fails it. Replicas that answer the same input differently do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

REPLICAS, ALIKE, EDGE, EDGE_SMOKE, LEAST = "replicas", "replicas_alike", "edge", "edge_smoke", "least_share"
LEAST_SHARE = 0.5
"""Each replica answers at least this part of an even share of the requests of the stage."""
ROWS_PER_REPLICA = 50
"""Fewer rows than this for each replica say nothing about how the load is spread."""


def balance(frame: pd.DataFrame, replicas: Sequence[str], entered: datetime) -> Measurement:
    """The share of the replica that answered the fewest rows of the stage, as a part of an even share.

    From the prediction log: the platform's own probes are not in it.
    """
    if "replica" not in frame.columns or not replicas:
        return Measurement(name=LEAST, value=None, why="the log does not say which replica answered")
    counts = frame.loc[frame["served_at"] >= entered, "replica"].value_counts()
    rows = {name: int(counts.get(name, 0)) for name in sorted(replicas)}
    total = sum(rows.values())
    shown = ", ".join(f"{name}: {n}" for name, n in rows.items())
    if total < ROWS_PER_REPLICA * len(rows):
        return Measurement(name=LEAST, value=None, n=total, why=f"{total} rows are too few ({shown})")
    return Measurement(name=LEAST, value=min(rows.values()) * len(rows) / total, n=total, evidence=shown)


def judge(found: Mapping[tuple[str, str], Measurement], *, traffic: bool = True) -> tuple[Verdict, ...]:
    """A verdict for each check of the fleet; ``traffic`` False leaves out what only a stage's traffic can show."""
    edge = found.get((EDGE, ""))
    asked = [_replicas(found.get((REPLICAS, ""))), _alike(found.get((ALIKE, "")))]
    asked.append(_behind(edge, "edge", lambda: _smoke(found.get((EDGE_SMOKE, "")))))
    if traffic:
        asked.append(_behind(edge, "balance", lambda: _balance(found.get((LEAST, "")))))
    return tuple(asked)


def _replicas(healthy: Measurement | None) -> Verdict:
    if healthy is None or healthy.value is None:
        return _missing("replicas", healthy)
    condition = Condition(direction="at_least", bound=max(healthy.n, 1))
    fine = condition.holds(healthy.value)
    reason = f"{healthy.value:.0f} of {healthy.n} replicas follow the split"
    reason += "" if fine else f" ({healthy.evidence})"
    return _verdict("replicas", fine, reason, healthy, condition)


def _alike(alike: Measurement | None) -> Verdict:
    if alike is None or alike.value is None:
        return _missing("alike", alike)
    if alike.value > 0:
        reason = f"the replicas do not answer alike: {alike.evidence}"
        return _made("alike", Outcome.FAILED, reason, alike)
    return _made("alike", Outcome.SUCCESSFUL, f"{alike.n} replicas answer alike", alike)


def _smoke(smoke: Measurement | None) -> Verdict:
    if smoke is None or smoke.value is None:
        return _missing("edge", smoke)
    reason = "the edge answers as the replicas do" if smoke.value == 0 else f"through the edge: {smoke.evidence}"
    return _verdict("edge", smoke.value == 0, reason, smoke, Condition(direction="at_most", bound=0))


def _balance(least: Measurement | None) -> Verdict:
    if least is None or least.value is None:
        return _missing("balance", least)
    condition = Condition(direction="at_least", bound=LEAST_SHARE)
    reason = f"the least busy replica has {least.value:.2f} of an even share ({condition}; {least.evidence})"
    return _verdict("balance", condition.holds(least.value), reason, least, condition)


def _behind(edge: Measurement | None, check: str, judged: Callable[[], Verdict]) -> Verdict:
    """A check that only an installation with an edge has. Not to know whether there is one is no pass."""
    if edge is None or edge.value is None:
        return _missing(check, edge)
    if edge.value > 0:
        return judged()
    reason = f"{check}: not applicable, no edge is configured (MODELYARD_EDGE_URL)"
    return _made(check, Outcome.SUCCESSFUL, reason, edge, severity=Severity.INFORMATIONAL)


def _verdict(check: str, fine: bool, reason: str, measured: Measurement, condition: Condition) -> Verdict:
    outcome = Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE
    return _made(check, outcome, reason, measured, condition=condition)


def _missing(check: str, measured: Measurement | None) -> Verdict:
    why = "it was not measured" if measured is None else measured.why
    return _made(check, Outcome.INCONCLUSIVE, f"{check}: no evidence ({why})", measured)


def _made(
    check: str,
    outcome: Outcome,
    reason: str,
    measured: Measurement | None,
    *,
    condition: Condition | None = None,
    severity: Severity = Severity.BLOCKER,
) -> Verdict:
    kept = () if measured is None else (measured,)
    return Verdict(
        check=check,
        outcome=outcome,
        severity=severity,
        reason=reason,
        condition=condition,
        measurements=kept,
        category="fleet",
    )
