"""What changed between two releases: a line in words for each, with both values for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import JsonValue

from modelyard.core.digest import short
from modelyard.core.records import Release
from modelyard.core.value import Value

Area = Literal[
    "data", "features", "code", "params", "overrides", "signature", "calibration", "policies", "model", "metrics",
    "origin", "other",
]  # fmt: skip
Content = Mapping[str, bytes]
"""Files of a bundle by name; ``signature.json``, ``calibration.json`` and ``params.json`` are looked into."""

_PARTS: dict[str, tuple[Area, str]] = {
    "dataset": ("data", "the dataset"),
    "training_frame": ("data", "the training frame (rows with their features)"),
    "fit_window": ("data", "the days fitted on"),
    "validation_window": ("data", "the days that stopped the fitting"),
    "evaluation_window": ("data", "the days evaluated on"),
    "feature_service": ("features", "the entities, feature views and features of model.yaml"),
    "project_code": ("code", "the files of the model's folder"),
    "platform_code": ("code", "Modelyard's own code that makes models"),
    "environment": ("code", "the installed packages"),
    "params": ("params", "the numbers of the training"),
    "architecture": ("model", "the network's architecture"),
    "interface": ("signature", "the interface that callers see"),
    "release_owner": ("policies", "who answers for releases"),
    "rollback_owner": ("policies", "who decides on the way back"),
    "configuration": ("policies", "the configuration as a whole (model.yaml, numbers, policies, profile)"),
    "profile": ("policies", "the profile"),
    "policy_drift": ("policies", "the policy on drift"),
    "policy_gates": ("policies", "the policy of the gates"),
    "policy_governance": ("policies", "the policy of governance"),
    "policy_parity": ("policies", "the policy on parity"),
    "policy_rollout": ("policies", "the policy of rollouts"),
    "rollout_plan": ("policies", "the plan of the rollout"),
    "container_image": ("code", "the container image that made it"),
    "device": ("code", "the device that it was trained on"),
    "evaluation_set": ("data", "the evaluation set"),
    "run": ("origin", "the run that made it"),
    "trigger": ("origin", "what started it"),
    "evidence": ("origin", "the evidence that started it"),
    "run_key": ("origin", "the order of training"),
}
_FIELDS: dict[str, tuple[Area, str]] = {
    "snapshot": ("data", "the snapshot"),
    "dvc_md5": ("data", "DVC's name of the dataset"),
    "as_of": ("data", "the moment whose knowledge it has"),
    "code_commit": ("code", "the commit"),
    "reason": ("origin", "why it was made"),
    "author": ("origin", "who made it"),
    "mlflow_run_id": ("origin", "the MLflow run"),
    "created_at": ("origin", "when it was made"),
    "version": ("origin", "the version"),
    "semver": ("origin", "the semantic version"),
    "model": ("other", "the model"),
    "schema_version": ("other", "the form of the manifest"),
}
_OPENED: dict[str, Area] = {
    "signature.json": "signature", "calibration.json": "calibration", "params.json": "params",
}  # fmt: skip


class Change(Value):
    """One thing that differs. ``before`` or ``after`` None: that release does not have it."""

    area: Area
    what: str
    before: JsonValue
    after: JsonValue
    words: str


def differences(before: Release, after: Release, old: Content, new: Content) -> tuple[Change, ...]:
    """All that differs between two manifests, and inside their signatures and calibrations; by area.

    A file that ``old`` or ``new`` lacks is compared by its digest alone.
    """
    found = [
        *_named(_fields(before), _fields(after), _FIELDS, ""),
        *_named(before.parts, after.parts, _PARTS, "parts."),
        *_flat("overrides", "overrides", before.overrides, after.overrides),
        *_files(before, after, old, new),
        *_metrics(before.metrics, after.metrics),
    ]
    order = list(Area.__args__)  # type: ignore[attr-defined]
    return tuple(sorted(found, key=lambda change: order.index(change.area)))


def _fields(release: Release) -> dict[str, Any]:
    mappings = {"files", "parts", "metrics", "overrides"}
    return {key: value for key, value in release.to_dict().items() if key not in mappings}


def _named(
    old: Mapping[str, Any], new: Mapping[str, Any], known: Mapping[str, tuple[Area, str]], prefix: str
) -> Iterator[Change]:
    for key in sorted({*old, *new}):
        policy: tuple[Area, str] = ("policies", f"the policy {key}")
        area, words = known.get(key, policy if key.startswith("polic") else ("other", key))
        yield from _change(area, prefix + key, old.get(key), new.get(key), words)


def _files(before: Release, after: Release, old: Content, new: Content) -> Iterator[Change]:
    for name in sorted({*before.files, *after.files}):
        digests = before.files.get(name), after.files.get(name)
        if digests[0] == digests[1]:
            continue
        if name in _OPENED and name in old and name in new:
            yield from _flat(_OPENED[name], name, json.loads(old[name]), json.loads(new[name]))
        else:
            yield from _change(_OPENED.get(name, "model"), f"files.{name}", *digests, f"the file {name}")


def _metrics(old: Mapping[str, float], new: Mapping[str, float]) -> Iterator[Change]:
    """Measured while training, each on its own rows: no comparison of the two models."""
    for name in sorted({*old, *new}):
        yield from _change("metrics", f"metrics.{name}", old.get(name), new.get(name), f"{name} (seen while training)")


def _flat(area: Area, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = _leaves(old), _leaves(new)
    for key in sorted({*before, *after}):
        yield from _change(area, f"{name}.{key}", before.get(key), after.get(key), key)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Nested data as flat keys; members of a list that have a name are found by it, and their order is kept beside."""
    if isinstance(value, Mapping) and (value or not path):
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, _join(path, str(key))).items()}
    named = isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value)
    if not named:
        return {path: value}
    found: dict[str, Any] = {f"order of {path}": [one["name"] for one in value]}
    for one in value:
        found |= _leaves({key: inner for key, inner in one.items() if key != "name"}, _join(path, str(one["name"])))
    return found


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _change(area: Area, what: str, before: Any, after: Any, words: str) -> Iterator[Change]:
    if before != after:
        yield Change(area=area, what=what, before=before, after=after, words=f"{words}: {_words(before, after)}")


def _words(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        return _lists(before, after)
    text = f"{_show(before)} -> {_show(after)}"
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (before, after)]
    return f"{text} ({after - before:+.4g})" if all(numbers) else text


def _lists(before: list[Any], after: list[Any]) -> str:
    gone, come = [v for v in before if v not in after], [v for v in after if v not in before]
    said = [f"{word} {_few(values)}" for word, values in (("without", gone), ("with", come)) if values]
    return ", ".join(said) or "in another order"


def _few(values: list[Any], most: int = 5) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(v) for v in values[:most]) + more


def _show(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, str):
        return short(value) if value.startswith("sha256:") else value or "empty"
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, sort_keys=True, ensure_ascii=False)
