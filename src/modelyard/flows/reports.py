"""Keeps what was drawn for people with the MLflow run that it is about."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from modelyard.core.records import Release
from modelyard.ports.platform import Platform

FOLDER = "drift"


def keep(platform: Platform, release: Release, report: Path, folder_of_run: str = FOLDER) -> None:
    """Keep a report under a folder of the release's MLflow run. The same report again replaces itself.

    Raises:
        Unavailable: MLflow does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(report, Path(folder) / report.name)
        with platform.tracking.resume(release.mlflow_run_id) as run:
            run.folder(Path(folder), folder_of_run)
