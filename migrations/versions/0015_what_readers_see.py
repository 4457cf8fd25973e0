"""Readers see the studies without counting the list, and the history, which names no patient.

An index finds what arrived on a day. The tables of the policies are analyzed here: they are too small for PostgreSQL to
do it by itself, and without that it expects too little of a join with them and reads the whole list.
"""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",), grows_with="an index of study is made")

BEFORE = {"listed_study": "0013", "study_history": "0007"}


def upgrade() -> None:
    for view in (*BEFORE, "study_result"):
        op.execute(view_of(revision, view))
    op.execute("REVOKE ALL ON study_result FROM PUBLIC")
    op.execute("GRANT SELECT ON study_result, study_history TO dlr_writer, dlr_reader")
    op.execute("CREATE INDEX ix_study_received_at ON study (received_at)")
    op.execute("ANALYZE reading_order_policy, reading_order_rule")


def downgrade() -> None:
    op.execute("DROP INDEX ix_study_received_at")
    op.execute("REVOKE ALL ON study_history FROM dlr_writer, dlr_reader")
    op.execute("DROP VIEW study_result")
    for view, earlier in BEFORE.items():
        op.execute(view_of(earlier, view).replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
