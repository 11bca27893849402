"""Where an answer comes from: from a served request, or a version, back to rows, code, decisions and people.

Read from the prediction log and the ledger alone; nothing is measured, and nothing is taken from MLflow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from modelyard.config.project import project_folders
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Approval, Release, Snapshot
from modelyard.core.value import Digest, Moment, Value
from modelyard.core.verdict import Decision
from modelyard.flows.releases import get
from modelyard.flows.rollout_records import history
from modelyard.ports.platform import Platform
from modelyard.ports.predictions import REPORTED
from modelyard.rollout.state import RolloutState

if TYPE_CHECKING:
    import pandas as pd

_KNOWN = (
    "request_id", "key", "event_time", "served_at", "variant", "version", "release", "rollout", "generation", "score",
    "other_score", "latency_ms", "error", "replica", "label", "label_at",
)  # fmt: skip
"""Columns of the log that are no features."""


class Rollout(Value):
    """A rollout that a release was in, as its challenger or as the champion of the time."""

    id: str
    role: str
    strategy: str
    status: str
    looks: int
    opened_at: Moment
    decided_at: Moment | None
    decided_by: str
    reason: str


class Lineage(Value):
    """Everything on record that a release comes from. ``gaps`` says which links lead nowhere."""

    release: Digest
    manifest: Release
    state: str
    bundle: str
    mlflow_url: str
    snapshot: Snapshot | None
    snapshot_state: str
    decisions: tuple[Decision, ...]
    approvals: tuple[Approval, ...]
    rollouts: tuple[Rollout, ...]
    gaps: tuple[str, ...]


class Served(Value):
    """One answered row of a request, as the log has it. ``features`` are those that the model saw."""

    request_id: str
    model: str
    key: str
    event_time: Moment
    served_at: Moment
    variant: str
    version: int
    release: str
    rollout: str
    replica: str
    score: float | None
    latency_ms: float | None
    error: str
    label: float | None
    features: dict[str, JsonValue]


def of_version(platform: Platform, model: str, version: int) -> Lineage:
    """The lineage of a version.

    Raises:
        NotFound: there is no such version.
        IntegrityError: the manifest on record was changed.
    """
    return _of(platform, get(platform, f"{model}@{version}"))


def of_request(platform: Platform, request: str, model: str | None = None) -> list[tuple[Served, Lineage]]:
    """The answered rows of a request, each with the lineage of the release that answered it.

    Without ``model`` the logs of all models under ``projects/`` are searched.

    Raises:
        NotFound: no log has the request, or the release that answered is not on record.
        IntegrityError: the log and the ledger contradict each other.
    """
    searched = sorted(project_folders(platform.settings)) if model is None else [model]
    rows = [row for name in searched for row in _rows(name, platform.predictions.request(name, request))]
    if not rows:
        where = f"Searched: the prediction log of {', '.join(searched) or 'no model'}."
        raise NotFound("request", request, hint=f"{where} Answers are in the log some seconds after they were given.")
    lineages = {row.release: _of(platform, get(platform, row.release)) for row in rows}
    for row in rows:
        manifest = lineages[row.release].manifest
        if (manifest.model, manifest.version) != (row.model, row.version):
            raise IntegrityError(
                f"the log says that {row.model} version {row.version} answered {row.request_id}; its release "
                f"{row.release} is {manifest.model} version {manifest.version} in the ledger"
            )
    return [(row, lineages[row.release]) for row in rows]


def _rows(model: str, frame: pd.DataFrame) -> list[Served]:
    features = [c for c in frame.columns if c not in _KNOWN and not str(c).startswith(REPORTED)]
    return [
        Served(
            **{name: row[name] for name in ("request_id", "key", "variant", "release", "rollout", "replica")},
            **{name: _number(row[name]) for name in ("score", "latency_ms", "label")},
            **{name: row[name].to_pydatetime() for name in ("event_time", "served_at")},
            model=model, version=int(row["version"]), error=row["error"] or "",
            features={str(name): _plain(row[name]) for name in features},
        )
        for row in frame.to_dict("records")
    ]  # fmt: skip


def _plain(value: Any) -> JsonValue:
    return value if isinstance(value, str) else _number(value)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _of(platform: Platform, release: Release) -> Lineage:
    ledger, digest = platform.ledger, release.digest
    snapshot, gaps = _snapshot(platform, release)
    decisions = [
        *_cause(platform, release, gaps),
        *ledger.journal.decisions(release.model, "validation", release.snapshot),
    ]
    decisions += ledger.journal.decisions(release.model, subject=digest)
    approvals = ledger.journal.approvals(digest)
    base = platform.settings.mlflow_public_url.rstrip("/")
    rollouts = [_rollout(s, digest) for s in history(platform, release.model) if digest in _arms(s)]
    kinds = {decision.kind for decision in decisions}
    gaps += [
        f"no {kind} decision about it is on record"
        for kind in ("validation", "gates", "governance")
        if kind not in kinds
    ]
    return Lineage(
        release=digest,
        manifest=release,
        state=ledger.releases.state(digest),
        bundle=ledger.releases.bundle(digest),
        mlflow_url=f"{base}/#/models/{release.model}/versions/{release.version}" if base else "",
        snapshot=snapshot,
        snapshot_state="" if snapshot is None else ledger.snapshots.state(snapshot.content),
        decisions=tuple({decision.digest: decision for decision in decisions}.values()),
        approvals=tuple(approvals),
        rollouts=tuple(rollouts),
        gaps=tuple(gaps),
    )


def _snapshot(platform: Platform, release: Release) -> tuple[Snapshot | None, list[str]]:
    try:
        return platform.ledger.snapshots.get(release.snapshot), []
    except NotFound:
        return None, [f"snapshot {release.snapshot} is not on record"]


def _cause(platform: Platform, release: Release, gaps: list[str]) -> list[Decision]:
    """The governor's decision that asked for the training, where the release names one."""
    if not (digest := release.parts.get("evidence")):
        return []
    try:
        return [platform.ledger.journal.decision(digest)]
    except NotFound:
        gaps.append(f"the decision {digest} that it was trained for is not on record")
        return []


def _arms(state: RolloutState) -> dict[str, str]:
    """Releases that a rollout is about, with what they are in it."""
    champion = {} if state.champion is None else {state.champion.release: "champion"}
    return champion | {state.challenger.release: "challenger"}


def _rollout(state: RolloutState, digest: str) -> Rollout:
    return Rollout(
        id=state.id, role=_arms(state)[digest], strategy=state.strategy, status=state.status, looks=state.looks,
        opened_at=state.opened_at, decided_at=state.decided_at, decided_by=state.decided_by, reason=state.reason,
    )  # fmt: skip
