"""Leases: until when a running study's worker counts as alive, and when a queued study was last put on the queue."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",))


def upgrade() -> None:
    op.execute("ALTER TABLE study ADD COLUMN lease_until timestamptz, ADD COLUMN queued_at timestamptz")
    op.execute("ALTER TABLE study ALTER COLUMN queued_at SET DEFAULT now()")


def downgrade() -> None:
    op.execute("ALTER TABLE study DROP COLUMN lease_until, DROP COLUMN queued_at")
