"""The conformal set of each prediction, and which advice keeps a lesion in 4A because a model is not certain."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.EXPAND, locks=("prediction", "restratification"), grows_with="a constraint is looked up in each recommendation"
)

COLUMNS = """
ALTER TABLE prediction ADD COLUMN conformal_set text[];
ALTER TABLE restratification
    ADD COLUMN uncertain boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT ck_restratification_uncertain_is_kept CHECK (NOT uncertain OR outcome = 'maintained');
"""
BACK = """
ALTER TABLE restratification DROP COLUMN uncertain;
ALTER TABLE prediction DROP COLUMN conformal_set;
"""
# A view loses columns only by being made anew, and with it those that read it.
VIEWS = ("lesion_result", "worklist", "restratification_summary")
BEFORE = (*(("0001", view) for view in VIEWS), ("0005", "lesion_result"), ("0003", "worklist"))
GRANTS = """
REVOKE ALL ON worklist, lesion_result, restratification_summary FROM PUBLIC;
GRANT SELECT ON worklist, lesion_result, restratification_summary TO dlr_writer, dlr_reader, dlr_web;
"""
GRANT_SCORES = """
REVOKE ALL ON lesion_score FROM PUBLIC;
GRANT SELECT ON lesion_score TO dlr_writer, dlr_reader;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    for view in ("lesion_result", "worklist", "lesion_score"):
        op.execute(view_of(revision, view))
    op.execute(GRANT_SCORES)


def downgrade() -> None:
    op.execute("DROP VIEW lesion_score")
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for earlier, view in BEFORE:
        op.execute(view_of(earlier, view))
    op.execute(GRANTS)
    op.execute(BACK)
