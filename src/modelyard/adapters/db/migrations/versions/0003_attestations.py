"""Attestations: signed statements about releases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attestations",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("digest", "release", "kind", "cites")),
        sa.Column("body", JSONB, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.UniqueConstraint("digest", name="one_row_per_attestation"),
    )
    op.create_index("attestations_by_release", "attestations", ["release", "seq"])


def downgrade() -> None:
    op.drop_table("attestations")
