"""When a token that came after a rescheduled one was presented, which says that the new pair has arrived."""

import sqlalchemy as sa
from alembic import op

revision = "cookie0002"
down_revision = "cookie0001"


def upgrade() -> None:
    """Add the column; of what was renewed before it is not known, until the session's next renewal."""
    op.add_column("rescheduled_renewals", sa.Column("succeeded_at", sa.BigInteger))
