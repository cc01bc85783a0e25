"""What updates have said of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "cookie0003"
down_revision = "cookie0002"


def upgrade() -> None:
    """Make the table; of updates before it there were none."""
    op.create_table(
        "session_updates",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.BigInteger),
        sa.Column("profile_id", sa.String),
        sa.Column("esn", sa.String),
        sa.Column("device_type", sa.Integer),
        sa.Column("level", sa.SmallInteger),
        sa.Column("vouched_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("session_updates_by_age", "session_updates", ["updated_at"])
