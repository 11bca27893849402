"""The training flow on real components: DVC, PostgreSQL, MLflow, and a bundle store on disk."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fixtures.database import PostgresServer
from fixtures.keys import TRUST, write_keys
from fixtures.tiny_project import MODEL, WINDOW, write_tiny
from typer.testing import CliRunner

from modelyard.cli import app
from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError, Conflict, IntegrityError
from modelyard.core.records import Release, Snapshot
from modelyard.core.verdict import Decision, Outcome
from modelyard.flows import gate, ingest, registry
from modelyard.flows.evaluate import evaluate, read_evidence
from modelyard.flows.releases import diff, verify
from modelyard.flows.reproduce import reproduce
from modelyard.flows.snapshot import take
from modelyard.flows.train import train
from modelyard.gates.policy import GatePolicy
from modelyard.release.bundle import read_bundle
from modelyard.release.score import BundleModel
from modelyard.wiring import ConnectedPlatform

AS_OF = WINDOW.end
ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def platform(
    postgres_server: PostgresServer, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConnectedPlatform]:
    from modelyard.adapters.db.engine import connect, migrate

    database = postgres_server.fresh("train")
    engine = connect(database)
    migrate(engine)
    settings = write_tiny(tmp_path_factory.mktemp("tiny"))
    write_keys(settings.home)
    yield ConnectedPlatform(settings.model_copy(update={"database_url": database, "mlflow_uri": mlflow_uri}))
    engine.dispose()


@pytest.fixture(scope="module")
def snapshot(platform: ConnectedPlatform) -> Snapshot:
    assert ingest.catch_up(platform, MODEL, AS_OF) > 2900
    return take(platform, MODEL, AS_OF)


def order(platform: ConnectedPlatform, snapshot: Snapshot, **more: Any) -> Release:
    asked = {"as_of": AS_OF, "reason": "first model", "author": "ada", "now": NOW}
    return train(platform, MODEL, snapshot.content, **(asked | more))


@pytest.fixture(scope="module")
def first(platform: ConnectedPlatform, snapshot: Snapshot) -> Release:
    with pytest.raises(Conflict, match="only a validated one"):
        order(platform, snapshot)
    platform.ledger.snapshots.mark(snapshot.content, "valid", "test")
    return order(platform, snapshot)


def test_a_release_is_recorded_with_everything_that_made_it(
    platform: ConnectedPlatform, first: Release, snapshot: Snapshot
) -> None:
    assert (first.version, first.semver, first.dvc_md5) == (1, "1.0.0", snapshot.dvc_md5)
    assert platform.ledger.releases.get(first.digest) == first
    assert platform.ledger.releases.state(first.digest) == "candidate"
    assert {"params", "training_frame", "environment", "architecture", "evaluation_window"} <= set(first.parts)
    assert set(first.files) == {
        "model.onnx", "weights.safetensors", "signature.json", "calibration.json", "example.json", "profile.json",
        "thresholds.json", "params.json",
    }  # fmt: skip
    assert {
        "release_owner": "tests",
        "rollback_owner": "tests",
        "container_image": "none",
        "device": "cpu",
    }.items() <= (first.parts.items())
    assert {"configuration", "evaluation_set", "profile"} <= set(first.parts)


def test_it_is_signed_where_it_lies_and_in_mlflow(
    platform: ConnectedPlatform, first: Release, mlflow_uri: str, tmp_path: Path
) -> None:
    from mlflow.artifacts import download_artifacts

    assert verify(platform, first.digest).faults == ()
    kept = download_artifacts(f"runs:/{first.mlflow_run_id}/bundle", dst_path=str(tmp_path), tracking_uri=mlflow_uri)
    assert read_bundle(Path(kept).as_uri(), trust=TRUST).release == first


def test_it_is_made_again_to_the_last_bit(platform: ConnectedPlatform, first: Release) -> None:
    before = len(platform.tracking.versions(MODEL))
    found = reproduce(platform, first)
    assert {c.what: c.result for c in found.results} == dict.fromkeys([*first.files, *first.metrics], "same")
    assert [c.what for c in found.inputs if c.result != "same"] == []
    assert found.same
    assert len(platform.tracking.versions(MODEL)) == before


def test_with_other_numbers_in_params_yaml_it_is_made_by_its_own(
    platform: ConnectedPlatform, first: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with another seed in the place of its own it comes out otherwise, which is told."""
    file = platform.settings.params
    kept = file.read_text()
    try:
        file.write_text(kept.replace("seed: 3", "seed: 4"))
        assert reproduce(platform, first).same
        monkeypatch.setattr("modelyard.flows.reproduce.PARAMS", "none.json")  # as in a release from before
        found = reproduce(platform, first)
    finally:
        file.write_text(kept)
    assert not found.same
    assert "params" in [c.what for c in found.inputs if c.result == "differs"]
    assert "weights.safetensors" in [c.what for c in found.results if c.result == "differs"]


def test_the_published_bundle_is_whole_and_answers_its_example(platform: ConnectedPlatform, first: Release) -> None:
    bundle = read_bundle(platform.ledger.releases.bundle(first.digest), first.digest)
    assert BundleModel(bundle).check_example() < 1e-6


def test_mlflow_shows_the_run(platform: ConnectedPlatform, first: Release, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    run = client.get_run(first.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.02"
    assert len(client.get_metric_history(first.mlflow_run_id, "validation_loss")) == 3
    assert run.inputs.dataset_inputs[0].dataset.digest == first.dvc_md5
    kept = {
        f.path for folder in ("bundle", "plots", "environment") for f in client.list_artifacts(run.info.run_id, folder)
    }
    assert {
        "bundle/manifest.json",
        "bundle/model.onnx",
        "plots/learning_curve.png",
        "environment/requirements.txt",
    } <= kept
    version = client.get_model_version(MODEL, str(first.version))
    assert (version.run_id, version.tags["modelyard.release"]) == (first.mlflow_run_id, first.digest)


def test_a_repeated_order_is_the_same_release(platform: ConnectedPlatform, first: Release, snapshot: Snapshot) -> None:
    assert order(platform, snapshot, now=NOW + timedelta(hours=1)) == first
    assert len(platform.tracking.versions(MODEL)) == 1


def test_an_interrupted_order_goes_on_in_its_run(
    platform: ConnectedPlatform,
    first: Release,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def cut_off(*_: object) -> str:
        raise KeyboardInterrupt

    before = len(platform.ledger.releases.history(MODEL))
    with monkeypatch.context() as patched:
        patched.setattr("modelyard.flows.train.publish_bundle", cut_off)
        with pytest.raises(KeyboardInterrupt):
            order(platform, snapshot, reason="again")
    assert len(platform.ledger.releases.history(MODEL)) == before
    versions = platform.tracking.versions(MODEL)
    assert versions[max(versions)]["modelyard.state"] == "unreleased"
    (kept,) = (platform.settings.home / "checkpoints" / MODEL).iterdir()
    with caplog.at_level(logging.INFO):
        again = order(platform, snapshot, reason="again")
    # What was trained is not trained again, and nothing of it is left afterwards.
    assert "goes on from a checkpoint: epoch 4, batch 0" in caplog.text
    assert not kept.exists()
    assert (again.version, again.semver) == (max(versions), "1.0.1")
    assert set(platform.tracking.versions(MODEL)) == set(versions)
    # The same rows, numbers and code: the same model, bit by bit.
    assert again.files == first.files


def test_other_serving_units_change_the_signature_alone(
    platform: ConnectedPlatform, first: Release, snapshot: Snapshot
) -> None:
    overrides = {"serving_units": {"wind": {"scale": 0.5144}}}
    other = order(platform, snapshot, overrides=overrides)
    assert (other.semver, other.overrides) == ("2.0.0", overrides)
    changed = {name for name in first.files if first.files[name] != other.files[name]}
    assert changed == {"signature.json", "example.json"}
    assert verify(platform, other.digest).faults == ()
    told = {c.what: c.words for c in diff(platform, first, other) if c.area not in ("origin", "model")}
    assert told == {
        "overrides.serving_units.wind.scale": "serving_units.wind.scale: absent -> 0.5144",
        "signature.json.inputs.wind.scale": "inputs.wind.scale: 1 -> 0.5144 (-0.4856)",
        "parts.interface": f"the interface that callers see: {short(first.parts['interface'])} -> "
        f"{short(other.parts['interface'])}",
    }


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"serving_unit": {}}, "serving_units"),
        ({"serving_units": {"wnd": {"scale": 2}}}, "wind"),
        ({"serving_units": {"wind": {"factor": 2}}}, "scale"),
        ({"params": {"epoch": 2}}, "epochs"),
    ],
)
def test_an_unknown_override_is_refused(
    platform: ConnectedPlatform, first: Release, snapshot: Snapshot, overrides: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        order(platform, snapshot, overrides=overrides)


def test_evidence_is_kept_once_and_compares_on_the_same_rows(platform: ConnectedPlatform, first: Release) -> None:
    newest = platform.ledger.releases.history(MODEL)[-1][0]
    platform.ledger.releases.crown(MODEL, first.digest, "none", AS_OF)
    digest = evaluate(platform, newest.digest, as_of=AS_OF)
    assert evaluate(platform, newest.digest, as_of=AS_OF) == digest
    evidence = read_evidence(platform, MODEL, digest)
    assert evidence.champion == first.digest
    assert evidence.window.end == AS_OF - timedelta(hours=6)
    found = {(m.name, m.slice, m.subject): m for m in evidence.measurements}
    assert found["auc", "", newest.digest].value > 0.7
    # The same weights: the units of serving are not measured offline.
    assert found["logloss_difference", "", newest.digest].value == 0
    assert found["logloss_difference", "", newest.digest].variant == first.digest
    assert found["latency_p95_ms", "", newest.digest].value < 50
    assert found["auc", "carrier=AA", newest.digest].n > 100
    assert gated(platform, newest, digest) == {
        "code_unchanged", "snapshot_validated", "no_pickle", "bundle_intact", "way_back", "watched", "example_agrees",
        "gateway_answers", "gateway_accepts", "gateway_agrees", "same_class_again", "logloss_surely_not_worse",
    }  # fmt: skip


def decided(platform: ConnectedPlatform, release: Release, evidence: str) -> Decision:
    """By the repository's policies."""
    return gate.decide(ConnectedPlatform(whole(platform)), release, evidence, AS_OF)


def whole(platform: ConnectedPlatform) -> Settings:
    """With the repository's models, of which its policies speak."""
    return platform.settings.model_copy(update={"projects": (*platform.settings.projects, ROOT / "projects")})


def gated(platform: ConnectedPlatform, release: Release, evidence: str) -> set[str]:
    """Of the gates that say nothing of how good or how quick so small a model is: those that passed."""
    decision = decided(platform, release, evidence)
    assert evidence in decision.evidence
    ours = {"code", "security", "integration", "end_to_end"}
    policy = load_policy(GatePolicy, "gates", whole(platform), MODEL)
    passed = {v.check for v in decision.verdicts if v.outcome is Outcome.SUCCESSFUL}
    told = {name for name, found in policy.gates.items() if found.counts_for in ours}
    told -= {"commit_named", "approvers", "licences_accepted", "licences_named", "export_agrees", "dependency_audit"}
    return passed & (told | {"snapshot_validated", "same_class_again", "logloss_surely_not_worse"})


@pytest.mark.parametrize(("profile", "ends"), [("canary", 0), ("candidate", 1), ("weekly", 1)])
def test_the_gates_of_a_profile_are_shown_and_nothing_is_recorded(
    platform: ConnectedPlatform, first: Release, monkeypatch: pytest.MonkeyPatch, profile: str, ends: int
) -> None:
    monkeypatch.setattr("modelyard.cli.gates.platform", lambda: ConnectedPlatform(whole(platform)))
    newest = platform.ledger.releases.history(MODEL)[-1][0]
    shown = CliRunner().invoke(app, ["gates", MODEL, str(newest.version), "--profile", profile, "--json"])
    assert shown.exit_code == ends, shown.output
    said = {"canary": "no_pickle", "candidate": "evaluation_rows failed", "weekly": "post_release"}
    assert said[profile] in shown.output
    assert platform.ledger.journal.decisions(MODEL, "gates") == []


def test_damaged_evidence_is_refused(platform: ConnectedPlatform, first: Release) -> None:
    digest = evaluate(platform, first.digest, as_of=AS_OF)
    store = Path(platform.settings.artifacts_uri.removeprefix("file://"))
    path = store / MODEL / "evidence" / f"{digest.removeprefix('sha256:')}.json"
    path.write_text(path.read_text().replace('"n":', '"n":1', 1))
    with pytest.raises(IntegrityError, match="was changed"):
        read_evidence(platform, MODEL, digest)


def test_dvc_repro_makes_the_very_same_model(first: Release, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text().replace("[flight_delay]", f"[{MODEL}]"))
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    quiet = {"DVC_NO_ANALYTICS": "1", "MODELYARD_ROOT": str(tmp_path)}

    def dvc(command: str) -> str:
        asked = [sys.executable, "-m", "dvc", command]
        done = subprocess.run(asked, cwd=tmp_path, env=os.environ | quiet, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    dvc("repro")
    assert "up to date" in dvc("status")
    offline = read_bundle((tmp_path / "var" / "offline" / MODEL / "bundle").as_uri()).release
    assert (offline.snapshot, offline.dvc_md5) == (first.snapshot, first.dvc_md5)
    assert offline.parts["training_frame"] == first.parts["training_frame"]
    assert offline.files == first.files


def test_reconciling_projects_the_ledger_and_then_finds_nothing(platform: ConnectedPlatform, first: Release) -> None:
    platform.tracking.set_alias(MODEL, "champion", 2)
    changed = registry.reconcile(platform, MODEL)
    assert "alias champion: 2 -> 1" in changed
    assert registry.reconcile(platform, MODEL) == ()


def test_evidence_that_was_turned_down_is_measured_anew(platform: ConnectedPlatform, first: Release) -> None:
    """Nobody can have approved it, and what was wrong may be mended."""
    newest = platform.ledger.releases.history(MODEL)[-1][0]
    digest = evaluate(platform, newest.digest, as_of=AS_OF, champion=first.digest)
    refused = decided(platform, newest, digest).model_copy(update={"action": "blocked"})
    platform.ledger.journal.decide(refused)
    anew = evaluate(platform, newest.digest, as_of=AS_OF, champion=first.digest)
    assert anew != digest
    assert evaluate(platform, newest.digest, as_of=AS_OF, champion=first.digest) == anew
