"""What is revoked, and which rescheduled tokens were renewed."""

import sqlalchemy as sa
from alembic import op

revision = "cookie0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "revocations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.SmallInteger, nullable=False),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("esn", sa.String, nullable=False),
        sa.Column("except_session_id", sa.String, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_by", sa.String, nullable=False),
    )
    op.create_index("revocations_of_a_session", "revocations", ["customer_id", "session_id"])
    op.create_table(
        "rescheduled_renewals",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("renewed_at", sa.BigInteger, nullable=False),
    )
    op.create_index("rescheduled_renewals_by_age", "rescheduled_renewals", ["renewed_at"])
