"""The worklist is filtered by what stands in its own table: an index a filter, in the order of reading."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.CONTRACT,
    locks=("lesion", "reading_order_switch", "study", "worklist_entry"),
    workers_go_on=False,
    grows_with="indexes of study, lesion and the worklist are made, and each place on the worklist is rewritten",
)

COLUMNS = """
ALTER TABLE worklist_entry
    ADD COLUMN state          text,
    ADD COLUMN priority       text,
    ADD COLUMN worklist_class text,
    ADD COLUMN site           text,
    ADD COLUMN scanner_model  text,
    ADD COLUMN laterality     text,
    ADD COLUMN received_at    timestamptz;
UPDATE worklist_entry AS entry
SET state = CASE WHEN study.state IN ('queued', 'running') THEN 'waiting' ELSE study.state::text END,
    priority = study.priority, worklist_class = study.worklist_class, site = study.site,
    scanner_model = study.scanner_model, laterality = study.laterality, received_at = study.received_at
FROM study WHERE study.id = entry.study_id;
ALTER TABLE worklist_entry
    ALTER COLUMN state SET NOT NULL,
    ALTER COLUMN priority SET NOT NULL,
    ALTER COLUMN received_at SET NOT NULL;
"""
INDEXES = """
CREATE INDEX ix_worklist_entry_class
    ON worklist_entry (policy_id, is_read, worklist_class, place_order, arrived_at, study_id);
CREATE INDEX ix_worklist_entry_state
    ON worklist_entry (policy_id, is_read, state, place_order, arrived_at, study_id) WHERE state <> 'done';
CREATE INDEX ix_worklist_entry_priority
    ON worklist_entry (policy_id, is_read, priority, place_order, arrived_at, study_id);
CREATE INDEX ix_worklist_entry_site
    ON worklist_entry (policy_id, is_read, site, place_order, arrived_at, study_id);
CREATE INDEX ix_worklist_entry_scanner
    ON worklist_entry (policy_id, is_read, scanner_model, place_order, arrived_at, study_id) INCLUDE (site);
CREATE INDEX ix_worklist_entry_laterality ON worklist_entry (policy_id, is_read, laterality);
CREATE INDEX ix_worklist_entry_received_at ON worklist_entry (policy_id, received_at);
CREATE INDEX ix_study_number_begins ON study (lower(accession_number) text_pattern_ops);
CREATE INDEX ix_study_number_ends ON study (reverse(lower(accession_number)) text_pattern_ops);
CREATE INDEX ix_lesion_lesion_id ON lesion (lesion_id);
"""
BACK = """
DROP INDEX ix_lesion_lesion_id, ix_study_number_ends, ix_study_number_begins;
ALTER TABLE worklist_entry
    DROP COLUMN state,
    DROP COLUMN priority,
    DROP COLUMN worklist_class,
    DROP COLUMN site,
    DROP COLUMN scanner_model,
    DROP COLUMN laterality,
    DROP COLUMN received_at;
"""
# As those of the other histories: not even a session that plays a replica gets around it.
ALWAYS = "ALTER TABLE reading_order_switch ENABLE ALWAYS TRIGGER append_only"
GRANTS = """
REVOKE ALL ON worklist_place FROM PUBLIC;
GRANT SELECT ON worklist_place TO dlr_web;
"""
GRANTS_NEW = """
REVOKE ALL ON worklist_backwards FROM PUBLIC;
GRANT SELECT ON worklist_backwards TO dlr_web;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(INDEXES)
    op.execute(ALWAYS)
    op.execute("DROP VIEW worklist_place")
    for view in ("worklist_place", "worklist_backwards"):
        op.execute(view_of(revision, view))
    op.execute(GRANTS)
    op.execute(GRANTS_NEW)


def downgrade() -> None:
    op.execute("DROP VIEW worklist_place, worklist_backwards")
    op.execute(view_of("0013", "worklist_place"))
    op.execute(GRANTS)
    op.execute(BACK)
