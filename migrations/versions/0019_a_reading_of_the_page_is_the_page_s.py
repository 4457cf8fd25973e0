"""How a reading came is no longer the page's to say: what the page adds is of the page."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
impact = Impact(Kind.CONTRACT, locks=("reading",))


def upgrade() -> None:
    op.execute("ALTER TABLE reading ALTER COLUMN source SET DEFAULT 'page'")
    op.execute("REVOKE INSERT (source) ON reading FROM dlr_web")


def downgrade() -> None:
    op.execute("GRANT INSERT (source) ON reading TO dlr_web")
    op.execute("ALTER TABLE reading ALTER COLUMN source DROP DEFAULT")
