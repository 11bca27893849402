"""Makes a candidate: a trained model as the files of a bundle. What the platform's flow and the offline stages share.

Equal snapshot, folder, numbers and code give equal bytes of ``model.onnx`` and ``weights.safetensors`` on the CPU.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.config.project import Project
from modelyard.core.digest import canonical_json, digest_json
from modelyard.core.errors import ConfigError
from modelyard.core.profile import SCORE
from modelyard.core.records import Snapshot
from modelyard.drift.edges import fit_profile
from modelyard.drift.thresholds import MIN_WEEKS, fit_thresholds, weekly
from modelyard.flows.simpler import compare, rivals
from modelyard.release.encode import category, encode, probability
from modelyard.release.provenance import environment_digest, source_digest
from modelyard.release.score import Example, OnnxModel
from modelyard.release.signature import Signature
from modelyard.release.versioning import interface_digest
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.params import TrainParams, read_params
from modelyard.training.split import rows_in
from modelyard.training.watch import Watch

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.training.model import Trained

OVERRIDES = ("params", "serving_units")
PARAMS = "params.json"
"""The file of the bundle with the numbers of the training, as ``params.yaml`` and the overrides gave them."""
EXAMPLE_ROWS = 5
CHECKED_ROWS = 512


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained model, the files of its bundle (without manifest), the manifest's parts and first metrics."""

    trained: Trained
    files: dict[str, bytes]
    parts: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What determines a candidate besides its rows; known before anything is trained."""

    params: TrainParams
    serving_units: Mapping[str, Mapping[str, Any]]
    parts: dict[str, str]


def plan_candidate(project: Project, overrides: Mapping[str, Any]) -> Recipe:
    """Check numbers and overrides.

    Raises:
        ConfigError: an override or a number is unknown or not accepted.
    """
    for key, value in overrides.items():
        if key not in OVERRIDES:
            raise ConfigError(f"overrides.{key}", key, OVERRIDES)
        if not isinstance(value, Mapping):
            raise ConfigError(f"overrides.{key}", value, "a mapping")
    params = read_params(project.params, model=project.name, overrides=overrides.get("params"))
    spec = project.spec.model_dump(mode="json")
    parts = {
        "params": params.digest,
        "project_code": project.code_digest,
        "platform_code": source_digest(),
        "environment": environment_digest(),
        "feature_service": digest_json({key: spec[key] for key in ("entities", "feature_views", "features")}),
    }
    return Recipe(params, overrides.get("serving_units") or {}, parts)


def make_candidate(
    project: Project,
    snapshot: Snapshot,
    frame: pd.DataFrame,
    frame_digest: str,
    recipe: Recipe,
    *,
    checkpoints: Path,
    watch: Watch | None = None,
) -> Candidate:
    """Train on the snapshot's training frame (``frame_digest`` names it), calibrate, export and check.

    Simple models are fitted beside the network; the metrics say how it does against them on the evaluation days.
    The folder ``checkpoints`` belongs to this training alone (``flows.resuming``): one that was interrupted goes on.

    Raises:
        EvidenceMissing: there are no rows to learn from.
        IntegrityError: the exported graph does not answer what the network answers.
        ConfigError: an override does not fit the model.
    """
    from modelyard.training.export import export_onnx, weights
    from modelyard.training.model import train_model
    from modelyard.training.signature import with_serving_units

    kept = Checkpoints(checkpoints, recipe.params.checkpoint_seconds, frame_digest)
    with rivals(project, frame, snapshot.window, recipe.params) as fitted:
        trained = train_model(project, frame, snapshot.window, recipe.params, checkpoints=kept, watch=watch)
    beside = {name: v for s in compare(project, frame, trained, fitted.result()) for name, v in s.metrics().items()}
    signature = with_serving_units(trained.signature, recipe.serving_units)
    seen = _rows_seen(project, frame, trained)
    onnx, difference = export_onnx(trained, seen.iloc[-CHECKED_ROWS:])
    files = {
        "model.onnx": onnx,
        "weights.safetensors": weights(trained),
        "signature.json": _json(signature),
        "calibration.json": _json(trained.calibration),
        "example.json": _json(example_of(signature, trained, onnx, seen)),
        PARAMS: canonical_json(recipe.params.model_dump(mode="json")),
        **_reference(project, trained, seen),
    }
    parts = recipe.parts | {
        "training_frame": frame_digest,
        **{f"{name}_window": str(window) for name, window in trained.split.windows.items()},
        "architecture": _architecture(project, recipe.params),
        "interface": interface_digest(signature),
    }
    return Candidate(trained, files, parts, _metrics(trained, difference) | beside)


def example_of(signature: Signature, trained: Trained, onnx: bytes, rows: pd.DataFrame) -> Example:
    """The last rows as the gateway would receive them, and what this very release answers."""
    chosen = rows[[i.name for i in signature.inputs]].iloc[-EXAMPLE_ROWS:]
    feeds = encode({name: chosen[name] for name in chosen.columns}, signature, units="serving")
    answers = probability(OnnxModel(onnx).logits(feeds), trained.calibration)
    kinds = {i.name: i.kind for i in signature.inputs}
    raw = [{name: _plain(value, kinds[str(name)]) for name, value in row.items()} for _, row in chosen.iterrows()]
    return Example(rows=tuple(raw), probability=tuple(map(float, answers)))


def _plain(value: Any, kind: str) -> str | float | None:
    if kind == "categorical":
        return category(value) or None
    return None if value is None or math.isnan(value) else float(value)


def _rows_seen(project: Project, frame: pd.DataFrame, trained: Trained) -> pd.DataFrame:
    """Labelled rows of the fitting and validation days."""
    source, label = project.spec.source, project.spec.label
    times = frame[source.event_time]
    seen = rows_in(times, trained.split.fit) | rows_in(times, trained.split.validation)
    return frame[seen & frame[label.column].notna().to_numpy()]


def _reference(project: Project, trained: Trained, rows: pd.DataFrame) -> dict[str, bytes]:
    """What drift is measured against; without thresholds where the weeks are too few to bear any."""
    scored = rows.assign(**{SCORE: trained.score(rows)})
    numeric = (*project.spec.of(kind="numeric"), SCORE)
    profile = fit_profile(scored, numeric=numeric, categorical=project.spec.of(kind="categorical"))
    weeks = weekly(profile, scored, project.spec.source.event_time)
    thresholds = {"thresholds.json": _json(fit_thresholds(weeks))} if len(weeks) >= MIN_WEEKS else {}
    return {"profile.json": _json(profile), **thresholds}


def _architecture(project: Project, params: TrainParams) -> str:
    network = project.spec.network
    own = project.folder / f"{network.partition(':')[0]}.py"
    code = hashlib.sha256(own.read_bytes()).hexdigest() if network else "standard"
    return digest_json({"network": network, "code": code, "hidden": params.hidden, "embedding": params.embedding})


def _metrics(trained: Trained, difference: float) -> dict[str, float]:
    best = trained.fitted.history[trained.fitted.best - 1]
    return {
        "fit_logloss": trained.fit_logloss,
        "validation_logloss": best.validation_loss,
        "train_validation_gap": best.validation_loss - trained.fit_logloss,
        "late_improvement": late_improvement([h.validation_loss for h in trained.fitted.history]),
        "onnx_max_difference": difference,
        "epochs": float(len(trained.fitted.history)),
        "best_epoch": float(trained.fitted.best),
        "parameters": float(trained.parameters),
        "fit_rows": float(trained.counts["fit"]),
        "validation_rows": float(trained.counts["validation"]),
    }


def late_improvement(losses: Sequence[float]) -> float:
    """Which share of the fall of the validation loss came in the last quarter of the epochs; 0 where it never fell.

    Near 1 the training was cut off while it was still learning.

    >>> round(late_improvement([0.8, 0.6, 0.5, 0.4]), 9)
    0.25
    """
    best = min(losses)
    fall, before = losses[0] - best, min(losses[: math.ceil(0.75 * len(losses))])
    return (before - best) / fall if fall > 0 else 0.0


def _json(value: Any) -> bytes:
    return str(value.to_json()).encode()
