"""What speaks against a lesion's region, its size, and the scanner that its image came from."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("lesion",), grows_with="three constraints are looked up in each lesion")

COLUMNS = """
ALTER TABLE lesion
    ADD COLUMN gate text[] NOT NULL DEFAULT '{}'::text[],
    ADD COLUMN width_mm double precision,
    ADD COLUMN height_mm double precision,
    ADD COLUMN aspect_ratio double precision,
    ADD COLUMN scanner_model text,
    ADD COLUMN site text,
    ADD CONSTRAINT ck_lesion_gate CHECK (gate <@ ARRAY[
        'doppler_in_roi', 'colour_in_roi', 'dual_view_seam_in_roi', 'overlay_in_roi', 'roi_outside_bmode',
        'roi_too_small', 'roi_blank', 'roi_saturated'
    ]),
    ADD CONSTRAINT ck_lesion_size_is_whole CHECK (num_nonnulls(width_mm, height_mm, aspect_ratio) IN (0, 3)),
    ADD CONSTRAINT ck_lesion_size CHECK (width_mm > 0 AND height_mm > 0 AND aspect_ratio > 0);
"""
BACK = """
ALTER TABLE lesion
    DROP COLUMN gate, DROP COLUMN width_mm, DROP COLUMN height_mm, DROP COLUMN aspect_ratio,
    DROP COLUMN scanner_model, DROP COLUMN site;
"""
# A view loses columns only by being made anew, and with it those that read it.
VIEWS = ("lesion_result", "worklist", "restratification_summary")
GRANTS = """
REVOKE ALL ON worklist, lesion_result, restratification_summary FROM PUBLIC;
GRANT SELECT ON worklist, lesion_result, restratification_summary TO dlr_writer, dlr_reader;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(view_of(revision, "lesion_result"))


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for view in VIEWS:
        op.execute(view_of("0001", view))
    op.execute(view_of("0003", "worklist"))
    op.execute(GRANTS)
    op.execute(BACK)
