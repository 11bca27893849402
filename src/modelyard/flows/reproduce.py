"""Makes a release again, from what its manifest names, and compares. Nothing is recorded, in MLflow or elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from modelyard.config.project import Project, load_project
from modelyard.core.digest import digest_bytes
from modelyard.core.records import Release
from modelyard.core.value import Digest, Value
from modelyard.flows.candidate import PARAMS, Candidate, Recipe, make_candidate, plan_candidate
from modelyard.flows.features import training_frame
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle

CPU = "cpu"
TOLERANCE = 1e-3
"""How far numbers may be apart where a GPU has rounded in its own order; on the CPU they must be equal."""


class Compared(Value):
    """One thing as the manifest has it and as it came out now. ``open``: it cannot be compared, and ``why`` says so."""

    what: str
    recorded: str
    rebuilt: str
    result: Literal["same", "differs", "open"]
    why: str = ""


class Reproduced(Value):
    """What making a release again came to. ``inputs`` explain a difference; ``results`` are what must not differ."""

    release: Digest
    device: str
    inputs: tuple[Compared, ...]
    results: tuple[Compared, ...]

    @property
    def same(self) -> bool:
        """Whether something was compared, and nothing differed."""
        return not any(c.result == "differs" for c in self.results) and any(c.result == "same" for c in self.results)


def reproduce(platform: Platform, release: Release) -> Reproduced:
    """Train again on the same snapshot, as of the same moment, with the same numbers and seed.

    The rows are joined with their features anew; the numbers are those that the bundle keeps (``params.json``), for
    releases from before it did those of ``params.yaml`` as it stands.

    Raises:
        NotFound: the model's folder or the snapshot is gone.
        Conflict: the snapshot is not valid (any more).
        IntegrityError: bundle or rows are not what the manifest names.
    """
    project = load_project(release.model, platform.settings)
    snapshot = platform.ledger.snapshots.get(release.snapshot)
    files = read_bundle(platform.ledger.releases.bundle(release.digest), release.digest).files
    recipe = _recipe(project, release, files)
    frame, digest = training_frame(platform, release.model, release.snapshot)
    with TemporaryDirectory(prefix="modelyard-reproduce-") as scratch:
        made = make_candidate(project, snapshot, frame, digest, recipe, checkpoints=Path(scratch))
    return compare(release, made.parts | {"device": made.trained.fitted.device}, made)


def compare(release: Release, parts: Mapping[str, str], made: Candidate) -> Reproduced:
    """A release beside what came out now; ``parts`` are those of ``made``, and the device. Pure."""
    devices = {release.parts.get("device", CPU), parts["device"]}
    exact = all(device.startswith(CPU) for device in devices)
    inputs = (_named(name, release.parts.get(name), value) for name, value in sorted(parts.items()))
    return Reproduced(
        release=release.digest,
        device=parts["device"],
        inputs=tuple(inputs),
        results=(*_files(release, made, exact), *_metrics(release, made, exact)),
    )


def _recipe(project: Project, release: Release, files: Mapping[str, bytes]) -> Recipe:
    numbers = json.loads(files[PARAMS]) if PARAMS in files else project.params
    return plan_candidate(Project(project.folder, project.spec, numbers), release.overrides)


def _files(release: Release, made: Candidate, exact: bool) -> Iterator[Compared]:
    for name, recorded in sorted(release.files.items()):
        rebuilt = digest_bytes(made.files[name]) if name in made.files else None
        compared = _named(name, recorded, rebuilt)
        if not exact and compared.result == "differs" and rebuilt is not None:
            why = "on a GPU the same numbers come out in other bits"
            compared = compared.model_copy(update={"result": "open", "why": why})
        yield compared


def _metrics(release: Release, made: Candidate, exact: bool) -> Iterator[Compared]:
    for name, recorded in sorted(release.metrics.items()):
        rebuilt = made.metrics.get(name)
        close = rebuilt is not None and math.isclose(recorded, rebuilt, rel_tol=0, abs_tol=0 if exact else TOLERANCE)
        shown = "absent" if rebuilt is None else repr(rebuilt)
        yield Compared(what=name, recorded=repr(recorded), rebuilt=shown, result="same" if close else "differs")


def _named(what: str, recorded: str | None, rebuilt: str | None) -> Compared:
    if recorded is None:
        why = "the manifest does not name it"
        return Compared(what=what, recorded="absent", rebuilt=rebuilt or "absent", result="open", why=why)
    same = recorded == rebuilt
    return Compared(what=what, recorded=recorded, rebuilt=rebuilt or "absent", result="same" if same else "differs")
