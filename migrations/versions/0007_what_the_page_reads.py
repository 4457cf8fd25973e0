"""The role ``dlr_web`` of the worklist page: it reads the four views, and five more that are for it alone."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND)

VIEWS = ("worklist_place", "waiting_study", "worklist_state", "lesion_image", "study_history")

GRANTS = """
REVOKE ALL ON worklist_place, waiting_study, worklist_state, lesion_image, study_history FROM PUBLIC;
GRANT SELECT ON worklist_place, waiting_study, worklist_state, lesion_image, study_history TO dlr_web;
GRANT SELECT ON worklist, lesion_result, restratification_summary, failed_study TO dlr_web;
"""
REVOKE = "REVOKE ALL ON worklist, lesion_result, restratification_summary, failed_study FROM dlr_web"


def upgrade() -> None:
    for view in VIEWS:
        op.execute(view_of(revision, view))
    op.execute(GRANTS)


def downgrade() -> None:
    op.execute(REVOKE)
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
