"""Who opened which study is on record, for good."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",))


def upgrade() -> None:
    op.execute("""
        CREATE TABLE study_access (
            id       bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            at       timestamptz NOT NULL DEFAULT clock_timestamp(),
            study_id uuid NOT NULL,
            reader   text NOT NULL,
            role     text NOT NULL,
            address  text,
            CONSTRAINT pk_study_access PRIMARY KEY (id),
            CONSTRAINT fk_study_access_study_id FOREIGN KEY (study_id) REFERENCES study (id)
        );
        CREATE INDEX ix_study_access_study_id ON study_access (study_id, id);
        CREATE INDEX ix_study_access_at ON study_access (at);
        COMMENT ON TABLE study_access IS
            'Who opened which study, and when; a trigger refuses UPDATE, DELETE and TRUNCATE';
        CREATE FUNCTION study_access_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'study_access is append-only' USING ERRCODE = 'insufficient_privilege';
        END
        $$;
        REVOKE ALL ON FUNCTION study_access_is_append_only() FROM PUBLIC;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON study_access
            FOR EACH STATEMENT EXECUTE FUNCTION study_access_is_append_only();
        ALTER TABLE study_access ENABLE ALWAYS TRIGGER append_only;
        REVOKE ALL ON study_access FROM PUBLIC;
        GRANT SELECT ON study_access TO dlr_writer;
        GRANT INSERT (study_id, reader, role, address) ON study_access TO dlr_web;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE study_access")
    op.execute("DROP FUNCTION study_access_is_append_only()")
