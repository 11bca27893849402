"""The ledger: the platform's own record, and the one truth on who is champion.

All writes are idempotent: writing the same value twice is one row. Moments are inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from modelyard.core.chain import Entry, Head
from modelyard.core.clock import Tick
from modelyard.core.records import AnalysisRun, Approval, Attestation, AuditEvent, Incident, Release, Snapshot
from modelyard.core.verdict import Decision

SnapshotState = Literal["new", "valid", "quarantined"]
ReleaseState = Literal["candidate", "ready", "quarantined"]
Json = dict[str, Any]


class Snapshots(Protocol):
    """Versions of the data."""

    def add(self, snapshot: Snapshot) -> None:
        """Record a snapshot as ``new``; the same content again changes nothing."""

    def get(self, content: str) -> Snapshot:
        """Raises ``NotFound``."""

    def state(self, content: str) -> SnapshotState:
        """Raises ``NotFound``."""

    def mark(self, content: str, state: SnapshotState, reason: str) -> None:
        """Set the state. Raises ``Conflict`` when a quarantined snapshot is to become anything else."""

    def readmit(self, content: str, reason: str) -> None:
        """Make a quarantined snapshot valid: for ``flows.validate`` alone, when a mended suite admits it."""

    def of(self, model: str) -> list[Snapshot]:
        """All snapshots of a model, oldest first."""


class Releases(Protocol):
    """Release manifests, their state, and the champions."""

    def add(self, release: Release, bundle: str) -> None:
        """Record a candidate and where its bundle is. Raises ``Conflict`` when the version is another release's."""

    def get(self, digest: str) -> Release:
        """Raises ``NotFound``."""

    def bundle(self, digest: str) -> str:
        """The URI of the bundle's folder. Raises ``NotFound``."""

    def of_run(self, mlflow_run_id: str) -> Release | None:
        """The release that this MLflow run made."""

    def by_version(self, model: str, version: int) -> Release:
        """Raises ``NotFound``."""

    def recorded(self, *, prefix: str = "sha256:", model: str | None = None, version: int | None = None) -> list[str]:
        """Digests under which releases are on record, sorted: those that begin so, of this model, of this version."""

    def history(self, model: str) -> list[tuple[Release, ReleaseState]]:
        """All releases of a model, oldest first."""

    def state(self, digest: str) -> ReleaseState:
        """Raises ``NotFound``."""

    def mark(self, digest: str, state: ReleaseState, reason: str) -> None:
        """Set the state. Raises ``Conflict`` when a quarantined release is to become anything else."""

    def champion(self, model: str) -> Release | None:
        """Who serves everybody; None before the first promotion."""

    def previous(self, model: str) -> Release | None:
        """The champion to go back to: the last one before the present one first became champion that is not
        quarantined; None when there is none."""

    def crown(self, model: str, digest: str, rollout: str, at: datetime) -> None:
        """Make a release the champion. Raises ``Conflict`` for a quarantined one."""


class Rollouts(Protocol):
    """Rollouts, at most one open per model, and the routes that replicas must follow.

    The body is the JSON of the rollout's state; ``revision`` guards against two writers (compare and swap).
    """

    def open(self, rollout: str, model: str, release: str, body: Json, at: datetime) -> None:
        """Raises ``Conflict`` when another rollout of the model is open; the same one again changes nothing."""

    def get(self, rollout: str) -> tuple[Json, int]:
        """Body and revision. Raises ``NotFound``."""

    def save(self, rollout: str, body: Json, revision: int, *, closed_at: datetime | None = None) -> int:
        """Replace the body if the revision is still this one; returns the new one. Raises ``Conflict``."""

    def current(self, model: str) -> str | None:
        """The id of the open rollout."""

    def history(self, model: str) -> list[Json]:
        """Bodies, oldest first."""

    def route(self, model: str) -> tuple[int, Json] | None:
        """The generation and body of the wanted route."""

    def set_route(self, model: str, body: Json) -> int:
        """Record the wanted route; returns its generation (an equal body keeps the generation)."""

    def ack(self, model: str, replica: str, generation: int, at: datetime) -> None:
        """Record that a replica follows this generation."""

    def acks(self, model: str) -> dict[str, int]:
        """The last acknowledged generation by replica."""

    def look(self, run: AnalysisRun) -> AnalysisRun:
        """Record one look; returns the one on record, which is an earlier one where this look was recorded before."""

    def looks(self, rollout: str) -> list[AnalysisRun]:
        """All looks, in order."""


class Journal(Protocol):
    """Decisions, approvals, attestations, incidents, the audit log, drift checks and the clock's ticks."""

    def decide(self, decision: Decision) -> None:
        """Record a decision; an equal one is one row, and the newest from now on."""

    def decision(self, digest: str) -> Decision:
        """Raises ``NotFound``."""

    def decisions(self, model: str, kind: str | None = None, subject: str | None = None) -> list[Decision]:
        """Decisions in the order last recorded."""

    def approve(self, approval: Approval) -> None:
        """Record an answer; a second answer of the same person to the same evidence raises ``Conflict``
        unless it is the same answer."""

    def approvals(self, release: str) -> list[Approval]:
        """Answers for a release, in order."""

    def attest(self, attestation: Attestation) -> None:
        """Keep an attestation; an equal one is one row."""

    def attestations(self, release: str) -> list[Attestation]:
        """Attestations about a release, in order. They are as they were stored: whoever relies on one verifies it."""

    def raise_incident(self, incident: Incident) -> int:
        """Open an incident, or return the open one with the same key."""

    def resolve_incident(self, key: str, at: datetime, why: str) -> None:
        """Close the open incident with this key, if any."""

    def incidents(self, model: str | None = None, *, open_only: bool = False) -> list[tuple[int, str, Incident]]:
        """(id, state, incident), oldest first."""

    def audit(self, event: AuditEvent) -> int:
        """Append to the audit log, whose entries are chained (``core.chain``); returns the entry's number."""

    def audit_log(
        self,
        model: str | None = None,
        limit: int = 1000,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[tuple[int, AuditEvent]]:
        """The newest events of these, oldest first; ``since`` belongs to the range, ``until`` does not."""

    def audit_chain(self) -> Iterator[Entry]:
        """Every entry of the audit log as it is stored, by number; streamed."""

    def audit_head(self) -> Head:
        """The head that the database records. Raises ``Conflict`` when it was deleted."""

    def audit_anchors(self) -> dict[int, str]:
        """Digests that were noted outside the database, by number. Raises ``Conflict`` when they contradict."""

    def check(self, model: str, as_of: datetime, body: Json) -> None:
        """Record a drift check; the same moment again replaces it (a cleared run repeats itself)."""

    def checks(
        self, model: str, since: datetime | None = None, until: datetime | None = None, *, brief: bool = False
    ) -> list[Json]:
        """Drift checks by ``as_of``, oldest first; both bounds belong to the range. ``brief`` leaves out ``signals``,
        which are most of a row."""

    def tick(self, model: str, wall: datetime, event: datetime) -> None:
        """Record how far the replayed time has come."""

    def ticks(self, model: str) -> Sequence[Tick]:
        """The ticks, in order of wall time."""


class Anchors(Protocol):
    """Where heads of the audit log are noted outside the database."""

    def note(self, head: Head) -> None:
        """Note a head. Raises ``OSError``."""

    def read(self) -> dict[int, str]:
        """Digests by the number of their entry. Raises ``Conflict`` when the notes were changed."""


class Ledger(Protocol):
    """The whole of it."""

    @property
    def snapshots(self) -> Snapshots: ...

    @property
    def releases(self) -> Releases: ...

    @property
    def rollouts(self) -> Rollouts: ...

    @property
    def journal(self) -> Journal: ...
