"""What pathology said: an append-only table, and two views that hold it against the advice."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("lesion",))

VIEWS = ("pathology_result", "downgraded_cancer")

TABLE = """
CREATE TYPE pathology_finding AS ENUM ('benign', 'malignant');
CREATE TABLE pathology (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    lesion_id   bigint NOT NULL,
    result      pathology_finding NOT NULL,
    histology   text,
    reported_on date,
    is_current  boolean NOT NULL DEFAULT true,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_pathology PRIMARY KEY (id),
    CONSTRAINT fk_pathology_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id)
);
CREATE INDEX ix_pathology_lesion_id ON pathology (lesion_id);
CREATE UNIQUE INDEX uq_pathology_current ON pathology (lesion_id) WHERE is_current;
COMMENT ON TABLE pathology IS
    'What pathology reported of each lesion; a correction is a row more, and the latest is current';
"""

# A correction ends `is_current` of the row before, and a purge empties what could name a person: nothing else changes.
APPEND_ONLY = """
CREATE FUNCTION pathology_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.lesion_id, NEW.result, NEW.recorded_at) = (OLD.id, OLD.lesion_id, OLD.result, OLD.recorded_at)
            AND (OLD.is_current OR NOT NEW.is_current)
            AND (NEW.histology IS NULL OR NEW.histology IS NOT DISTINCT FROM OLD.histology)
            AND (NEW.reported_on IS NULL OR NEW.reported_on IS NOT DISTINCT FROM OLD.reported_on)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'pathology is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
REVOKE ALL ON FUNCTION pathology_is_append_only() FROM PUBLIC;
CREATE TRIGGER append_only BEFORE UPDATE ON pathology
    FOR EACH ROW EXECUTE FUNCTION pathology_is_append_only();
CREATE TRIGGER nothing_goes BEFORE DELETE OR TRUNCATE ON pathology
    FOR EACH STATEMENT EXECUTE FUNCTION pathology_is_append_only();
ALTER TABLE pathology ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER nothing_goes;
"""

GRANTS = """
REVOKE ALL ON pathology, pathology_result, downgraded_cancer FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE (is_current, histology, reported_on) ON pathology TO dlr_writer;
GRANT SELECT ON pathology_result, downgraded_cancer TO dlr_writer, dlr_reader;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(APPEND_ONLY)
    for view in VIEWS:
        op.execute(view_of(revision, view))
    op.execute(GRANTS)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    op.execute("DROP TABLE pathology")
    op.execute("DROP FUNCTION pathology_is_append_only()")
    op.execute("DROP TYPE pathology_finding")
