"""What watching needs: counts without studies, the models' cards, and the trace that a study is part of."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",), grows_with="a constraint is looked up in each study")

COLUMN = """
ALTER TABLE study
    ADD COLUMN traceparent text,
    ADD CONSTRAINT ck_study_traceparent CHECK (traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
"""
BACK = "ALTER TABLE study DROP COLUMN traceparent"
VIEWS = ("study_count", "model_card")


def upgrade() -> None:
    op.execute(COLUMN)
    for view in VIEWS:
        op.execute(view_of(revision, view))
        op.execute(f"REVOKE ALL ON {view} FROM PUBLIC")
        op.execute(f"GRANT SELECT ON {view} TO dlr_writer, dlr_reader")


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    op.execute(BACK)
