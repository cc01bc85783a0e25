"""Key versions, their revision and the access log: what a store had before it had migrations."""

import sqlalchemy as sa
from alembic import op

revision = "kms0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "key_versions",
        sa.Column("key_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("is_primary", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
    )
    op.create_index("ix_key_versions_purpose", "key_versions", ["purpose"])
    primary = sa.text("is_primary")
    op.create_index(
        "one_primary", "key_versions", ["purpose"], unique=True, sqlite_where=primary, postgresql_where=primary
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "access_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        *(sa.Column(each, sa.String, nullable=False) for each in ("identity", "peer", "action", "subject", "outcome")),
        sqlite_autoincrement=True,
    )
