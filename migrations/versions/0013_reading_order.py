"""The reading order is a policy: each listed study has a place under it, from its arrival on.

The policy that becomes active is ``suspicion/2``, frozen in `migrations.policies`. Where studies are on record,
`dlr db upgrade` computes their places afterwards (`worker.scoring.reading_policy`): no rule is repeated here in SQL.
"""

import tomllib
from hashlib import sha256
from importlib.resources import files
from math import prod

import sqlalchemy as sa
from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
impact = Impact(
    Kind.CONTRACT,
    locks=("lesion", "study"),
    workers_go_on=False,
    grows_with="three constraints are looked up in each study, an index is made, and studies get their lesions' site",
)

POLICY = "suspicion-2.0013.toml"
# What worker.clinical.reading_order.place made of it: each tier is sorted by priority first.
TIER_SIZE = 33_000_000_066
SIZES = {"category": 11, "probability": 1_000_000_002}

TYPES = """
CREATE TYPE laterality AS ENUM ('left', 'right', 'both');
CREATE TYPE policy_state AS ENUM ('building', 'active', 'retired');
"""
TABLES = """
CREATE TABLE reading_order_policy (
    id         integer GENERATED ALWAYS AS IDENTITY,
    label      text NOT NULL,
    document   text NOT NULL,
    digest     varchar(64) NOT NULL,
    before_all text[] NOT NULL,
    state      policy_state NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    filled_at  timestamptz,
    placed_at  timestamptz,
    CONSTRAINT pk_reading_order_policy PRIMARY KEY (id),
    CONSTRAINT ck_reading_order_policy_digest CHECK (digest ~ '^[0-9a-f]{64}$')
);
CREATE UNIQUE INDEX uq_reading_order_policy_active ON reading_order_policy (state) WHERE state = 'active';
CREATE UNIQUE INDEX uq_reading_order_policy_building ON reading_order_policy (state) WHERE state = 'building';
COMMENT ON TABLE reading_order_policy IS
    'Policies of reading order, each time one was applied; the active one says where a study stands';

CREATE TABLE reading_order_rule (
    policy_id  integer NOT NULL,
    rule       smallint NOT NULL,
    tier       smallint NOT NULL,
    tier_name  text NOT NULL,
    tier_title text NOT NULL,
    reason     text NOT NULL,
    step_priority text NOT NULL,
    CONSTRAINT pk_reading_order_rule PRIMARY KEY (policy_id, rule),
    CONSTRAINT fk_reading_order_rule_policy_id FOREIGN KEY (policy_id) REFERENCES reading_order_policy (id),
    CONSTRAINT ck_reading_order_rule_step_priority CHECK (step_priority IN ('HIGH', 'MEDIUM', 'LOW')),
    CONSTRAINT ck_reading_order_rule_counts_from_one CHECK (rule >= 1 AND tier >= 1)
);
COMMENT ON TABLE reading_order_rule IS
    'Each policy''s rules, from 1 in the order of its document, and the tier that each leads to';

CREATE TABLE reading_order_range (
    policy_id   integer NOT NULL,
    tier        smallint NOT NULL,
    priority    text NOT NULL,
    first_place bigint NOT NULL,
    next_place  bigint NOT NULL,
    CONSTRAINT pk_reading_order_range PRIMARY KEY (policy_id, tier, priority),
    CONSTRAINT fk_reading_order_range_policy_id FOREIGN KEY (policy_id) REFERENCES reading_order_policy (id),
    CONSTRAINT ck_reading_order_range_is_not_empty CHECK (first_place < next_place)
);
COMMENT ON TABLE reading_order_range IS
    'Where the studies of each tier and priority stand: the order of reading is an index of both';

CREATE TABLE reading_order_switch (
    id     bigint GENERATED ALWAYS AS IDENTITY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor  text NOT NULL DEFAULT SESSION_USER,
    by     text NOT NULL,
    before text NOT NULL,
    after  text NOT NULL,
    CONSTRAINT pk_reading_order_switch PRIMARY KEY (id)
);
COMMENT ON TABLE reading_order_switch IS 'Append-only history of the active policy of reading order';
CREATE FUNCTION reading_order_switch_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reading_order_switch is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
REVOKE ALL ON FUNCTION reading_order_switch_is_append_only() FROM PUBLIC;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reading_order_switch
    FOR EACH STATEMENT EXECUTE FUNCTION reading_order_switch_is_append_only();

CREATE TABLE worklist_entry (
    study_id    uuid NOT NULL,
    policy_id   integer NOT NULL,
    tier        smallint NOT NULL,
    rule        smallint NOT NULL,
    lesion      smallint,
    category    text,
    probability double precision,
    place_order bigint NOT NULL,
    arrived_at  timestamptz NOT NULL,
    is_read     boolean NOT NULL,
    marks       text[] NOT NULL DEFAULT '{}'::text[],
    changed_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_worklist_entry PRIMARY KEY (study_id, policy_id),
    CONSTRAINT ck_worklist_entry_probability CHECK (probability BETWEEN 0 AND 1)
) PARTITION BY LIST (policy_id);
CREATE INDEX ix_worklist_entry_place ON worklist_entry (policy_id, is_read, place_order, arrived_at, study_id);
CREATE INDEX ix_worklist_entry_changed_at ON worklist_entry (policy_id, changed_at);
COMMENT ON TABLE worklist_entry IS
    'Where each listed study stands, one row a policy that is active or being built; each policy has its partition';

CREATE TABLE reading_order_changed (
    policy_id integer NOT NULL,
    study_id  uuid NOT NULL,
    CONSTRAINT pk_reading_order_changed PRIMARY KEY (policy_id, study_id),
    CONSTRAINT fk_reading_order_changed_policy_id FOREIGN KEY (policy_id) REFERENCES reading_order_policy (id),
    CONSTRAINT fk_reading_order_changed_study_id FOREIGN KEY (study_id) REFERENCES study (id)
);
COMMENT ON TABLE reading_order_changed IS
    'Studies that changed while a policy''s partition is being filled; they are placed under it when that is done';
"""
# A partition is the owner's to make, and who applies a policy is not the owner. It is filled without indexes, which
# would take hours for millions of studies, and gets them when it is attached. Places have no foreign keys: one would
# hold the studies locked while a partition is attached.
PARTITIONS = """
CREATE FUNCTION worklist_entry_make(policy integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM reading_order_policy WHERE id = policy AND state = 'building' AND filled_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE worklist_entry_%s '
        '(LIKE worklist_entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CHECK (policy_id = %s))', policy, policy
    );
    EXECUTE format('REVOKE ALL ON worklist_entry_%s FROM PUBLIC', policy);
    EXECUTE format('GRANT INSERT ON worklist_entry_%s TO dlr_writer', policy);
    RETURN true;
END
$$;
CREATE FUNCTION worklist_entry_attach(policy integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET maintenance_work_mem = '256MB' AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE worklist_entry ATTACH PARTITION worklist_entry_%s FOR VALUES IN (%s)', policy, policy
    );
    EXECUTE format('REVOKE ALL ON worklist_entry_%s FROM dlr_writer', policy);
    ANALYZE worklist_entry;
END
$$;
CREATE FUNCTION worklist_entry_drop() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    policy integer;
BEGIN
    FOR policy IN
        SELECT id FROM reading_order_policy
        WHERE state = 'retired' AND to_regclass('worklist_entry_' || id) IS NOT NULL
    LOOP
        EXECUTE format('DROP TABLE worklist_entry_%s', policy);
    END LOOP;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;
"""
FUNCTIONS = ("worklist_entry_make(integer)", "worklist_entry_attach(integer)", "worklist_entry_drop()")
COLUMNS = """
ALTER TABLE lesion ADD COLUMN laterality laterality;
ALTER TABLE study
    ADD COLUMN site text,
    ADD COLUMN scanner_model text,
    ADD COLUMN laterality laterality,
    ADD COLUMN study_date date,
    ADD COLUMN read_at timestamptz,
    ADD COLUMN read_by text,
    ADD COLUMN read_tier text,
    DROP CONSTRAINT ck_study_ended_has_a_place,
    DROP CONSTRAINT ck_study_purged_has_no_identifiers,
    ADD CONSTRAINT ck_study_ended_has_a_class CHECK (
        (state IN ('done', 'partial', 'failed')) = (finished_at IS NOT NULL AND worklist_class IS NOT NULL)
    ),
    ADD CONSTRAINT ck_study_read CHECK (
        num_nonnulls(read_at, read_tier) IN (0, 2) AND (read_by IS NULL OR read_at IS NOT NULL)
    ),
    ADD CONSTRAINT ck_study_purged_has_no_identifiers CHECK (
        purged_at IS NULL
        OR num_nonnulls(
            study_instance_uid, named_study_uid, accession_number, error_reason, discard_reason, site, study_date
        ) = 0 AND job = '{}'
    );
UPDATE study SET site = first.site, scanner_model = first.scanner_model
FROM (
    SELECT DISTINCT ON (study_id) study_id, site, scanner_model FROM lesion
    WHERE site IS NOT NULL OR scanner_model IS NOT NULL ORDER BY study_id, ordinal
) AS first
WHERE first.study_id = study.id AND study.purged_at IS NULL;
"""
# The order of a class, a priority and a probability was one number, which is worked out here for the step down.
ORDER = """
UPDATE study SET worklist_order =
    (array_position(enum_range(NULL::worklist_class), worklist_class)::bigint * 10
        + array_position(enum_range(NULL::priority), priority) - 1) * 10000000000
    + coalesce(1 + round((1 - malignant_probability) * 1000000000)::bigint, 0)
WHERE worklist_class IS NOT NULL;
"""
NO_ORDER = """
DROP TRIGGER notify_changed ON study;
ALTER TABLE study DROP COLUMN worklist_order;
CREATE TRIGGER notify_changed AFTER UPDATE ON study
    FOR EACH ROW WHEN (
        (OLD.finished_at, OLD.is_current, OLD.discarded_at, OLD.purged_at)
        IS DISTINCT FROM (NEW.finished_at, NEW.is_current, NEW.discarded_at, NEW.purged_at)
        OR NEW.finished_at IS NOT NULL AND OLD.priority IS DISTINCT FROM NEW.priority
    ) EXECUTE FUNCTION study_notify();
CREATE INDEX ix_study_failed ON study (worklist_class, priority, received_at)
    WHERE is_current AND state IN ('partial', 'failed') AND discarded_at IS NULL AND purged_at IS NULL;
"""
BACK = """
DROP TRIGGER notify_changed ON study;
DROP INDEX ix_study_failed;
ALTER TABLE lesion DROP COLUMN laterality;
ALTER TABLE study
    DROP CONSTRAINT ck_study_ended_has_a_class,
    DROP CONSTRAINT ck_study_read,
    DROP CONSTRAINT ck_study_purged_has_no_identifiers,
    DROP COLUMN site,
    DROP COLUMN scanner_model,
    DROP COLUMN laterality,
    DROP COLUMN study_date,
    DROP COLUMN read_at,
    DROP COLUMN read_by,
    DROP COLUMN read_tier,
    ADD CONSTRAINT ck_study_ended_has_a_place CHECK (
        (state IN ('done', 'partial', 'failed'))
        = (finished_at IS NOT NULL AND worklist_class IS NOT NULL AND worklist_order IS NOT NULL)
    ),
    ADD CONSTRAINT ck_study_purged_has_no_identifiers CHECK (
        purged_at IS NULL
        OR num_nonnulls(study_instance_uid, named_study_uid, accession_number, error_reason, discard_reason) = 0
            AND job = '{}'
    );
CREATE INDEX ix_study_worklist ON study (worklist_order, received_at, id)
    WHERE is_current AND state IN ('done', 'partial', 'failed');
CREATE INDEX ix_study_failed ON study (worklist_order, received_at, id)
    WHERE is_current AND state IN ('partial', 'failed') AND discarded_at IS NULL AND purged_at IS NULL;
CREATE TRIGGER notify_changed AFTER UPDATE ON study
    FOR EACH ROW WHEN (
        (OLD.finished_at, OLD.worklist_order, OLD.is_current, OLD.discarded_at, OLD.purged_at)
        IS DISTINCT FROM (NEW.finished_at, NEW.worklist_order, NEW.is_current, NEW.discarded_at, NEW.purged_at)
    ) EXECUTE FUNCTION study_notify();
"""
GRANTS = """
REVOKE ALL ON reading_order_policy, reading_order_rule, reading_order_range, reading_order_switch,
    reading_order_changed, worklist_entry FROM PUBLIC;
REVOKE ALL ON worklist_place, worklist_position, worklist_range, listed_study, reading_order_tier FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON reading_order_policy TO dlr_writer;
GRANT SELECT, INSERT ON reading_order_rule, reading_order_range, reading_order_switch TO dlr_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON worklist_entry TO dlr_writer;
GRANT SELECT, INSERT, DELETE ON reading_order_changed TO dlr_writer;
GRANT SELECT ON worklist_place, worklist_position, worklist_range, listed_study TO dlr_web;
GRANT SELECT ON listed_study TO dlr_writer;
GRANT SELECT ON reading_order_tier TO dlr_writer, dlr_reader, dlr_web;
"""
REPLACED = ("lesion_result", "worklist", "failed_study", "worklist_state")
NEW = ("worklist_place", "worklist_position", "worklist_range", "listed_study", "reading_order_tier")
BEFORE = (
    *(("0001", view) for view in ("lesion_result", "worklist", "restratification_summary", "failed_study")),
    *(("0005", "lesion_result"), ("0003", "worklist"), ("0011", "lesion_result"), ("0011", "worklist")),
    *(("0012", view) for view in ("lesion_result", "failed_study", "worklist")),
)
GRANTS_BEFORE = """
REVOKE ALL ON worklist, lesion_result, restratification_summary, failed_study FROM PUBLIC;
REVOKE ALL ON worklist_place, worklist_state FROM PUBLIC;
GRANT SELECT ON worklist, lesion_result, restratification_summary, failed_study TO dlr_writer, dlr_reader, dlr_web;
GRANT SELECT ON worklist_place, worklist_state TO dlr_web;
"""
TABLE_NAMES = (
    "worklist_entry", "reading_order_changed", "reading_order_switch", "reading_order_range", "reading_order_rule",
    "reading_order_policy",
)  # fmt: skip


def _policy() -> None:
    """Make ``suspicion/2`` the active policy; it has placed every study where there is none."""
    document = files("migrations.policies").joinpath(POLICY).read_text(encoding="utf-8")
    policy = tomllib.loads(document)
    connection = op.get_bind()
    key = connection.scalar(
        sa.text(
            "INSERT INTO reading_order_policy (label, document, digest, before_all, state, filled_at, placed_at) "
            "VALUES (:label, :document, :digest, :before_all, 'active', now(), "
            "(SELECT now() WHERE NOT EXISTS (SELECT FROM study))) RETURNING id"
        ),
        {
            "label": f"{policy['name']}/{policy['version']}",
            "document": document,
            "digest": sha256(document.encode()).hexdigest(),
            "before_all": policy["before_all"],
        },
    )
    rules = [(number, tier, rule) for number, tier in enumerate(policy["tier"], start=1) for rule in tier["rule"]]
    connection.execute(
        sa.text("INSERT INTO reading_order_rule VALUES (:policy, :rule, :tier, :name, :title, :reason, :step)"),
        [
            {
                "policy": key,
                "rule": place,
                "tier": number,
                "name": tier["name"],
                "title": tier["title"],
                "reason": rule["reason"],
                "step": tier["step_priority"],
            }
            for place, (number, tier, rule) in enumerate(rules, start=1)
        ],
    )
    ranges = [
        (number, priority, (len(policy["tier"]) * (priority != "stat") + number) * TIER_SIZE + place * size, size)
        for number, tier in enumerate(policy["tier"], start=1)
        for size in [prod(SIZES.get(name, 1) for name in tier["order"])]
        for place, priority in enumerate(("stat", "urgent", "routine"))
    ]
    connection.execute(
        sa.text("INSERT INTO reading_order_range VALUES (:policy, :tier, :priority, :first, :first + :size)"),
        [
            {"policy": key, "tier": tier, "priority": priority, "first": first, "size": size}
            for tier, priority, first, size in ranges
        ],
    )
    op.execute(f"CREATE TABLE worklist_entry_{key} PARTITION OF worklist_entry FOR VALUES IN ({key})")
    op.execute(f"REVOKE ALL ON worklist_entry_{key} FROM PUBLIC")


def upgrade() -> None:
    for statements in (TYPES, TABLES, PARTITIONS, COLUMNS):
        op.execute(statements)
    _policy()
    op.execute("DROP VIEW worklist_place")
    for view in (*REPLACED, *NEW):
        op.execute(view_of(revision, view))
    op.execute(NO_ORDER)
    op.execute(GRANTS)
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO dlr_writer")


def downgrade() -> None:
    op.execute("ALTER TABLE study ADD COLUMN worklist_order bigint")
    op.execute(ORDER)
    for view in (*reversed(NEW), "worklist_state", "worklist"):
        op.execute(f"DROP VIEW {view}")
    for view in ("restratification_summary", "failed_study", "lesion_result"):
        op.execute(f"DROP VIEW {view}")
    for earlier, view in BEFORE:
        op.execute(view_of(earlier, view))
    for earlier in ("0007", "0012"):
        for view in ("worklist_place", "worklist_state"):
            op.execute(view_of(earlier, view))
    op.execute(BACK)
    op.execute(GRANTS_BEFORE)
    for table in TABLE_NAMES:
        op.execute(f"DROP TABLE {table}")
    for function in (*FUNCTIONS, "reading_order_switch_is_append_only()"):
        op.execute(f"DROP FUNCTION {function}")
    for name in ("policy_state", "laterality"):
        op.execute(f"DROP TYPE {name}")
