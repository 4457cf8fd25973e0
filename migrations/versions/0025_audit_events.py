"""What an audit asks about, and which of it a collector has."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",))


def upgrade() -> None:
    op.execute("""
        CREATE TABLE audit_event (
            id       bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            at       timestamptz NOT NULL DEFAULT clock_timestamp(),
            event    text NOT NULL,
            actor    text NOT NULL,
            role     text,
            address  text,
            study_id uuid,
            detail   text,
            sent_at  timestamptz,
            CONSTRAINT pk_audit_event PRIMARY KEY (id),
            CONSTRAINT fk_audit_event_study_id FOREIGN KEY (study_id) REFERENCES study (id)
        );
        CREATE INDEX ix_audit_event_at ON audit_event (at);
        CREATE INDEX ix_audit_event_not_sent ON audit_event (id) WHERE sent_at IS NULL;
        COMMENT ON TABLE audit_event IS
            'Who did what to which study, and when a collector of audit messages was sent it';
        REVOKE ALL ON audit_event FROM PUBLIC;
        GRANT SELECT, INSERT, DELETE, UPDATE (sent_at) ON audit_event TO dlr_writer;
        GRANT INSERT (event, actor, role, address, study_id, detail) ON audit_event TO dlr_web;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE audit_event")
