"""The role ``dlr_shadow``, which adds scores and nothing else; what it could not score; and all scores as a view."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("lesion", "model"))

TABLE = """
CREATE TABLE prediction_refusal (
    lesion_id  bigint NOT NULL,
    model_id   integer NOT NULL,
    error_code text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_prediction_refusal PRIMARY KEY (lesion_id, model_id),
    CONSTRAINT fk_prediction_refusal_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id),
    CONSTRAINT fk_prediction_refusal_model_id FOREIGN KEY (model_id) REFERENCES model (id)
);
CREATE INDEX ix_prediction_refusal_model_id ON prediction_refusal (model_id);
COMMENT ON TABLE prediction_refusal IS
    'A stored lesion that a shadow or a backfill could not score, and why it could not';
"""

# What it takes to find a lesion's pixels, and no more. No UPDATE and no DELETE anywhere.
GRANTS = """
REVOKE ALL ON prediction_refusal FROM PUBLIC;
GRANT SELECT (id, study_instance_uid, is_current, state, content_digest, job, received_at, purged_at)
    ON study TO dlr_shadow;
GRANT SELECT (id, study_id, sop_instance_uid, frame, state, age_years,
              region_x, region_y, region_width, region_height) ON lesion TO dlr_shadow;
GRANT SELECT, INSERT ON model, prediction, prediction_refusal TO dlr_shadow;
GRANT SELECT ON prediction_refusal TO dlr_writer;
"""
REVOKE = "REVOKE ALL ON study, lesion, model, prediction FROM dlr_shadow"


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(GRANTS)


def downgrade() -> None:
    op.execute(REVOKE)
    op.execute("DROP TABLE prediction_refusal")
