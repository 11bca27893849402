"""Trains a model on an admitted snapshot and makes it a release: logged, registered, published, recorded.

A repeated call with the same inputs finds the finished release. One that was interrupted goes on in the same MLflow
run from its last checkpoint, and registers no second version: until the ledger has the release, nothing reads what the
run left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from modelyard.config.project import Project, load_project
from modelyard.core.digest import digest_json, short
from modelyard.core.errors import Conflict
from modelyard.core.records import AuditEvent, Release, Snapshot
from modelyard.flows.candidate import Candidate, Recipe, make_candidate, plan_candidate
from modelyard.flows.manifest import surrounding_parts
from modelyard.flows.resuming import resuming
from modelyard.flows.training_log import RunLog
from modelyard.ports.platform import Platform
from modelyard.ports.tracking import Run
from modelyard.release.bundle import MANIFEST, SIGNED, publish_bundle, write_parts
from modelyard.release.provenance import code_commit, environment
from modelyard.release.versioning import next_version
from modelyard.signing.statement import sign_release
from modelyard.training.watch import All, Bar

if TYPE_CHECKING:
    import pandas as pd

RUN_KEY = "modelyard.run_key"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Order:
    """One training that was asked for, checked. ``key`` is the same for a repetition of the same order."""

    project: Project
    snapshot: Snapshot
    recipe: Recipe
    as_of: datetime
    reason: str
    author: str
    overrides: dict[str, Any]
    origin: dict[str, str]
    key: str


def train(
    platform: Platform,
    model: str,
    snapshot: str,
    *,
    as_of: datetime,
    reason: str,
    author: str,
    overrides: Mapping[str, Any] | None = None,
    run_key: str = "",
    origin: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Release:
    """Train on the snapshot (its digest) and record the release as a candidate.

    ``overrides`` may hold ``params`` (numbers for this run) and ``serving_units`` (feature: scale, offset; changes the
    signature alone). ``run_key`` tells repetitions of one order from a new order that happens to be equal.
    ``origin`` says what started it (``run``, ``trigger``, ``evidence``) and is kept among the release's parts.

    Raises:
        Unavailable: another process is at work on the very same order.
        Conflict: the snapshot is not valid, is another model's, or holds what was not known at ``as_of``.
        ConfigError: a number or an override is not accepted; there is no key to sign with.
    """
    order = _order(platform, model, snapshot, as_of, reason, author, dict(overrides or {}), run_key, origin or {})
    with resuming(platform.settings.home / "checkpoints" / model, order.key, time.time()) as checkpoints:
        found = platform.tracking.find_run(model, RUN_KEY, order.key, finished=False)
        done = platform.ledger.releases.of_run(found) if found else None
        with _run(platform, order, found) as run:
            # Entered even when all is done: a run that was cut off after the ledger's entry is still to be closed.
            return done or _make(platform, order, run, checkpoints, now or datetime.now(UTC))


def _order(
    platform: Platform,
    model: str,
    content: str,
    as_of: datetime,
    reason: str,
    author: str,
    overrides: dict[str, Any],
    run_key: str,
    origin: Mapping[str, str],
) -> Order:
    project, snapshot = load_project(model, platform.settings), platform.ledger.snapshots.get(content)
    if snapshot.model != model:
        raise Conflict(f"snapshot {short(content)} is of model {snapshot.model}, not of {model}")
    if (state := platform.ledger.snapshots.state(content)) != "valid":
        raise Conflict(f"snapshot {short(content)} is {state}; only a validated one may be trained on")
    if snapshot.as_of > as_of:
        raise Conflict(f"snapshot {short(content)} holds what was known at {snapshot.as_of}, after {as_of}")
    recipe = plan_candidate(project, overrides)
    _ = platform.signer  # without a key nothing could be released: better said before the training
    known = {"model": model, "snapshot": content, "parts": recipe.parts, "overrides": overrides}
    key = digest_json(known | {"as_of": as_of.isoformat(), "reason": reason, "run_key": run_key})
    return Order(project, snapshot, recipe, as_of, reason, author, overrides, dict(origin), key)


@contextmanager
def _run(platform: Platform, order: Order, found: str | None) -> Iterator[Run]:
    if found:
        with platform.tracking.resume(found) as run:
            yield run
        return
    tags = {
        RUN_KEY: order.key,
        "modelyard.model": order.project.name,
        "modelyard.as_of": order.as_of.isoformat(),
        "modelyard.reason": order.reason,
        "modelyard.author": order.author,
        "modelyard.snapshot": order.snapshot.content,
        "modelyard.dvc_md5": order.snapshot.dvc_md5,
        "modelyard.code_commit": code_commit(platform.settings.root),
        "mlflow.note.content": f"{order.reason}\n\nTrained on {order.snapshot.window} as known at {order.as_of}.",
    }
    with platform.tracking.start(order.project.name, f"{order.as_of:%Y-%m-%d %H:%M}", tags) as run:
        yield run


def _make(platform: Platform, order: Order, run: Run, checkpoints: Path, now: datetime) -> Release:
    from modelyard.flows.features import training_frame

    frame, frame_digest = training_frame(platform, order.project.name, order.snapshot.content)
    asked = (order.project, order.snapshot, frame, frame_digest, order.recipe)
    log = RunLog(run)
    candidate = make_candidate(*asked, checkpoints=checkpoints, watch=All(log, Bar()))
    log.flush()
    with TemporaryDirectory(prefix="modelyard-bundle-") as scratch:
        folder = Path(scratch) / BUNDLE
        digests = write_parts(folder, candidate.files)
        _log(order, run, candidate, frame, Path(scratch))
        version = platform.tracking.register(order.project.name, run.id, folder, {"modelyard.state": "unreleased"})
        release = _release(platform, order, run.id, version, candidate, digests, now)
        uri = publish_bundle(platform.settings.artifacts_uri, release, candidate.files, platform.signer)
        (folder / MANIFEST).write_text(release.to_json())
        (folder / SIGNED).write_text(sign_release(release, platform.signer).to_json())
        run.folder(folder, BUNDLE)
    _record(platform, order, release, uri)
    return release


def _log(order: Order, run: Run, candidate: Candidate, frame: pd.DataFrame, scratch: Path) -> None:
    from modelyard.training.plots import run_plots

    trained, spec = candidate.trained, order.project.spec
    run.params(order.recipe.params.model_dump(mode="json") | {"device": trained.fitted.device})
    run.tags({f"modelyard.part.{name}": digest for name, digest in candidate.parts.items()})
    history = trained.fitted.history
    run.metrics([(name, value, 0) for name, value in candidate.metrics.items()])
    snapshot = order.snapshot
    run.dataset(frame, name=f"{spec.name} snapshot", digest=snapshot.dvc_md5, source=snapshot.path, context="training")
    times = frame[spec.source.event_time]
    from modelyard.training.split import rows_in

    held = frame[rows_in(times, trained.split.validation) & frame[spec.label.column].notna().to_numpy()]
    label = held[spec.label.column].to_numpy(dtype="float64")
    for name, figure in run_plots(history, trained.fitted.best, label, trained.score(held), trained.params.threshold):
        run.figure(figure, f"plots/validation_{name}.png" if name != "learning_curve" else f"plots/{name}.png")
    written = scratch / "environment"
    written.mkdir()
    (written / "requirements.txt").write_text(environment())
    run.folder(written, "environment")


def _release(
    platform: Platform,
    order: Order,
    run_id: str,
    version: int,
    candidate: Candidate,
    digests: dict[str, str],
    now: datetime,
) -> Release:
    releases, model = platform.ledger.releases, order.project.name
    history = [release for release, _ in releases.history(model)]
    base = releases.champion(model) or (history[-1] if history else None)
    return Release(
        model=model,
        version=version,
        semver=str(next_version(candidate.parts, digests, base, [r.semver for r in history])),
        mlflow_run_id=run_id,
        code_commit=code_commit(platform.settings.root),
        created_at=now,
        as_of=order.as_of,
        reason=order.reason,
        author=order.author,
        snapshot=order.snapshot.content,
        dvc_md5=order.snapshot.dvc_md5,
        files=digests,
        parts=order.origin | _parts(platform, order, candidate),
        metrics=candidate.metrics,
        overrides=order.overrides,
    )


def _parts(platform: Platform, order: Order, candidate: Candidate) -> dict[str, str]:
    own = {"dataset": order.snapshot.content, "run_key": order.key, "device": candidate.trained.fitted.device}
    return candidate.parts | surrounding_parts(platform.settings, order.project, candidate.parts) | own


def _record(platform: Platform, order: Order, release: Release, uri: str) -> None:
    platform.ledger.releases.add(release, uri)
    tags = {"modelyard.state": "candidate", "modelyard.release": release.digest, "modelyard.semver": release.semver}
    platform.tracking.tag_version(release.model, release.version, tags)
    platform.ledger.journal.audit(
        AuditEvent(
            at=release.created_at,
            actor=order.author,
            action="release.trained",
            model=release.model,
            subject=release.digest,
            reason=order.reason,
            digests=(order.snapshot.content, release.digest),
            detail={"version": release.version, "semver": release.semver, "run": release.mlflow_run_id},
        )
    )
