"""Results go to destinations of any name, and no longer to three words alone.

An enumeration cannot have a word that a site makes up, and `delivery` may have too many rows to be written anew: other
names have tables of their own, whose deliveries are counted on by the same sequence. The software of the release before
goes on with its three.
"""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("delivery", "study"))

NAMED = """
CREATE TABLE named_delivery (
    id               bigint NOT NULL DEFAULT nextval('delivery_id_seq'),
    destination      text NOT NULL,
    study_id         uuid NOT NULL,
    event_id         bigint NOT NULL,
    state            delivery_state NOT NULL DEFAULT 'waiting',
    attempts         integer NOT NULL DEFAULT 0,
    next_at          timestamptz NOT NULL DEFAULT now(),
    error_code       text,
    error_reason     text,
    sop_instance_uid text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    sent_at          timestamptz,
    deferrals        integer NOT NULL DEFAULT 0,
    CONSTRAINT pk_named_delivery PRIMARY KEY (id),
    CONSTRAINT fk_named_delivery_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT uq_named_delivery_event_id_destination UNIQUE (event_id, destination),
    CONSTRAINT ck_named_delivery_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_named_delivery_sent_says_when CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT ck_named_delivery_failed_says_why CHECK (state <> 'failed' OR error_code IS NOT NULL)
);
CREATE INDEX ix_named_delivery_due ON named_delivery (destination, next_at, id) WHERE state = 'waiting';
CREATE INDEX ix_named_delivery_failed ON named_delivery (destination, id) WHERE state = 'failed';
CREATE INDEX ix_named_delivery_study_id ON named_delivery (study_id);
COMMENT ON TABLE named_delivery IS 'The outbox, for destinations that a file names (DLR_SEND_DESTINATIONS)';

CREATE TABLE named_outbox (
    destination text NOT NULL,
    seen        bigint NOT NULL,
    ahead       bigint NOT NULL,
    ahead_xid   bigint NOT NULL,
    looked_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_named_outbox PRIMARY KEY (destination),
    CONSTRAINT ck_named_outbox_seen_is_behind CHECK (seen <= ahead)
);
COMMENT ON TABLE named_outbox IS 'The same for destinations that a file names (DLR_SEND_DESTINATIONS)';
REVOKE ALL ON named_delivery, named_outbox FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON named_delivery, named_outbox TO dlr_writer;
GRANT USAGE ON SEQUENCE delivery_id_seq TO dlr_writer;
"""


def upgrade() -> None:
    op.execute("ALTER TABLE delivery ADD COLUMN deferrals integer NOT NULL DEFAULT 0")
    op.execute(NAMED)


def downgrade() -> None:
    op.execute("REVOKE USAGE ON SEQUENCE delivery_id_seq FROM dlr_writer")
    op.execute("DROP TABLE named_delivery, named_outbox")
    op.execute("ALTER TABLE delivery DROP COLUMN deferrals")
