"""``summary.json``: what has happened, read back from the ledger, Airflow and the prediction log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.core.records import Release
from modelyard.demo.airflow_api import AirflowUser, DagRun
from modelyard.demo.gateway_client import Tally
from modelyard.ports.platform import Platform
from modelyard.rollout.state import RolloutState

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def summarise(platform: Platform, model: str, airflow: AirflowUser, tally: Tally, seconds: Mapping[str, float]) -> Json:
    """Everything that the demo is judged by."""
    ledger = platform.ledger
    releases = [release for release, _ in ledger.releases.history(model)]
    rollouts = [RolloutState.model_validate(body) for body in ledger.rollouts.history(model)]
    return {
        "champion": _champion(ledger.releases.champion(model)),
        "retrainings": list(_retrainings(airflow, f"{model}__retrain", releases)),
        "approvals": [
            {
                "who": approval.by,
                "when": approval.at.isoformat(),
                "release": approval.release,
                "version": release.version,
                "automatic": approval.automatic,
                "answer": approval.answer,
            }
            for release in releases
            for approval in ledger.journal.approvals(release.digest)
        ],
        "rollouts": [_rollout(state, platform.predictions.rollout(model, state.id), tally) for state in rollouts],
        "requests_total": sum(tally.sent.values()),
        "requests_failed": tally.failed,
        "requests": dict(tally.sent),
        "wall_seconds": round(sum(seconds.values()), 1),
        "stages": [{"name": name, "seconds": spent} for name, spent in seconds.items()],
    }


def _champion(release: Release | None) -> Json | None:
    if release is None:
        return None
    return {
        "name": release.model,
        "version": release.version,
        "semver": release.semver,
        "mlflow_run_id": release.mlflow_run_id,
        "release": release.digest,
    }


def _retrainings(airflow: AirflowUser, dag: str, releases: Iterable[Release]) -> Iterable[Json]:
    """Every retraining run that made a release, in order; what it was for is what its plan has written down."""
    by_digest = {release.digest: release for release in releases}
    for run in airflow.runs(dag):
        made = by_digest.get(str(airflow.result(run, "train") or ""))
        plan = airflow.result(run, "plan")
        if made is not None and isinstance(plan, dict):
            yield _retraining(run, plan, made)


def _retraining(run: DagRun, plan: Mapping[str, str], made: Release) -> Json:
    return {
        "reason": plan["reason"],
        "trigger": plan["trigger"],
        "evidence": plan["evidence"] or None,
        "as_of": plan["as_of"],
        "version": made.version,
        "release": made.digest,
        "dag_run": run.dag_run_id,
    }


def _rollout(state: RolloutState, log: pd.DataFrame, tally: Tally) -> Json:
    return {
        "version": state.challenger.version,
        "release": state.release,
        "outcome": state.status,
        "strategy": state.strategy,
        "reason": state.reason,
        "stages": [_stage(state, *bounds, log, tally) for bounds in _stages(state)],
    }


def _stages(state: RolloutState) -> Iterable[tuple[int, datetime, datetime | None]]:
    """(stage, when it was entered, when it was left) of each stage that was entered; a revert has none."""
    entered = [event for event in state.events if event.kind == "entered"]
    if not entered:
        return
    ends = [*(event.at for event in entered[1:]), state.events[-1].at if state.closed else None]
    yield from ((event.stage, event.at, end) for event, end in zip(entered, ends, strict=True))


def _stage(
    state: RolloutState, stage: int, start: datetime, end: datetime | None, log: pd.DataFrame, tally: Tally
) -> Json:
    served = log["served_at"]
    within = log[(served >= start) & (served < end)] if end is not None else log[served >= start]
    failed = [at for at, _, _ in tally.failures if at >= start.timestamp() and (end is None or at < end.timestamp())]
    return {
        "weight": state.stages[stage].weight,
        "seconds": None if end is None else round((end - start).total_seconds(), 1),
        "requests": {str(name): int(count) for name, count in within["variant"].value_counts().items()},
        "failed_requests": len(failed),
    }
