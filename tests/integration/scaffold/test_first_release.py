"""What `modelyard init` writes can ship as it is: its first release passes the gates of this repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from modelyard.config.policies import load_policy
from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.drift.policy import DriftPolicy
from modelyard.flows import offline
from modelyard.gates.assess import READY, assess
from modelyard.gates.policy import GatePolicy
from modelyard.scaffold.write import write_skeleton

ROOT = Path(__file__).parents[3]
END = datetime(2026, 1, 1, tzinfo=UTC)


def settings(root: Path) -> Settings:
    write_skeleton("churn", root / "projects", end=END)
    shipped = Settings.from_env({"MODELYARD_ROOT": str(ROOT)})
    return shipped.model_copy(update={"projects": (*shipped.projects, root / "projects")})


def test_the_first_release_of_a_skeleton_is_ready(tmp_path: Path) -> None:
    here = settings(tmp_path)
    project = load_project("churn", here)
    taken, joined, bundle, found = (tmp_path / name for name in ("snapshot", "features", "bundle", "evidence"))
    offline.snapshot(project, taken, END)
    offline.features(project, taken, joined)
    release = offline.train(project, taken, joined, bundle, tmp_path / "train.json")
    evidence = offline.evaluate(project, joined, bundle, found, tmp_path / "evaluation.json")
    policy = load_policy(GatePolicy, "gates", here, "churn")
    decision = assess(
        policy, evidence.measurements, model="churn", release=release.digest, champion=None, as_of=END,
        evidence=evidence.digest,
    )  # fmt: skip
    assert decision.action == READY, decision.reasons


def test_a_week_of_a_skeleton_has_the_labels_that_the_drift_policy_asks_for(tmp_path: Path) -> None:
    here = settings(tmp_path)
    policy = load_policy(DriftPolicy, "drift", here, "churn")
    rows = pd.read_csv(load_project("churn", here).folder / "data.csv", parse_dates=["read_at", "known_at"])
    week = rows[rows["read_at"].ge(END - timedelta(days=8)) & rows["known_at"].lt(END)]
    assert len(week) >= policy.calibration.min_labels
