"""Evaluates a release on days that it was not fitted on, beside the champion on the very same rows.

The rows are those of the release's own snapshot whose event time lies in its ``evaluation_window`` and whose outcome
was known: the last days before ``as_of``, later than anything the release, or a champion trained before it, has seen.
Values are in the units of the training pipeline: what the gateway's conversions do is measured under traffic.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from modelyard.config.project import load_project
from modelyard.core.digest import digest_json
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Release
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.importance import PLOT, importance_plot
from modelyard.evaluation.supply import LICENCES, installed_licences, licence_list
from modelyard.flows.measuring import evaluation_rows, measure_bundles
from modelyard.gates.assess import BLOCKED
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle


def evaluate(platform: Platform, release: str, *, as_of: datetime, champion: str | None = None) -> str:
    """Measure the release (its digest) and the champion; returns the digest of the evidence, which is kept.

    The same release, champion and moment again give the evidence that is already there: a repeated task must not void
    an approval by measuring another latency. Evidence that the gates have turned down has no approval to void, and what
    was wrong may be mended (an advisory service that was away): it is measured anew. ``champion`` is by default whoever
    the ledger says.

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
    if (known := _read(pointer)) and not _turned_down(platform, candidate, known.decode()):
        return known.decode()
    evidence = _measure(platform, candidate, champion, as_of)
    _write(_uri(platform, candidate.model, evidence.digest), evidence.to_json().encode())
    _log(platform, candidate, evidence)
    _write(pointer, evidence.digest.encode())
    return evidence.digest


def _turned_down(platform: Platform, release: Release, evidence: str) -> bool:
    """Whether the gates' last decision about the release blocked it on this evidence."""
    found = platform.ledger.journal.decisions(release.model, "gates", release.digest)
    return bool(found) and found[-1].action == BLOCKED and evidence in found[-1].evidence


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
    from modelyard.flows.surroundings import measure_surroundings

    project = load_project(release.model, platform.settings)
    frame = frame_of(platform, release)
    ours = read_bundle(platform.ledger.releases.bundle(release.digest), release.digest)
    theirs = read_bundle(platform.ledger.releases.bundle(champion), champion) if champion else None
    rows, _ = evaluation_rows(project, frame, release)
    around = measure_surroundings(platform, project, rows, ours, champion)
    return measure_bundles(project, frame, ours, theirs, as_of, around)


def _log(platform: Platform, release: Release, evidence: Evidence) -> None:
    own = [m for m in evidence.measurements if m.subject == release.digest and m.value is not None and not m.slice]
    with platform.tracking.resume(release.mlflow_run_id) as run:
        run.metrics([(f"evaluation_{m.name}", m.value, 0) for m in own if m.value is not None])
        run.tags({"modelyard.evidence": evidence.digest})
        figure = importance_plot([m for m in evidence.measurements if m.name == "importance"])
        if figure is not None:
            run.figure(figure, PLOT)
        with TemporaryDirectory(prefix="modelyard-supply-") as scratch:
            folder, _, name = LICENCES.rpartition("/")
            (Path(scratch) / name).write_text(licence_list(installed_licences()), encoding="utf-8")
            run.folder(Path(scratch), folder)


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
