"""The ledger: enumerations, tables, the append-only history, the four views and each role's rights.

A view's SQL is in ``migrations/views``, frozen: a migration that changes a view adds a file of its own, named
``<view>.<revision>.sql``.
"""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND)

VIEWS = ("lesion_result", "worklist", "restratification_summary", "failed_study")
TABLES = ("study", "lesion", "model", "prediction", "restratification", "study_event")

ENUMERATIONS = {
    "priority": "'stat', 'urgent', 'routine'",
    "study_state": "'queued', 'running', 'done', 'partial', 'failed'",
    "worklist_class": "'upgraded', 'needs_attention', 'maintained', 'not_applicable', 'downgraded'",
    "lesion_state": "'waiting', 'scored', 'failed'",
    "birads": "'0', '1', '2', '3', '4A', '4B', '4C', '5', '6'",
    "recommendation": "'0', '1', '2', '3', '4A', '>4A', '4B', '4C', '5', '6'",
    "outcome": "'upgraded', 'maintained', 'not_applicable', 'downgraded'",
    "age_source": "'job', 'patient_age', 'birth_date'",
    "region_source": "'job', 'ultrasound_region', 'whole_image'",
}

STUDY = """
CREATE TABLE study (
    id                    uuid NOT NULL DEFAULT gen_random_uuid(),
    study_instance_uid    text,
    revision              integer NOT NULL DEFAULT 1,
    is_current            boolean NOT NULL DEFAULT true,
    content_digest        varchar(64) NOT NULL,
    accession_number      text,
    priority              priority NOT NULL DEFAULT 'routine',
    job                   jsonb NOT NULL,
    source                text NOT NULL,
    state                 study_state NOT NULL DEFAULT 'queued',
    attempts              integer NOT NULL DEFAULT 0,
    claims                integer NOT NULL DEFAULT 0,
    claimed_at            timestamptz,
    error_code            text,
    error_reason          text,
    worklist_class        worklist_class,
    worklist_order        bigint,
    malignant_probability double precision,
    received_at           timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    finished_at           timestamptz,
    updated_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_study PRIMARY KEY (id),
    CONSTRAINT uq_study_study_instance_uid_revision UNIQUE (study_instance_uid, revision),
    CONSTRAINT ck_study_content_digest CHECK (content_digest ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_study_counts CHECK (revision >= 1 AND attempts >= 0 AND claims >= attempts),
    CONSTRAINT ck_study_malignant_probability CHECK (malignant_probability BETWEEN 0 AND 1),
    CONSTRAINT ck_study_refused_is_failed CHECK (study_instance_uid IS NOT NULL OR state = 'failed'),
    CONSTRAINT ck_study_failed_says_why CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT ck_study_ended_has_a_place CHECK (
        (state IN ('done', 'partial', 'failed'))
        = (finished_at IS NOT NULL AND worklist_class IS NOT NULL AND worklist_order IS NOT NULL)
    )
);
CREATE UNIQUE INDEX uq_study_current ON study (study_instance_uid) WHERE is_current;
CREATE UNIQUE INDEX uq_study_refused ON study (content_digest) WHERE study_instance_uid IS NULL;
CREATE INDEX ix_study_worklist ON study (worklist_order, received_at, id)
    WHERE is_current AND state IN ('done', 'partial', 'failed');
CREATE INDEX ix_study_queue ON study (priority, received_at) WHERE is_current AND state IN ('queued', 'running');
CREATE INDEX ix_study_accession_number ON study (accession_number);
COMMENT ON TABLE study IS 'One revision of a study, or one refused message (study_instance_uid is null)';
"""

LESION = """
CREATE TABLE lesion (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    study_id         uuid NOT NULL,
    lesion_id        text NOT NULL,
    ordinal          integer NOT NULL,
    sop_instance_uid text NOT NULL,
    frame            integer,
    roi_x            integer,
    roi_y            integer,
    roi_width        integer,
    roi_height       integer,
    birads           birads NOT NULL,
    descriptors      jsonb NOT NULL DEFAULT '{}',
    state            lesion_state NOT NULL DEFAULT 'waiting',
    error_code       text,
    error_reason     text,
    age_years        double precision,
    age_source       age_source,
    region_x         integer,
    region_y         integer,
    region_width     integer,
    region_height    integer,
    region_source    region_source,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_lesion PRIMARY KEY (id),
    CONSTRAINT fk_lesion_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT uq_lesion_study_id_lesion_id UNIQUE (study_id, lesion_id),
    CONSTRAINT uq_lesion_study_id_ordinal UNIQUE (study_id, ordinal),
    CONSTRAINT ck_lesion_counts_from_one CHECK (ordinal >= 1 AND frame >= 1),
    CONSTRAINT ck_lesion_roi_is_whole CHECK (num_nonnulls(roi_x, roi_y, roi_width, roi_height) IN (0, 4)),
    CONSTRAINT ck_lesion_region_is_whole CHECK (
        num_nonnulls(region_x, region_y, region_width, region_height, region_source) IN (0, 5)
    ),
    CONSTRAINT ck_lesion_age CHECK (age_years BETWEEN 0 AND 120 AND (age_years IS NULL) = (age_source IS NULL)),
    CONSTRAINT ck_lesion_failed_says_why CHECK ((state = 'failed') = (error_code IS NOT NULL))
);
COMMENT ON TABLE lesion IS 'One lesion of one revision of a study, as the sender marked it, and how far it came';
"""

RESULTS = """
CREATE TABLE model (
    id             integer GENERATED ALWAYS AS IDENTITY,
    name           text NOT NULL,
    version        text NOT NULL,
    weights_sha256 varchar(64) NOT NULL,
    notice         text,
    card           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_model PRIMARY KEY (id),
    CONSTRAINT uq_model_name_version UNIQUE (name, version),
    CONSTRAINT ck_model_weights_sha256 CHECK (weights_sha256 ~ '^[0-9a-f]{64}$')
);
COMMENT ON TABLE model IS 'One version of a model; its notice goes with each of its results';

CREATE TABLE prediction (
    id                   bigint GENERATED ALWAYS AS IDENTITY,
    lesion_id            bigint NOT NULL,
    model_id             integer NOT NULL,
    probabilities        jsonb NOT NULL,
    positive_probability double precision NOT NULL,
    predicted_class      text NOT NULL,
    positive             boolean NOT NULL,
    threshold            double precision NOT NULL,
    created_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_prediction PRIMARY KEY (id),
    CONSTRAINT fk_prediction_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id),
    CONSTRAINT fk_prediction_model_id FOREIGN KEY (model_id) REFERENCES model (id),
    CONSTRAINT uq_prediction_lesion_id_model_id UNIQUE (lesion_id, model_id),
    CONSTRAINT uq_prediction_id_lesion_id UNIQUE (id, lesion_id),
    CONSTRAINT ck_prediction_probability CHECK (positive_probability BETWEEN 0 AND 1 AND threshold BETWEEN 0 AND 1)
);
CREATE INDEX ix_prediction_model_id ON prediction (model_id);
COMMENT ON TABLE prediction IS
    'What one version of a model said about one lesion; a newer version adds rows and erases none';

CREATE TABLE restratification (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    lesion_id        bigint NOT NULL,
    lh_prediction_id bigint NOT NULL,
    bm_prediction_id bigint NOT NULL,
    rule_version     text NOT NULL,
    outcome          outcome NOT NULL,
    original         birads NOT NULL,
    recommended      recommendation NOT NULL,
    is_current       boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_restratification PRIMARY KEY (id),
    CONSTRAINT uq_restratification_natural UNIQUE (lesion_id, lh_prediction_id, bm_prediction_id, rule_version),
    CONSTRAINT fk_restratification_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id),
    CONSTRAINT fk_restratification_lh_prediction_id FOREIGN KEY (lh_prediction_id, lesion_id)
        REFERENCES prediction (id, lesion_id),
    CONSTRAINT fk_restratification_bm_prediction_id FOREIGN KEY (bm_prediction_id, lesion_id)
        REFERENCES prediction (id, lesion_id),
    CONSTRAINT ck_restratification_two_models CHECK (lh_prediction_id <> bm_prediction_id)
);
CREATE UNIQUE INDEX uq_restratification_current ON restratification (lesion_id) WHERE is_current;
COMMENT ON TABLE restratification IS
    'The recommendation for one lesion from one pair of predictions; the latest is current';
"""

HISTORY = """
CREATE TABLE study_event (
    id       bigint GENERATED ALWAYS AS IDENTITY,
    study_id uuid NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor    text NOT NULL DEFAULT SESSION_USER,
    event    text NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT pk_study_event PRIMARY KEY (id),
    CONSTRAINT fk_study_event_study_id FOREIGN KEY (study_id) REFERENCES study (id)
);
CREATE INDEX ix_study_event_study_id ON study_event (study_id, id);
COMMENT ON TABLE study_event IS
    'Append-only history of each study; a trigger refuses UPDATE, DELETE and TRUNCATE';

CREATE FUNCTION study_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'study_event is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
REVOKE ALL ON FUNCTION study_event_is_append_only() FROM PUBLIC;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON study_event
    FOR EACH STATEMENT EXECUTE FUNCTION study_event_is_append_only();
"""

GRANTS = """
REVOKE ALL ON study, lesion, model, prediction, restratification, study_event, alembic_version FROM PUBLIC;
REVOKE ALL ON worklist, lesion_result, restratification_summary, failed_study FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON study, lesion, model, prediction, restratification TO dlr_writer;
GRANT SELECT, INSERT ON study_event TO dlr_writer;
GRANT SELECT ON alembic_version TO dlr_writer;
GRANT SELECT ON worklist, lesion_result, restratification_summary, failed_study TO dlr_writer, dlr_reader;
"""


def upgrade() -> None:
    for name, words in ENUMERATIONS.items():
        op.execute(f"CREATE TYPE {name} AS ENUM ({words})")
    for tables in (STUDY, LESION, RESULTS, HISTORY):
        op.execute(tables)
    for view in VIEWS:
        op.execute(view_of(revision, view))
    op.execute(GRANTS)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION study_event_is_append_only()")
    for name in reversed(ENUMERATIONS):
        op.execute(f"DROP TYPE {name}")
