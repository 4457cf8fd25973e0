"""The outbox of results, and a notification on the channel ``dlr_study`` whenever the worklist changes."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("study",))

ENUMERATIONS = {
    "destination": "'pacs', 'ups', 'webhook'",
    "delivery_state": "'waiting', 'sent', 'failed', 'obsolete'",
}

OUTBOX = """
CREATE TABLE delivery (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    destination      destination NOT NULL,
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
    CONSTRAINT pk_delivery PRIMARY KEY (id),
    CONSTRAINT fk_delivery_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT uq_delivery_event_id_destination UNIQUE (event_id, destination),
    CONSTRAINT ck_delivery_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_delivery_sent_says_when CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT ck_delivery_failed_says_why CHECK (state <> 'failed' OR error_code IS NOT NULL)
);
CREATE INDEX ix_delivery_due ON delivery (destination, next_at, id) WHERE state = 'waiting';
CREATE INDEX ix_delivery_failed ON delivery (destination, id) WHERE state = 'failed';
CREATE INDEX ix_delivery_study_id ON delivery (study_id);
COMMENT ON TABLE delivery IS
    'The outbox: one result of a study (the event with which it ended) for one destination';

CREATE TABLE outbox (
    destination destination NOT NULL,
    seen        bigint NOT NULL,
    ahead       bigint NOT NULL,
    ahead_xid   bigint NOT NULL,
    looked_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_outbox PRIMARY KEY (destination),
    CONSTRAINT ck_outbox_seen_is_behind CHECK (seen <= ahead)
);
COMMENT ON TABLE outbox IS
    'For each destination: up to which event of the history every result has its delivery';

REVOKE ALL ON delivery, outbox FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON delivery, outbox TO dlr_writer;
"""

# A trigger for each row, whose WHEN is looked at without a call: claims and leases, the most of all updates, cost
# nothing. One message a study and transaction: PostgreSQL sends equal ones once.
NOTIFY = """
CREATE FUNCTION study_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dlr_study', format('{"study_id": "%s", "state": "%s"}', NEW.id, NEW.state));
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION study_notify() FROM PUBLIC;
CREATE TRIGGER notify_refused AFTER INSERT ON study
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION study_notify();
CREATE TRIGGER notify_changed AFTER UPDATE ON study
    FOR EACH ROW WHEN (
        (OLD.finished_at, OLD.worklist_order, OLD.is_current, OLD.discarded_at, OLD.purged_at)
        IS DISTINCT FROM (NEW.finished_at, NEW.worklist_order, NEW.is_current, NEW.discarded_at, NEW.purged_at)
    ) EXECUTE FUNCTION study_notify();
"""


def upgrade() -> None:
    for name, words in ENUMERATIONS.items():
        op.execute(f"CREATE TYPE {name} AS ENUM ({words})")
    op.execute(OUTBOX)
    op.execute(NOTIFY)


def downgrade() -> None:
    op.execute("DROP TRIGGER notify_changed ON study; DROP TRIGGER notify_refused ON study")
    op.execute("DROP FUNCTION study_notify()")
    op.execute("DROP TABLE delivery, outbox")
    for name in reversed(ENUMERATIONS):
        op.execute(f"DROP TYPE {name}")
