"""The first tables of the platform."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _moment(name: str, *, null: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, server_default=sa.text("now()") if now else None)


def _text(name: str, *, key: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False, server_default=default)


def _seq(name: str = "seq") -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=True)


def _body() -> sa.Column[object]:
    return sa.Column("body", JSONB, nullable=False)


def upgrade() -> None:
    _data()
    _rollouts()
    _journal()
    op.execute(
        """
        CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
        CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
        """
    )


def _data() -> None:
    op.create_table(
        "snapshots",
        _text("content", key=True),
        _text("model"),
        _text("state"),
        _text("reason", default=""),
        _body(),
        _moment("recorded_at", now=True),
    )
    op.create_index("snapshots_by_model", "snapshots", ["model"])
    op.create_table(
        "releases",
        _text("digest", key=True),
        _text("model"),
        sa.Column("version", sa.Integer, nullable=False),
        _text("mlflow_run_id"),
        _text("state"),
        _text("reason", default=""),
        _text("bundle"),
        _body(),
        _moment("recorded_at", now=True),
        sa.UniqueConstraint("model", "version", name="one_release_per_version"),
        sa.UniqueConstraint("mlflow_run_id", name="one_release_per_run"),
    )
    op.create_table("champions", _seq(), _text("model"), _text("release"), _text("rollout"), _moment("since"))
    op.create_index("champions_by_model", "champions", ["model", "seq"])


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        _text("id", key=True),
        _text("model"),
        _text("release"),
        sa.Column("revision", sa.Integer, nullable=False),
        _body(),
        _moment("opened_at"),
        _moment("closed_at", null=True),
    )
    still_open = sa.text("closed_at IS NULL")
    op.create_index("one_open_rollout_per_model", "rollouts", ["model"], unique=True, postgresql_where=still_open)
    op.create_table(
        "routes",
        _text("model", key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        _body(),
        _moment("recorded_at", now=True),
    )
    op.create_table(
        "acks",
        _text("model", key=True),
        _text("replica", key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        _moment("at"),
    )
    op.create_table(
        "analysis_runs",
        _text("rollout", key=True),
        sa.Column("stage", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("look", sa.Integer, primary_key=True, autoincrement=False),
        _body(),
        _moment("recorded_at", now=True),
    )


def _journal() -> None:
    op.create_table(
        "decisions",
        _seq(),
        _text("digest"),
        _text("kind"),
        _text("model"),
        _text("subject"),
        _text("action"),
        _moment("as_of"),
        _body(),
        _moment("recorded_at", now=True),
        sa.UniqueConstraint("digest", name="one_row_per_decision"),
    )
    op.create_index("decisions_by_subject", "decisions", ["model", "kind", "subject"])
    op.create_table(
        "approvals",
        _seq(),
        _text("release"),
        _text("decision"),
        _text("by"),
        _text("answer"),
        _body(),
        _moment("recorded_at", now=True),
        sa.UniqueConstraint("release", "decision", "by", name="one_answer_per_person_and_evidence"),
    )
    op.create_table(
        "incidents",
        _seq("id"),
        _text("key"),
        _text("model"),
        _text("state"),
        _text("resolution", default=""),
        _body(),
        _moment("opened_at"),
        _moment("resolved_at", null=True),
    )
    still_open = sa.text("resolved_at IS NULL")
    op.create_index("one_open_incident_per_key", "incidents", ["key"], unique=True, postgresql_where=still_open)
    op.create_table(
        "audit_log",
        _seq(),
        _moment("at"),
        _text("actor"),
        _text("action"),
        _text("model"),
        _text("subject"),
        _body(),
        _moment("recorded_at", now=True),
    )
    op.create_index("audit_by_model", "audit_log", ["model", "seq"])
    op.create_table(
        "drift_checks",
        _text("model", key=True),
        sa.Column("as_of", sa.DateTime(timezone=True), primary_key=True),
        _body(),
        _moment("recorded_at", now=True),
    )
    op.create_table("ticks", _seq(), _text("model"), _moment("wall"), _moment("event"))
    op.create_index("ticks_by_model", "ticks", ["model", "wall"])


def downgrade() -> None:
    for table in (
        "ticks", "drift_checks", "audit_log", "incidents", "approvals", "decisions",
        "analysis_runs", "acks", "routes", "rollouts", "champions", "releases", "snapshots",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_log_is_append_only()")
