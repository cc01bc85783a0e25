"""When versions changed, who holds and uses them, the chained audit log, and a master key that AWS KMS seals.

The table `access_log` stays as it is, for instances of the version before.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "kms0002"
down_revision = "kms0001"

_SQLITE = (
    "CREATE TRIGGER audit_log_keeps BEFORE UPDATE ON audit_log"
    " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER audit_log_holds BEFORE DELETE ON audit_log"
    " WHEN OLD.id >= coalesce((SELECT first_id FROM audit_head), OLD.id)"
    " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF TG_OP = 'DELETE' THEN"
    " IF OLD.id < (SELECT first_id FROM audit_head) THEN RETURN OLD; END IF;"
    " END IF;"
    " RAISE EXCEPTION 'the audit log is append-only'; END $$",
    "CREATE TRIGGER audit_log_holds BEFORE UPDATE OR DELETE ON audit_log"
    " FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only()",
    "CREATE TRIGGER audit_log_keeps BEFORE TRUNCATE ON audit_log"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()",
)


def upgrade() -> None:
    """Add what is new; what is deactivated already counts as deactivated now."""
    for name in ("state_since", "state_revision"):
        op.add_column("key_versions", sa.Column(name, sa.BigInteger))
    op.execute("UPDATE key_versions SET state_since = created, state_revision = (SELECT revision FROM revision)")
    op.execute(
        sa.text("UPDATE key_versions SET state_since = :now WHERE state = 'DEACTIVATED'").bindparams(
            now=int(time.time())
        )
    )
    op.create_table(
        "holders",
        *(sa.Column(each, sa.String, primary_key=True) for each in ("identity", "holder", "purposes")),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("revision_held", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last_used", sa.BigInteger, nullable=False),
        sa.Column("last_used_by", sa.String, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        *(sa.Column(each, sa.String, nullable=False) for each in ("identity", "peer", "action", "subject", "outcome")),
        sa.Column("code", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("code_before", sa.LargeBinary, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("last_code", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "wrapped_master_key",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    # Only what the head no longer counts may be removed, and nothing changed.
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
