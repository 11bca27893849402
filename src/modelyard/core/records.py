"""The values that the platform keeps: snapshots, releases, approvals, incidents, audit events, analysis runs."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import total_ordering
from typing import Literal, Self

from pydantic import Field, JsonValue

from modelyard.core.value import Digest, ModelName, Moment, Value
from modelyard.core.verdict import Measurement, Severity, Verdict
from modelyard.core.window import Window


class Snapshot(Value):
    """An immutable set of rows of one model's source.

    ``window`` bounds the rows' event time; only what was known by ``as_of`` is in it. ``content`` is the digest of the
    rows in canonical order (not of the file, whose bytes depend on the writer), so the same rows are one version.
    """

    model: ModelName
    window: Window
    as_of: Moment
    rows: int = Field(ge=0)
    columns: tuple[str, ...]
    content: Digest
    dvc_md5: str = Field(pattern=r"^[0-9a-f]{32}$")
    path: str

    @property
    def id(self) -> str:
        """The name of the snapshot: its content digest."""
        return self.content


@total_ordering
class SemVer(Value):
    """A semantic version: major for architecture or signature, minor for retraining, patch for the same weights.

    >>> str(SemVer.parse("1.2.3").bump("minor"))
    '1.3.0'
    """

    major: int = Field(ge=0)
    minor: int = Field(ge=0)
    patch: int = Field(ge=0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``MAJOR.MINOR.PATCH``."""
        if not (match := re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)):
            raise ValueError(f"a semantic version is written MAJOR.MINOR.PATCH, got {text!r}")
        major, minor, patch = map(int, match.groups())
        return cls(major=major, minor=minor, patch=patch)

    def bump(self, part: Literal["major", "minor", "patch"]) -> SemVer:
        """The next version in this part."""
        match part:
            case "major":
                return SemVer(major=self.major + 1, minor=0, patch=0)
            case "minor":
                return SemVer(major=self.major, minor=self.minor + 1, patch=0)
            case "patch":
                return SemVer(major=self.major, minor=self.minor, patch=self.patch + 1)

    def __lt__(self, other: SemVer) -> bool:
        return (self.major, self.minor, self.patch) < (other.major, other.minor, other.patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class Release(Value):
    """The release manifest: everything that changes behaviour, by digest. Its own digest names the release.

    ``files`` maps each file of the bundle (``model.onnx``, ``signature.json``, ...) to its digest. ``parts`` names the
    rest (``dataset``, ``training_frame``, ``feature_service``, ``params``, ``environment``, ``release_owner``,
    ``policy_gates``, ...; docs/releases.md lists them). A part that a later version of the platform adds changes no
    digest of an earlier release.
    """

    model: ModelName
    version: int = Field(ge=1)
    semver: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    mlflow_run_id: str
    code_commit: str
    created_at: Moment
    as_of: Moment
    reason: str
    author: str
    snapshot: Digest
    dvc_md5: str
    files: dict[str, Digest]
    parts: dict[str, str]
    metrics: dict[str, float] = Field(default_factory=dict)
    overrides: dict[str, JsonValue] = Field(default_factory=dict)


class Approval(Value):
    """One answer of one person (or of the platform, when ``automatic``), bound to the evidence it was given for."""

    release: Digest
    decision: Digest
    by: str
    at: Moment
    answer: Literal["approve", "reject"]
    automatic: bool
    comment: str = ""
    where: str = ""


AttestationKind = Literal["gates", "governance", "approval", "rollout"]
"""What is attested: a decision of the gates, of governance, a person's answer, how a rollout ended."""


class Attestation(Value):
    """A signed statement about a release: that ``actor`` decided or did at ``at`` what the record ``cites`` says.

    ``envelope`` is the JSON of a DSSE envelope, which says all of this again, signed (``signing.statement``).
    """

    release: Digest
    kind: AttestationKind
    cites: Digest
    actor: str
    at: Moment
    envelope: str


class IncidentState(StrEnum):
    """The life of an incident."""

    OPEN = "open"
    RESOLVED = "resolved"


class Incident(Value):
    """Something a person should know of. ``key`` names the cause: one cause is one incident while it is open."""

    key: str
    model: str
    kind: str
    severity: Severity
    title: str
    detail: str
    opened_at: Moment
    evidence: tuple[str, ...] = ()
    next_step: str = ""


class AuditEvent(Value):
    """One line of the append-only audit log."""

    at: Moment
    actor: str
    action: str
    model: str
    subject: str
    reason: str
    digests: tuple[Digest, ...] = ()
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class AnalysisRun(Value):
    """One look at a rollout: what was measured, what was made of it, and under which policy."""

    rollout: str
    model: ModelName
    stage: int = Field(ge=0)
    look: int = Field(ge=0)
    as_of: Moment
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    action: Literal["hold", "advance", "fast_track", "promote", "conclude", "rollback", "ask"]
    reasons: tuple[str, ...]
    policy: Digest
