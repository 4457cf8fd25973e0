"""What radiologists say: readings and verdicts, append-only and refused once outdated; and who has a study open."""

from alembic import op

from db.schema.impact import Impact, Kind
from migrations.views import view_of

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND, locks=("lesion", "restratification", "study"))

VIEWS = ("lesion_verdict", "study_verdict", "lesion_advice")

TABLES = """
CREATE TABLE reading (
    id          uuid NOT NULL,
    study_id    uuid NOT NULL,
    reader      text,
    read_at     timestamptz NOT NULL DEFAULT now(),
    source      text NOT NULL,
    tier        text NOT NULL,
    advice      bigint[] NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_reading PRIMARY KEY (id),
    CONSTRAINT fk_reading_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT ck_reading_source CHECK (source IN ('page', 'import'))
);
CREATE INDEX ix_reading_study_id ON reading (study_id);
COMMENT ON TABLE reading IS
    'Who read which revision of a study and when, and what advice was shown; rows are only added';

CREATE TABLE verdict (
    id                  bigint GENERATED ALWAYS AS IDENTITY,
    reading_id          uuid NOT NULL,
    lesion_id           bigint NOT NULL,
    restratification_id bigint,
    agrees              boolean,
    final_birads        text NOT NULL,
    remark              text,
    CONSTRAINT pk_verdict PRIMARY KEY (id),
    CONSTRAINT fk_verdict_reading_id FOREIGN KEY (reading_id) REFERENCES reading (id),
    CONSTRAINT fk_verdict_lesion_id FOREIGN KEY (lesion_id) REFERENCES lesion (id),
    CONSTRAINT fk_verdict_restratification_id FOREIGN KEY (restratification_id) REFERENCES restratification (id),
    CONSTRAINT uq_verdict_reading_id_lesion_id UNIQUE (reading_id, lesion_id),
    CONSTRAINT ck_verdict_final_birads
        CHECK (final_birads IN ('0', '1', '2', '3', '4', '4A', '4B', '4C', '5', '6')),
    CONSTRAINT ck_verdict_remark CHECK (char_length(remark) BETWEEN 1 AND 500),
    CONSTRAINT ck_verdict_agrees_with_advice CHECK (agrees IS NULL OR restratification_id IS NOT NULL)
);
CREATE INDEX ix_verdict_lesion_id ON verdict (lesion_id);
COMMENT ON TABLE verdict IS
    'A radiologist''s verdict on each lesion; a correction is a row more, of a later reading';

CREATE TABLE open_study (
    study_id uuid NOT NULL,
    reader   text NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_open_study PRIMARY KEY (study_id, reader),
    CONSTRAINT fk_open_study_study_id FOREIGN KEY (study_id) REFERENCES study (id)
);
COMMENT ON TABLE open_study IS 'Who has which study open on the page now';
"""

# Whoever writes gives neither the tier nor the time of recording, and the page not the time of reading either.
# The study is held first, so that of two readings, and of a reading and a result, the second sees the first.
READING = """
CREATE FUNCTION reading_is_taken() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    current_advice bigint[];
BEGIN
    PERFORM FROM study WHERE id = NEW.study_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM reading WHERE id = NEW.id) THEN
        RAISE EXCEPTION 'this reading is on record' USING ERRCODE = 'unique_violation';
    END IF;
    SELECT policy.label || ' ' || rule.tier_name INTO NEW.tier
    FROM worklist_entry AS entry
    JOIN reading_order_policy AS policy ON policy.id = entry.policy_id AND policy.state = 'active'
    JOIN reading_order_rule AS rule ON rule.policy_id = entry.policy_id AND rule.rule = entry.rule
    WHERE entry.study_id = NEW.study_id;
    SELECT coalesce(array_agg(shown.id ORDER BY shown.id), '{}') INTO current_advice
    FROM lesion JOIN restratification AS shown ON shown.lesion_id = lesion.id AND shown.is_current
    WHERE lesion.study_id = NEW.study_id;
    NEW.advice := ARRAY(SELECT DISTINCT shown FROM unnest(NEW.advice) AS shown ORDER BY shown);
    IF NEW.tier IS NULL OR NEW.advice <> current_advice THEN
        RAISE EXCEPTION 'the study is no longer what was shown' USING ERRCODE = 'DR409';
    END IF;
    NEW.recorded_at := now();
    IF NEW.source = 'page' OR NEW.read_at > now() THEN
        NEW.read_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION reading_marks_study() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    -- The lock of who places studies: no policy begins to be built between this and the end of the transaction.
    PERFORM pg_advisory_xact_lock_shared(x'706C61636573'::bigint);
    INSERT INTO reading_order_changed
    SELECT id, NEW.study_id FROM reading_order_policy WHERE state = 'building' AND filled_at IS NULL
    ON CONFLICT DO NOTHING;
    UPDATE study SET read_at = NEW.read_at, read_by = NEW.reader, read_tier = NEW.tier
    WHERE id = NEW.study_id AND (read_at IS NULL OR read_at <= NEW.read_at);
    UPDATE worklist_entry SET is_read = true, changed_at = now() WHERE study_id = NEW.study_id AND NOT is_read;
    INSERT INTO study_event (study_id, event, detail)
    VALUES (NEW.study_id, 'read', jsonb_build_object('source', NEW.source, 'tier', NEW.tier));
    RETURN NULL;
END
$$;
CREATE FUNCTION verdict_is_taken() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    of_reading reading;
BEGIN
    SELECT reading.* INTO of_reading
    FROM reading JOIN lesion ON lesion.study_id = reading.study_id
    WHERE reading.id = NEW.reading_id AND lesion.id = NEW.lesion_id AND reading.recorded_at = now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a verdict belongs to its reading, and is written with it' USING ERRCODE = 'check_violation';
    END IF;
    SELECT shown.id INTO NEW.restratification_id
    FROM restratification AS shown WHERE shown.lesion_id = NEW.lesion_id AND shown.id = ANY (of_reading.advice);
    IF NEW.agrees IS NOT NULL AND NOT EXISTS (
        SELECT FROM restratification WHERE id = NEW.restratification_id AND outcome <> 'not_applicable'
    ) THEN
        RAISE EXCEPTION 'there was no advice to agree with' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER taken BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION reading_is_taken();
CREATE TRIGGER marks_study AFTER INSERT ON reading FOR EACH ROW EXECUTE FUNCTION reading_marks_study();
CREATE TRIGGER taken BEFORE INSERT ON verdict FOR EACH ROW EXECUTE FUNCTION verdict_is_taken();
ALTER TABLE reading ENABLE ALWAYS TRIGGER taken, ENABLE ALWAYS TRIGGER marks_study;
ALTER TABLE verdict ENABLE ALWAYS TRIGGER taken;
"""

# A purge empties what could name a person, once the study is purged: nothing else changes.
APPEND_ONLY = """
CREATE FUNCTION reading_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.reader IS NULL
            AND to_jsonb(NEW) - 'reader' = to_jsonb(OLD) - 'reader'
            AND EXISTS (SELECT FROM public.study WHERE id = OLD.study_id AND purged_at IS NOT NULL)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'reading is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE FUNCTION verdict_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.remark IS NULL
            AND to_jsonb(NEW) - 'remark' = to_jsonb(OLD) - 'remark'
            AND EXISTS (
                SELECT FROM public.study JOIN public.lesion ON lesion.study_id = study.id
                WHERE lesion.id = OLD.lesion_id AND study.purged_at IS NOT NULL)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'verdict is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE ON reading FOR EACH ROW EXECUTE FUNCTION reading_is_append_only();
CREATE TRIGGER append_only BEFORE UPDATE ON verdict FOR EACH ROW EXECUTE FUNCTION verdict_is_append_only();
CREATE TRIGGER nothing_goes BEFORE DELETE OR TRUNCATE ON reading
    FOR EACH STATEMENT EXECUTE FUNCTION reading_is_append_only();
CREATE TRIGGER nothing_goes BEFORE DELETE OR TRUNCATE ON verdict
    FOR EACH STATEMENT EXECUTE FUNCTION verdict_is_append_only();
ALTER TABLE reading ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER nothing_goes;
ALTER TABLE verdict ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER nothing_goes;
"""

FUNCTIONS = (
    "reading_is_taken",
    "reading_marks_study",
    "verdict_is_taken",
    "reading_is_append_only",
    "verdict_is_append_only",
)

GRANTS = """
REVOKE ALL ON reading, verdict, open_study, lesion_verdict, study_verdict, lesion_advice FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE (reader) ON reading TO dlr_writer;
GRANT SELECT, INSERT, UPDATE (remark) ON verdict TO dlr_writer;
GRANT INSERT (id, study_id, reader, source, advice) ON reading TO dlr_web;
GRANT INSERT (reading_id, lesion_id, agrees, final_birads, remark) ON verdict TO dlr_web;
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON open_study TO dlr_web;
GRANT SELECT ON lesion_verdict TO dlr_writer, dlr_reader, dlr_web;
GRANT SELECT ON study_verdict, lesion_advice TO dlr_web;
"""


# A reading changes the list, so it is told as every other change is.
TOLD = """
CREATE TRIGGER notify_read AFTER UPDATE ON study
    FOR EACH ROW WHEN (OLD.read_at IS DISTINCT FROM NEW.read_at) EXECUTE FUNCTION study_notify();
"""

# lesion_result loses its last column only by being made anew, and with it what is made of it.
REMADE = (
    ("0013", "lesion_result"), ("0001", "restratification_summary"), ("0013", "worklist"), ("0013", "listed_study"),
)  # fmt: skip
GRANTS_BEFORE = """
REVOKE ALL ON lesion_result, restratification_summary, worklist, listed_study FROM PUBLIC;
GRANT SELECT ON lesion_result, restratification_summary, worklist TO dlr_writer, dlr_reader, dlr_web;
GRANT SELECT ON listed_study TO dlr_web, dlr_writer;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(READING)
    op.execute(APPEND_ONLY)
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
    for view in VIEWS:
        op.execute(view_of(revision, view))
    op.execute(view_of(revision, "lesion_result"))
    op.execute(TOLD)
    op.execute(GRANTS)


def downgrade() -> None:
    op.execute("DROP TRIGGER notify_read ON study")
    for view in reversed((*(view for _, view in REMADE), *VIEWS)):
        op.execute(f"DROP VIEW {view}")
    for earlier, view in REMADE:
        op.execute(view_of(earlier, view))
    op.execute(GRANTS_BEFORE)
    op.execute("DROP TABLE open_study, verdict, reading")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}()")
