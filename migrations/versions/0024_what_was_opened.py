"""What of a study somebody opened: the study, or a document of it."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study_access",))


def upgrade() -> None:
    op.execute("""
        ALTER TABLE study_access ADD COLUMN what text NOT NULL DEFAULT 'study';
        GRANT INSERT (what) ON study_access TO dlr_web;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE study_access DROP COLUMN what")
