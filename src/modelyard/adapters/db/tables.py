"""The platform's tables. Bodies are the canonical JSON of values in ``core``; columns repeat what is searched for."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


def _moment(name: str, *, null: bool = False, default_now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=null, server_default=text("now()") if default_now else None)


def _text(name: str, *, key: bool = False, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null and not key, server_default=default)


def _body() -> Column[object]:
    return Column("body", JSONB, nullable=False)


snapshots = Table(
    "snapshots",
    metadata,
    _text("content", key=True),
    _text("model"),
    _text("state"),
    _text("reason", default=""),
    _body(),
    _moment("recorded_at", default_now=True),
    Index("snapshots_by_model", "model"),
)
releases = Table(
    "releases",
    metadata,
    _text("digest", key=True),
    _text("model"),
    Column("version", Integer, nullable=False),
    _text("mlflow_run_id"),
    _text("state"),
    _text("reason", default=""),
    _text("bundle"),
    _body(),
    _moment("recorded_at", default_now=True),
    UniqueConstraint("model", "version", name="one_release_per_version"),
    UniqueConstraint("mlflow_run_id", name="one_release_per_run"),
)
champions = Table(
    "champions",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    _text("model"),
    _text("release"),
    _text("rollout"),
    _moment("since"),
    Index("champions_by_model", "model", "seq"),
)
decisions = Table(
    "decisions",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    _text("digest"),
    _text("kind"),
    _text("model"),
    _text("subject"),
    _text("action"),
    _moment("as_of"),
    _body(),
    _moment("recorded_at", default_now=True),
    UniqueConstraint("digest", name="one_row_per_decision"),
    Index("decisions_by_subject", "model", "kind", "subject"),
)
approvals = Table(
    "approvals",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    _text("release"),
    _text("decision"),
    _text("by"),
    _text("answer"),
    _body(),
    _moment("recorded_at", default_now=True),
    UniqueConstraint("release", "decision", "by", name="one_answer_per_person_and_evidence"),
)
attestations = Table(
    "attestations",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    _text("digest"),
    _text("release"),
    _text("kind"),
    _text("cites"),
    _body(),
    _moment("recorded_at", default_now=True),
    UniqueConstraint("digest", name="one_row_per_attestation"),
    Index("attestations_by_release", "release", "seq"),
)
rollouts = Table(
    "rollouts",
    metadata,
    _text("id", key=True),
    _text("model"),
    _text("release"),
    Column("revision", Integer, nullable=False),
    _body(),
    _moment("opened_at"),
    _moment("closed_at", null=True),
    Index("one_open_rollout_per_model", "model", unique=True, postgresql_where=text("closed_at IS NULL")),
)
routes = Table(
    "routes",
    metadata,
    _text("model", key=True),
    Column("generation", BigInteger, nullable=False),
    _body(),
    _moment("recorded_at", default_now=True),
)
acks = Table(
    "acks",
    metadata,
    _text("model", key=True),
    _text("replica", key=True),
    Column("generation", BigInteger, nullable=False),
    _moment("at"),
)
analysis_runs = Table(
    "analysis_runs",
    metadata,
    _text("rollout", key=True),
    Column("stage", Integer, primary_key=True, autoincrement=False),
    Column("look", Integer, primary_key=True, autoincrement=False),
    _body(),
    _moment("recorded_at", default_now=True),
)
incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    _text("key"),
    _text("model"),
    _text("state"),
    _text("resolution", default=""),
    _body(),
    _moment("opened_at"),
    _moment("resolved_at", null=True),
    Index("one_open_incident_per_key", "key", unique=True, postgresql_where=text("resolved_at IS NULL")),
)
# The searched columns follow from the body, which is kept to the letter (json, not jsonb): digests cover its text.
audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _text("previous"),
    _text("digest"),
    Column("body", JSON, nullable=False),
    *(
        Column(name, Text, Computed(f"body ->> '{name}'", persisted=True))
        for name in ("actor", "action", "model", "subject")
    ),
    UniqueConstraint("previous", name="one_entry_after_each"),
    Index("audit_by_model", "model", "seq"),
)
audit_head = Table(
    "audit_head",
    metadata,
    Column("single", Boolean, CheckConstraint("single", name="one_head"), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    _text("digest"),
)
drift_checks = Table(
    "drift_checks",
    metadata,
    _text("model", key=True),
    Column("as_of", DateTime(timezone=True), primary_key=True),
    _body(),
    _moment("recorded_at", default_now=True),
)
ticks = Table(
    "ticks",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    _text("model"),
    _moment("wall"),
    _moment("event"),
    Index("ticks_by_model", "model", "wall"),
)
