"""A refused message is found by the identifiers in it, is off the worklist, and ends once its study is accepted.

Identifiers of messages that were refused before are taken from what was kept of them.
"""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.DATA,
    locks=("study",),
    grows_with="two constraints are looked up in each study, an index is made, and refused messages are rewritten",
)

COLUMN = r"""
ALTER TABLE study
    ADD COLUMN named_study_uid text,
    ADD CONSTRAINT ck_study_named_is_refused CHECK (named_study_uid IS NULL OR study_instance_uid IS NULL),
    DROP CONSTRAINT ck_study_purged_has_no_identifiers,
    ADD CONSTRAINT ck_study_purged_has_no_identifiers CHECK (
        purged_at IS NULL
        OR num_nonnulls(study_instance_uid, named_study_uid, accession_number, error_reason, discard_reason) = 0
            AND job = '{}'
    );
CREATE INDEX ix_study_named_study_uid ON study (named_study_uid) WHERE named_study_uid IS NOT NULL;
"""
NAMES = r"""
UPDATE study SET
    named_study_uid = CASE
        WHEN length(job ->> 'study_instance_uid') <= 64 AND job ->> 'study_instance_uid' ~ '^[0-9]+(\.[0-9]+)*$'
            AND jsonb_typeof(job -> 'study_instance_uid') = 'string'
        THEN job ->> 'study_instance_uid' END,
    accession_number = CASE
        WHEN length(job ->> 'accession_number') BETWEEN 1 AND 64 AND job ->> 'accession_number' !~ '[[:cntrl:]]'
            AND jsonb_typeof(job -> 'accession_number') = 'string'
        THEN job ->> 'accession_number' END
WHERE study_instance_uid IS NULL AND purged_at IS NULL AND jsonb_typeof(job) = 'object';
WITH ended AS (
    UPDATE study AS refused SET discarded_at = now()
    WHERE named_study_uid IS NOT NULL AND discarded_at IS NULL AND EXISTS (
        SELECT FROM study AS accepted
        WHERE accepted.study_instance_uid = refused.named_study_uid AND accepted.received_at >= refused.received_at
    )
    RETURNING id, error_code
)
INSERT INTO study_event (study_id, event, detail)
SELECT id, 'retired', jsonb_build_object('by', 'migration 0012', 'code', error_code) FROM ended;
"""
BACK = """
DROP INDEX ix_study_named_study_uid;
ALTER TABLE study
    DROP CONSTRAINT ck_study_named_is_refused,
    DROP CONSTRAINT ck_study_purged_has_no_identifiers,
    DROP COLUMN named_study_uid,
    ADD CONSTRAINT ck_study_purged_has_no_identifiers CHECK (
        purged_at IS NULL
        OR num_nonnulls(study_instance_uid, accession_number, error_reason, discard_reason) = 0 AND job = '{}'
    );
"""
# lesion_result is the same as before; its file has all that belongs to it.
VIEWS = ("lesion_result", "failed_study", "worklist", "worklist_place", "worklist_state")
GRANTS = """
REVOKE ALL ON failed_study FROM PUBLIC;
GRANT SELECT ON failed_study TO dlr_writer, dlr_reader, dlr_web;
"""


def upgrade() -> None:
    op.execute(COLUMN)
    op.execute(NAMES)
    for view in VIEWS:
        op.execute(view_of(revision, view))


def downgrade() -> None:
    op.execute("DROP VIEW failed_study")  # a view loses a column only by being made anew
    for earlier, view in (("0001", "failed_study"), ("0003", "failed_study"), ("0011", "worklist")):
        op.execute(view_of(earlier, view))
    op.execute("COMMENT ON VIEW" + view_of("0001", "worklist").split("COMMENT ON VIEW", 1)[1])
    for view in ("worklist_place", "worklist_state"):
        op.execute(view_of("0007", view).replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    op.execute(GRANTS)
    op.execute(BACK)
