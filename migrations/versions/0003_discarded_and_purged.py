"""Discarded and purged studies: off the lists, on record; and a history that not even a replica session changes."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.EXPAND,
    locks=("study", "study_event"),
    grows_with="two constraints are looked up in each study, and an index is made anew",
)

COLUMNS = """
ALTER TABLE study
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discard_reason text,
    ADD COLUMN purged_at timestamptz,
    DROP CONSTRAINT ck_study_refused_is_failed,
    ADD CONSTRAINT ck_study_refused_is_failed
        CHECK (study_instance_uid IS NOT NULL OR state = 'failed' OR purged_at IS NOT NULL),
    ADD CONSTRAINT ck_study_purged_has_no_identifiers CHECK (
        purged_at IS NULL
        OR num_nonnulls(study_instance_uid, accession_number, error_reason, discard_reason) = 0 AND job = '{}'
    );
DROP INDEX uq_study_refused;
CREATE UNIQUE INDEX uq_study_refused ON study (content_digest)
    WHERE study_instance_uid IS NULL AND purged_at IS NULL;
"""
BACK = """
ALTER TABLE study
    DROP CONSTRAINT ck_study_purged_has_no_identifiers,
    DROP CONSTRAINT ck_study_refused_is_failed,
    ADD CONSTRAINT ck_study_refused_is_failed CHECK (study_instance_uid IS NOT NULL OR state = 'failed');
DROP INDEX uq_study_refused;
CREATE UNIQUE INDEX uq_study_refused ON study (content_digest) WHERE study_instance_uid IS NULL;
ALTER TABLE study DROP COLUMN discarded_at, DROP COLUMN discard_reason, DROP COLUMN purged_at;
"""
VIEWS = ("worklist", "failed_study")


def upgrade() -> None:
    op.execute(COLUMNS)
    for view in VIEWS:
        op.execute(view_of(revision, view))
    op.execute("ALTER TABLE study_event ENABLE ALWAYS TRIGGER append_only")


def downgrade() -> None:
    op.execute("ALTER TABLE study_event ENABLE TRIGGER append_only")
    for view in VIEWS:
        old = view_of("0001", view)
        op.execute(old.split("COMMENT ON VIEW")[0].replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    op.execute(BACK)
