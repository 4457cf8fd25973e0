"""An index of the studies that a person has to look at: their list takes as long as it is, and not as the ledger is."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",), grows_with="an index of study is made")

INDEX = """
CREATE INDEX ix_study_failed ON study (worklist_order, received_at, id)
    WHERE is_current AND state IN ('partial', 'failed') AND discarded_at IS NULL AND purged_at IS NULL
"""


def upgrade() -> None:
    op.execute(INDEX)


def downgrade() -> None:
    op.execute("DROP INDEX ix_study_failed")
