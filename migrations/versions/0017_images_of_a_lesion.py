"""A lesion has images, each with what each version of each model said of it; and 4 without a letter is a category.

What a lesion had of its image becomes its first image, and its scores that image's. Down again, a lesion keeps the
first image that was scored, else its first one, and its scores, which may rest on several.
"""

from alembic import op
from sqlalchemy import text

from db.errors import DatabaseRefused
from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.CONTRACT,
    locks=("lesion", "model"),
    workers_go_on=False,
    grows_with="an image of each lesion and a score of each image are made, and constraints are looked up in them",
)

TYPES = """
ALTER TYPE birads ADD VALUE IF NOT EXISTS '4' BEFORE '4A';
ALTER TYPE recommendation ADD VALUE IF NOT EXISTS '4' BEFORE '4A';
CREATE TYPE plane AS ENUM ('radial', 'antiradial', 'transverse', 'longitudinal', 'oblique');
"""

PLACE = """
ALTER TABLE lesion
    ADD COLUMN clock_position integer,
    ADD COLUMN distance_to_nipple_mm double precision,
    ADD COLUMN depth_mm double precision;
"""

# Constraints and indexes follow the rows: that is quicker.
TABLES = """
CREATE TABLE marked_image (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    lesion_id        bigint NOT NULL,
    ordinal          integer NOT NULL,
    sop_instance_uid text NOT NULL,
    frame            integer,
    roi_x            integer,
    roi_y            integer,
    roi_width        integer,
    roi_height       integer,
    plane            plane,
    state            lesion_state NOT NULL DEFAULT 'waiting',
    error_code       text,
    error_reason     text,
    region_x         integer,
    region_y         integer,
    region_width     integer,
    region_height    integer,
    region_source    region_source,
    gate             text[] NOT NULL DEFAULT '{}'::text[],
    width_mm         double precision,
    height_mm        double precision,
    laterality       laterality
);
INSERT INTO marked_image (lesion_id, ordinal, sop_instance_uid, frame, roi_x, roi_y, roi_width, roi_height,
    state, error_code, error_reason, region_x, region_y, region_width, region_height, region_source, gate,
    width_mm, height_mm, laterality)
SELECT id, 1, sop_instance_uid, frame, roi_x, roi_y, roi_width, roi_height,
    state, error_code, error_reason, region_x, region_y, region_width, region_height, region_source, gate,
    width_mm, height_mm, laterality
FROM lesion ORDER BY id;
ALTER TABLE marked_image
    ADD CONSTRAINT pk_marked_image PRIMARY KEY (id),
    ADD CONSTRAINT fk_marked_image_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id),
    ADD CONSTRAINT uq_marked_image_lesion_id_ordinal UNIQUE (lesion_id, ordinal),
    ADD CONSTRAINT ck_marked_image_counts_from_one CHECK (ordinal >= 1 AND frame >= 1),
    ADD CONSTRAINT ck_marked_image_roi_is_whole
        CHECK (num_nonnulls(roi_x, roi_y, roi_width, roi_height) IN (0, 4)),
    ADD CONSTRAINT ck_marked_image_region_is_whole
        CHECK (num_nonnulls(region_x, region_y, region_width, region_height, region_source) IN (0, 5)),
    ADD CONSTRAINT ck_marked_image_failed_says_why CHECK ((state = 'failed') = (error_code IS NOT NULL)),
    ADD CONSTRAINT ck_marked_image_gate CHECK (gate <@ ARRAY['doppler_in_roi', 'colour_in_roi',
        'dual_view_seam_in_roi', 'overlay_in_roi', 'roi_outside_bmode', 'roi_too_small', 'roi_blank', 'roi_saturated']),
    ADD CONSTRAINT ck_marked_image_size_is_whole CHECK (num_nonnulls(width_mm, height_mm) IN (0, 2)),
    ADD CONSTRAINT ck_marked_image_size CHECK (width_mm > 0 AND height_mm > 0);
COMMENT ON TABLE marked_image IS 'One image of one lesion, as the sender marked it, and how far it came';

CREATE TABLE image_prediction (
    image_id             bigint NOT NULL,
    model_id             integer NOT NULL,
    positive_probability double precision NOT NULL
);
INSERT INTO image_prediction (image_id, model_id, positive_probability)
SELECT image.id, prediction.model_id, prediction.positive_probability
FROM prediction JOIN marked_image AS image ON image.lesion_id = prediction.lesion_id;
ALTER TABLE image_prediction
    ADD CONSTRAINT pk_image_prediction PRIMARY KEY (image_id, model_id),
    ADD CONSTRAINT fk_image_prediction_image_id FOREIGN KEY (image_id) REFERENCES marked_image (id),
    ADD CONSTRAINT fk_image_prediction_model_id FOREIGN KEY (model_id) REFERENCES model (id),
    ADD CONSTRAINT ck_image_prediction_probability CHECK (positive_probability BETWEEN 0 AND 1);
CREATE INDEX ix_image_prediction_model_id ON image_prediction (model_id);
COMMENT ON TABLE image_prediction IS
    'What one version of a model said about one image of a lesion; a newer version adds rows';
"""

LESION = """
ALTER TABLE lesion
    DROP COLUMN sop_instance_uid,
    DROP COLUMN frame,
    DROP COLUMN roi_x,
    DROP COLUMN roi_y,
    DROP COLUMN roi_width,
    DROP COLUMN roi_height,
    DROP COLUMN region_x,
    DROP COLUMN region_y,
    DROP COLUMN region_width,
    DROP COLUMN region_height,
    DROP COLUMN region_source,
    DROP COLUMN gate,
    DROP COLUMN width_mm,
    DROP COLUMN height_mm,
    DROP COLUMN aspect_ratio,
    ADD CONSTRAINT ck_lesion_counts_from_one CHECK (ordinal >= 1),
    ADD CONSTRAINT ck_lesion_clock_position CHECK (clock_position BETWEEN 1 AND 12),
    ADD CONSTRAINT ck_lesion_place
        CHECK (distance_to_nipple_mm BETWEEN 0 AND 300 AND depth_mm BETWEEN 0 AND 300);
ANALYZE marked_image, image_prediction;
"""

CHANGED = ("lesion_result", "lesion_image", "listed_study", "worklist")

GRANTS = """
REVOKE ALL ON marked_image, image_prediction, image_result FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON marked_image, image_prediction TO dlr_writer;
GRANT SELECT (id, lesion_id, ordinal, sop_instance_uid, frame, state,
              region_x, region_y, region_width, region_height) ON marked_image TO dlr_shadow;
GRANT SELECT, INSERT ON image_prediction TO dlr_shadow;
GRANT SELECT ON image_result TO dlr_writer, dlr_reader, dlr_web;
"""

BACK = """
ALTER TABLE lesion
    DROP CONSTRAINT ck_lesion_counts_from_one,
    DROP COLUMN clock_position,
    DROP COLUMN distance_to_nipple_mm,
    DROP COLUMN depth_mm,
    ADD COLUMN sop_instance_uid text,
    ADD COLUMN frame integer,
    ADD COLUMN roi_x integer,
    ADD COLUMN roi_y integer,
    ADD COLUMN roi_width integer,
    ADD COLUMN roi_height integer,
    ADD COLUMN region_x integer,
    ADD COLUMN region_y integer,
    ADD COLUMN region_width integer,
    ADD COLUMN region_height integer,
    ADD COLUMN region_source region_source,
    ADD COLUMN gate text[] NOT NULL DEFAULT '{}'::text[],
    ADD COLUMN width_mm double precision,
    ADD COLUMN height_mm double precision,
    ADD COLUMN aspect_ratio double precision;
UPDATE lesion
SET sop_instance_uid = image.sop_instance_uid, frame = image.frame,
    roi_x = image.roi_x, roi_y = image.roi_y, roi_width = image.roi_width, roi_height = image.roi_height,
    region_x = image.region_x, region_y = image.region_y, region_width = image.region_width,
    region_height = image.region_height, region_source = image.region_source, gate = image.gate,
    width_mm = image.width_mm, height_mm = image.height_mm, aspect_ratio = image.height_mm / image.width_mm
FROM (
    SELECT DISTINCT ON (lesion_id) * FROM marked_image ORDER BY lesion_id, state <> 'scored', ordinal
) AS image
WHERE image.lesion_id = lesion.id;
ALTER TABLE lesion
    ALTER COLUMN sop_instance_uid SET NOT NULL,
    ADD CONSTRAINT ck_lesion_counts_from_one CHECK (ordinal >= 1 AND frame >= 1),
    ADD CONSTRAINT ck_lesion_roi_is_whole CHECK (num_nonnulls(roi_x, roi_y, roi_width, roi_height) IN (0, 4)),
    ADD CONSTRAINT ck_lesion_region_is_whole
        CHECK (num_nonnulls(region_x, region_y, region_width, region_height, region_source) IN (0, 5)),
    ADD CONSTRAINT ck_lesion_gate CHECK (gate <@ ARRAY['doppler_in_roi', 'colour_in_roi',
        'dual_view_seam_in_roi', 'overlay_in_roi', 'roi_outside_bmode', 'roi_too_small', 'roi_blank', 'roi_saturated']),
    ADD CONSTRAINT ck_lesion_size_is_whole CHECK (num_nonnulls(width_mm, height_mm, aspect_ratio) IN (0, 3)),
    ADD CONSTRAINT ck_lesion_size CHECK (width_mm > 0 AND height_mm > 0 AND aspect_ratio > 0);
DROP TABLE image_prediction, marked_image;
DROP TYPE plane;
"""

# PostgreSQL takes no word out of an enumeration.
WORDS = """
ALTER TYPE birads RENAME TO birads_with_4;
ALTER TYPE recommendation RENAME TO recommendation_with_4;
CREATE TYPE birads AS ENUM ('0', '1', '2', '3', '4A', '4B', '4C', '5', '6');
CREATE TYPE recommendation AS ENUM ('0', '1', '2', '3', '4A', '>4A', '4B', '4C', '5', '6');
ALTER TABLE lesion ALTER COLUMN birads TYPE birads USING birads::text::birads;
ALTER TABLE restratification
    ALTER COLUMN original TYPE birads USING original::text::birads,
    ALTER COLUMN recommended TYPE recommendation USING recommended::text::recommendation;
DROP TYPE birads_with_4;
DROP TYPE recommendation_with_4;
"""

# What shows a category, or an image, is made anew, and with it what is made of that.
REMADE = (
    ("0014", "lesion_result"), ("0001", "restratification_summary"), ("0013", "worklist"), ("0015", "listed_study"),
    ("0015", "study_result"), ("0011", "lesion_score"), ("0014", "lesion_verdict"), ("0006", "pathology_result"),
    ("0006", "downgraded_cancer"), ("0007", "lesion_image"), ("0014", "study_verdict"),
)  # fmt: skip
GRANTS_BEFORE = """
REVOKE ALL ON lesion_result, restratification_summary, worklist, listed_study, study_result, lesion_score,
    lesion_verdict, pathology_result, downgraded_cancer, lesion_image,
    study_verdict FROM PUBLIC;
GRANT SELECT ON lesion_result, restratification_summary, worklist, lesion_verdict TO dlr_writer, dlr_reader, dlr_web;
GRANT SELECT ON study_result, lesion_score, pathology_result, downgraded_cancer TO dlr_writer, dlr_reader;
GRANT SELECT ON listed_study TO dlr_web, dlr_writer;
GRANT SELECT ON lesion_image, study_verdict TO dlr_web;
GRANT SELECT (sop_instance_uid, frame, region_x, region_y, region_width, region_height) ON lesion TO dlr_shadow;
"""


def upgrade() -> None:
    for statements in (TYPES, PLACE, TABLES):
        op.execute(statements)
    for view in (*CHANGED, "image_result"):
        op.execute(view_of(revision, view))
    op.execute(LESION)
    op.execute(GRANTS)


def downgrade() -> None:
    _refuse_fours()
    for view in reversed(("image_result", *(view for _, view in REMADE))):
        op.execute(f"DROP VIEW {view}")
    op.execute(BACK)
    op.execute(WORDS)
    for earlier, view in REMADE:
        op.execute(view_of(earlier, view))
    op.execute(GRANTS_BEFORE)


def _refuse_fours() -> None:
    found = op.get_bind().scalar(text("SELECT count(*) FROM lesion WHERE birads = '4'"))
    if found:
        raise DatabaseRefused(
            f"lesions of BI-RADS 4 without a letter: {found}, and earlier versions have no word for it. Stay with this "
            "version, or restore a backup from before the upgrade"
        )
