"""What `modelyard init` writes can ship as it is: its first release passes the gates of this repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from fixtures.gate_evidence import sound
from fixtures.keys import KEY, write_keys

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.readiness import supervision
from modelyard.core.verdict import Measurement
from modelyard.drift.policy import DriftPolicy
from modelyard.flows import offline
from modelyard.flows.measuring import evaluation_rows
from modelyard.flows.surroundings import measure_code, measure_running, measure_supply
from modelyard.gates.assess import READY, assess
from modelyard.gates.catalogue import MEASUREMENTS
from modelyard.gates.policy import GatePolicy
from modelyard.release.bundle import Bundle, read_bundle, sign_bundle
from modelyard.scaffold.write import write_skeleton

ROOT = Path(__file__).parents[3]
END = datetime(2026, 1, 1, tzinfo=UTC)


def settings(root: Path) -> Settings:
    write_skeleton("churn", root / "projects", end=END)
    shipped = Settings.from_env({"MODELYARD_ROOT": str(ROOT)})
    own = {"projects": (*shipped.projects, root / "projects"), "home": root, "profile": "demo"}
    return shipped.model_copy(update=own | {"trusted_keys_file": root / "trusted-keys.pem"})


def test_the_first_release_of_a_skeleton_is_ready(tmp_path: Path) -> None:
    here = settings(tmp_path)
    project = load_project("churn", here)
    taken, joined, bundle, found = (tmp_path / name for name in ("snapshot", "features", "bundle", "evidence"))
    offline.snapshot(project, taken, END)
    offline.features(project, taken, joined)
    release = offline.train(project, taken, joined, bundle, tmp_path / "train.json")
    evidence = offline.evaluate(project, joined, bundle, found, tmp_path / "evaluation.json")
    policy = load_policy(GatePolicy, "gates", here, "churn")
    around = surroundings(here, project, read_bundle(bundle.as_uri()), joined / "frame.parquet", bundle)
    recorded = [
        m for m in sound(policy, release.digest, None, END).values() if MEASUREMENTS[m.name].group == "standing"
    ]
    decision = assess(
        policy, [*evidence.measurements, *around, *recorded], model="churn", release=release.digest, champion=None,
        as_of=END, evidence=evidence.digest,
    )  # fmt: skip
    assert decision.action == READY, decision.reasons
    assert supervision(decision.verdicts) in ("at_once", "with_monitoring")


def surroundings(here: Settings, project: Project, ours: Bundle, frame: Path, folder: Path) -> list[Measurement]:
    """What a platform adds: its code, its packages, and a real gateway that loads the signed bundle."""
    write_keys(here.home)
    sign_bundle(folder.as_uri(), ours.release, KEY)
    places = SimpleNamespace(bundle=lambda _: folder.as_uri())
    platform: Any = SimpleNamespace(settings=here, ledger=SimpleNamespace(releases=places))
    rows, _ = evaluation_rows(project, pd.read_parquet(frame), ours.release)
    return [
        *measure_code(project, ours.release), *measure_supply(platform, ours.release),
        *measure_running(platform, rows[-50:], ours),
    ]  # fmt: skip


def test_a_week_of_a_skeleton_has_the_labels_that_the_drift_policy_asks_for(tmp_path: Path) -> None:
    here = settings(tmp_path)
    policy = load_policy(DriftPolicy, "drift", here, "churn")
    rows = pd.read_csv(load_project("churn", here).folder / "data.csv", parse_dates=["read_at", "known_at"])
    week = rows[rows["read_at"].ge(END - timedelta(days=8)) & rows["known_at"].lt(END)]
    assert len(week) >= policy.calibration.min_labels
