"""A lesion says how the scores of its images became one; the comments on the highest category know 4 alone."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND)

# What is made of the lesions' results is made anew with them.
REMADE = (
    ("0017", "lesion_result"), ("0001", "restratification_summary"), ("0017", "worklist"), ("0017", "listed_study"),
    ("0015", "study_result"),
)  # fmt: skip
GRANTS_BEFORE = """
REVOKE ALL ON lesion_result, restratification_summary, worklist, listed_study, study_result FROM PUBLIC;
GRANT SELECT ON lesion_result, restratification_summary, worklist TO dlr_writer, dlr_reader, dlr_web;
GRANT SELECT ON study_result TO dlr_writer, dlr_reader;
GRANT SELECT ON listed_study TO dlr_web, dlr_writer;
"""


def upgrade() -> None:
    for view in ("lesion_result", "worklist", "study_result"):
        op.execute(view_of(revision, view))


def downgrade() -> None:
    for _, view in reversed(REMADE):
        op.execute(f"DROP VIEW {view}")
    for earlier, view in REMADE:
        op.execute(view_of(earlier, view).replace("CREATE OR REPLACE VIEW", "CREATE VIEW", 1))
    op.execute(GRANTS_BEFORE)
