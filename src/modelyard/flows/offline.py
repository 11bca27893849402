"""The stages of ``dvc.yaml``: from source to evidence in plain folders, without Airflow, MLflow, Feast or a database.

They call what the platform's flows call, and for the same rows give the same training frame and the same bytes of
``model.onnx`` and ``weights.safetensors``. The point-in-time join is the plain one that Feast's is held against.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from modelyard.config.project import Project
from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError, EvidenceMissing, NotFound
from modelyard.core.records import Release, Snapshot
from modelyard.core.window import Window, parse_moment
from modelyard.data.frames import canonical, content_digest, read_parquet, write_parquet, write_text
from modelyard.data.source import read_source
from modelyard.evaluation.evidence import Evidence
from modelyard.features.join import point_in_time
from modelyard.flows.candidate import Candidate, make_candidate, plan_candidate
from modelyard.flows.measuring import measure_bundles
from modelyard.flows.resuming import resuming
from modelyard.flows.snapshot import window_days
from modelyard.release.bundle import MANIFEST, read_bundle, write_parts
from modelyard.training.watch import Bar
from modelyard.validation.landed import LandedRules

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ROWS, SNAPSHOT, FRAME = "rows.parquet", "snapshot.json", "frame.parquet"


def snapshot(project: Project, out: Path, as_of: datetime | None = None) -> Snapshot:
    """Fix the rows of the model's window as known at ``as_of`` (by default its ``bootstrap_as_of``) in ``out``."""
    moment = as_of or _bootstrap(project)
    window = Window.last(timedelta(days=window_days(project)), before=moment)
    rows = canonical(_known(project, window.start, moment), project.spec.source.key)
    if rows.empty:
        raise EvidenceMissing(f"no row of {project.name} in {window} was known by {moment.isoformat()}")
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(rows, out / ROWS)
    made = Snapshot(
        model=project.name,
        window=window,
        as_of=moment,
        rows=len(rows),
        columns=tuple(map(str, rows.columns)),
        content=content_digest(rows, name=project.name),
        # What DVC calls the file: a checksum, not a protection.
        dvc_md5=hashlib.md5((out / ROWS).read_bytes(), usedforsecurity=False).hexdigest(),
        path=ROWS,
    )
    write_text(made.to_json(), out / SNAPSHOT)
    return made


def features(project: Project, taken: Path, out: Path) -> str:
    """Join the features to the snapshot's rows as they were at each row's event time; returns the frame's digest."""
    made = _snapshot(taken)
    frame = read_parquet(taken / ROWS)
    if project.spec.views:
        known = _known(project, BEGINNING, made.as_of)
        rules = LandedRules(project.folder, tuple(project.spec.feature_views))
        known = known[rules.judge(known).keep].reset_index(drop=True)
        tables = project.code(project.spec.feature_builder)(known, None, made.as_of)
        frame = point_in_time(project.spec, frame, tables)
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(frame, out / FRAME)
    digest = content_digest(canonical(frame, project.spec.source.key), name=project.name)
    write_text(json.dumps({"digest": digest, "rows": len(frame)}), out / "frame.json")
    return digest


def train(project: Project, taken: Path, joined: Path, out: Path, metrics: Path) -> Release:
    """Train on the frame and write the bundle to ``out``, with a manifest that no registry knows."""
    made, frame = _snapshot(taken), read_parquet(_made(joined / FRAME, "features"))
    digest = json.loads((joined / "frame.json").read_text())["digest"]
    recipe = plan_candidate(project, {})
    key = digest_json({"parts": recipe.parts, "snapshot": made.content, "frame": digest})
    with resuming(out.parent / "checkpoints", key, time.time()) as kept:
        candidate = make_candidate(project, made, frame, digest, recipe, checkpoints=kept, watch=Bar())
        return _written(made, candidate, out, metrics)


def _written(made: Snapshot, candidate: Candidate, out: Path, metrics: Path) -> Release:
    release = Release(
        model=made.model,
        version=1,
        semver="0.0.0",
        mlflow_run_id="offline",
        code_commit="offline",
        created_at=made.as_of,
        as_of=made.as_of,
        reason="dvc repro",
        author="offline",
        snapshot=made.content,
        dvc_md5=made.dvc_md5,
        files=write_parts(out, candidate.files),
        parts=candidate.parts,
        metrics=candidate.metrics,
    )
    write_text(release.to_json(), out / MANIFEST)
    write_text(json.dumps(candidate.metrics, indent=1, sort_keys=True), metrics)
    return release


def evaluate(project: Project, joined: Path, bundle: Path, out: Path, metrics: Path) -> Evidence:
    """Measure the bundle on its evaluation days; keeps the evidence, and the plain numbers as DVC's metrics."""
    ours = read_bundle(bundle.absolute().as_uri())
    frame = read_parquet(_made(joined / FRAME, "features"))
    evidence = measure_bundles(project, frame, ours, None, ours.release.as_of)
    out.mkdir(parents=True, exist_ok=True)
    write_text(evidence.to_json(), out / "evidence.json")
    plain = {m.name: m.value for m in evidence.measurements if not m.slice and m.value is not None}
    write_text(json.dumps(plain, indent=1, sort_keys=True), metrics)
    return evidence


def _known(project: Project, start: datetime, as_of: datetime) -> pd.DataFrame:
    """What would have landed: rows with a label that was known by ``as_of``."""
    rows = read_source(project, Window(start=start, end=as_of))
    known = rows[project.spec.source.known_at]
    return rows[known.le(as_of) & rows[project.spec.label.column].notna()].reset_index(drop=True)


def _snapshot(folder: Path) -> Snapshot:
    return Snapshot.from_json(_made(folder / SNAPSHOT, "snapshot").read_bytes())


def _made(path: Path, stage: str) -> Path:
    """A file of an earlier stage. Raises ``NotFound`` when that stage has not been run."""
    if not path.is_file():
        raise NotFound("file", path, hint=f"Run `modelyard offline {stage} MODEL` first, or `dvc repro`.")
    return path


def _bootstrap(project: Project) -> datetime:
    if not project.spec.bootstrap_as_of:
        raise ConfigError("bootstrap_as_of", "", "a moment, or --as-of", where=str(project.folder / "model.yaml"))
    return parse_moment(project.spec.bootstrap_as_of)
