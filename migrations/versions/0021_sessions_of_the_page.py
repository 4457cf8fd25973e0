"""Who has signed in to the page is known to all of its processes."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND)


def upgrade() -> None:
    op.execute("""
        CREATE TABLE web_session (
            id       text NOT NULL,
            name     text NOT NULL,
            role     text NOT NULL,
            mark     text,
            began_at timestamptz NOT NULL DEFAULT now(),
            seen_at  timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_web_session PRIMARY KEY (id)
        );
        CREATE INDEX ix_web_session_seen_at ON web_session (seen_at);
        COMMENT ON TABLE web_session IS
            'Who has signed in to the worklist page; a session that ended is removed';
        REVOKE ALL ON web_session FROM PUBLIC;
        GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON web_session TO dlr_web;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE web_session")
