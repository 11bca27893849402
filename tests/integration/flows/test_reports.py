"""A drift report is kept with the MLflow run that it is about, on a real MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from integration.flows.decisions import MODEL, NOW, here

from modelyard.adapters.mlflow_tracking import MlflowTracking
from modelyard.flows import monitor, reports

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass
class Tracked:
    """What the flow uses of a platform."""

    tracking: MlflowTracking


def test_the_report_is_an_artifact_of_the_run(ledger_engine: Engine, tmp_path: Path, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    platform = Tracked(MlflowTracking(mlflow_uri))
    with platform.tracking.start("reports", "v1", {}) as run:
        run_id = run.id
    release = here(ledger_engine, tmp_path).release(mlflow_run_id=run_id)
    for hour in (0, 0, 1):
        path = monitor.report_path(tmp_path, MODEL, NOW + timedelta(hours=hour))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<html>{hour}</html>")
        reports.keep(platform, release, path)  # type: ignore[arg-type]
    client = MlflowClient(mlflow_uri)
    kept = [file.path for file in client.list_artifacts(run_id, "drift")]
    assert kept == ["drift/2013-05-01T0000Z.html", "drift/2013-05-01T0100Z.html"]
    reports.keep(platform, release, path, "report")  # type: ignore[arg-type]
    assert [file.path for file in client.list_artifacts(run_id, "report")] == ["report/2013-05-01T0100Z.html"]
    assert client.get_run(run_id).info.status == "FINISHED"
