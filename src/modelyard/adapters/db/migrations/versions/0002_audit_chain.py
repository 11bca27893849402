"""Chain the audit log: every entry names the one before it; the head is one row.

Entries that exist are chained in their order and numbered anew without gaps, their bodies in canonical form.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from modelyard.core.chain import START, Head, follow
from modelyard.core.digest import canonical_json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEARCHED = ("actor", "action", "model", "subject")


def upgrade() -> None:
    db = op.get_bind()
    _guard(on=False)
    bodies = list(db.scalars(sa.text("SELECT body FROM audit_log ORDER BY seq")))
    op.drop_table("audit_log")
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Text, sa.Computed(f"body ->> '{name}'", persisted=True)) for name in _SEARCHED),
        sa.UniqueConstraint("previous", name="one_entry_after_each"),
    )
    op.create_index("audit_by_model", "audit_log", ["model", "seq"])
    head = START
    for body in bodies:
        entry = follow(head, canonical_json(body).decode())
        db.execute(
            sa.text(
                "INSERT INTO audit_log (seq, previous, digest, body)"
                " VALUES (:seq, :previous, :digest, CAST(:text AS json))"
            ),
            entry._asdict(),
        )
        head = Head(seq=entry.seq, digest=entry.digest)
    op.create_table(
        "audit_head",
        sa.Column("single", sa.Boolean, sa.CheckConstraint("single", name="one_head"), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    db.execute(sa.text("INSERT INTO audit_head VALUES (true, :seq, :digest)"), {"seq": head.seq, "digest": head.digest})
    _guard(on=True)


def downgrade() -> None:
    db = op.get_bind()
    _guard(on=False)
    bodies = list(db.scalars(sa.text("SELECT body FROM audit_log ORDER BY seq")))
    op.drop_table("audit_head")
    op.drop_table("audit_log")
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _SEARCHED),
        sa.Column("body", JSONB, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    )
    op.create_index("audit_by_model", "audit_log", ["model", "seq"])
    for body in bodies:
        db.execute(
            sa.text(
                "INSERT INTO audit_log (at, actor, action, model, subject, body)"
                " VALUES (:at, :actor, :action, :model, :subject, CAST(:body AS jsonb))"
            ),
            {name: body[name] for name in ("at", *_SEARCHED)} | {"body": canonical_json(body).decode()},
        )
    _guard(on=True)


def _guard(*, on: bool) -> None:
    if on:
        op.execute(
            "CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
        )
    else:
        op.execute("DROP TRIGGER audit_log_is_append_only ON audit_log")
