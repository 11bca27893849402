"""Evaluates a release on days that it was not fitted on, beside the champion on the very same rows.

The rows are those of the release's own snapshot whose event time lies in its ``evaluation_window`` and whose outcome
was known: the last days before ``as_of``, later than anything the release, or a champion trained before it, has seen.
Values are in the units of the training pipeline: what the gateway's conversions do is measured under traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from modelyard.config.project import load_project
from modelyard.core.digest import digest_json
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.data.frames import canonical, content_digest
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.importance import measure_importance
from modelyard.evaluation.latency import measure_latency
from modelyard.evaluation.measure import Sample, Scores, compare, measure, measure_slices
from modelyard.ports.platform import Platform
from modelyard.release.bundle import Bundle, read_bundle
from modelyard.release.encode import encode
from modelyard.release.score import BundleModel

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.config.project import Project

SEED = 20130101
RECORDED = ("train_validation_gap", "onnx_max_difference")
"""Measured while training; the release carries them."""


def evaluate(platform: Platform, release: str, *, as_of: datetime, champion: str | None = None) -> str:
    """Measure the release (its digest) and the champion; returns the digest of the evidence, which is kept.

    The same release, champion and moment again give the evidence that is already there: a repeated task must not void
    an approval by measuring another latency. ``champion`` is by default whoever the ledger says.

    Raises:
        IntegrityError: a bundle is damaged, or a release does not answer its own example.
        Conflict: the snapshot is not valid.
    """
    candidate = platform.ledger.releases.get(release)
    if champion is None:
        current = platform.ledger.releases.champion(candidate.model)
        champion = current.digest if current and current.digest != release else None
    asked = {"release": release, "champion": champion, "as_of": as_of.isoformat()}
    pointer = f"{_store(platform, candidate.model)}/for-{digest_json(asked).removeprefix('sha256:')}"
    if known := _read(pointer):
        return known.decode()
    evidence = _measure(platform, candidate, champion, as_of)
    _write(_uri(platform, candidate.model, evidence.digest), evidence.to_json().encode())
    _log(platform, candidate, evidence)
    _write(pointer, evidence.digest.encode())
    return evidence.digest


def read_evidence(platform: Platform, model: str, digest: str) -> Evidence:
    """Evidence that ``evaluate`` kept.

    Raises:
        NotFound: there is none of that digest.
        IntegrityError: it is not what its digest names.
    """
    content = _read(_uri(platform, model, digest))
    if content is None:
        raise NotFound("evidence", digest)
    evidence = Evidence.from_json(content)
    if evidence.digest != digest:
        raise IntegrityError(f"evidence {digest} was changed: it is {evidence.digest}")
    return evidence


def _measure(platform: Platform, release: Release, champion: str | None, as_of: datetime) -> Evidence:
    from modelyard.flows.features import frame_of

    project = load_project(release.model, platform.settings)
    frame = frame_of(platform, release)
    ours = read_bundle(platform.ledger.releases.bundle(release.digest), release.digest)
    theirs = read_bundle(platform.ledger.releases.bundle(champion), champion) if champion else None
    return measure_bundles(project, frame, ours, theirs, as_of)


def measure_bundles(
    project: Project, frame: pd.DataFrame, ours: Bundle, theirs: Bundle | None, as_of: datetime
) -> Evidence:
    """The evidence, from the training frame of the release's snapshot and the bundles alone."""
    release = ours.release
    window = Window.parse(release.parts["evaluation_window"])
    rows, sample = _sample(project, frame, window)
    champion = theirs.release.digest if theirs else None
    return Evidence(
        model=release.model,
        release=release.digest,
        champion=champion,
        as_of=as_of,
        snapshot=release.snapshot,
        window=window,
        rows=content_digest(canonical(rows, project.spec.source.key)),
        measurements=tuple(_measurements(project, rows, sample, ours, theirs)),
    )


def _sample(project: Project, frame: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, Sample]:
    from modelyard.training.split import rows_in

    source, label = project.spec.source, project.spec.label.column
    rows = frame[rows_in(frame[source.event_time], window) & frame[label].notna().to_numpy()]
    times = rows[source.event_time].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return rows, Sample(label=rows[label].to_numpy(dtype=np.float64), times=times, window=window)


def _measurements(
    project: Project, rows: pd.DataFrame, sample: Sample, ours: Bundle, theirs: Bundle | None
) -> Iterator[Measurement]:
    release, model = ours.release, BundleModel(ours)
    threshold = model.signature.threshold
    columns = {name: rows[name] for name in project.spec.features}
    scores = Scores(release.digest, model.score(columns, units="model"))
    yield from measure(sample, scores, threshold=threshold, seed=SEED)
    yield from measure_slices(sample, scores, rows, project.spec.slices)
    yield from measure_importance(sample, scores, rows[list(columns)], model, seed=SEED)
    if theirs is not None:
        champion = BundleModel(theirs)
        other = Scores(theirs.release.digest, champion.score(columns, units="model"))
        yield from measure(sample, other, threshold=champion.signature.threshold, seed=SEED)
        yield from compare(sample, scores, other, threshold=threshold, seed=SEED)
    for name in RECORDED:
        yield Measurement(name=name, value=release.metrics[name], subject=release.digest)
    yield Measurement(name="example_difference", value=model.check_example(), subject=release.digest)
    size = float(len(ours.files["model.onnx"]))
    yield Measurement(name="model_size_bytes", value=size, unit="bytes", subject=release.digest)
    if len(sample):
        feeds = encode({name: column.iloc[:200] for name, column in columns.items()}, model.signature, units="model")
        yield from measure_latency(model.onnx, feeds, release.digest)


def _log(platform: Platform, release: Release, evidence: Evidence) -> None:
    own = [m for m in evidence.measurements if m.subject == release.digest and m.value is not None and not m.slice]
    with platform.tracking.resume(release.mlflow_run_id) as run:
        run.metrics([(f"evaluation_{m.name}", m.value, 0) for m in own if m.value is not None])
        run.tags({"modelyard.evidence": evidence.digest})


def _store(platform: Platform, model: str) -> str:
    return f"{platform.settings.artifacts_uri.rstrip('/')}/{model}/evidence"


def _uri(platform: Platform, model: str, digest: str) -> str:
    return f"{_store(platform, model)}/{digest.removeprefix('sha256:')}.json"


def _read(uri: str) -> bytes | None:
    import fsspec

    fs, path = fsspec.core.url_to_fs(uri)
    return bytes(fs.cat_file(path)) if fs.exists(path) else None


def _write(uri: str, content: bytes) -> None:
    """Whole or not at all: a file system's rename, or an object store's put."""
    import fsspec

    fs, path = fsspec.core.url_to_fs(uri)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    with fs.transaction, fs.open(path, "wb") as file:
        file.write(content)
