-- What a reporting tool sees, for psql, as a superuser or as dlr_owner who may create a role: the schema bi, whose views
-- have no identifiers of patients and no names of staff, times of the site's time zone, and words in place of
-- enumerations; and the role dlr_bi, which may read them and nothing else.
--     psql -d DATABASE -v zone=Europe/Berlin -f deploy/postgres/bi.sql
-- Safe to run again, for another time zone or after `dlr db upgrade`. Before a step down: DROP SCHEMA bi CASCADE.
\set ON_ERROR_STOP on
BEGIN;

SELECT 'CREATE ROLE dlr_bi NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dlr_bi')
\gexec
CREATE SCHEMA IF NOT EXISTS bi AUTHORIZATION dlr_owner;
SET LOCAL ROLE dlr_owner;
DROP VIEW IF EXISTS bi.study, bi.lesion, bi.verdict;

CREATE VIEW bi.study AS
SELECT
    study_id,
    received_at,
    received_at AT TIME ZONE :'zone' AS received,
    finished_at AT TIME ZONE :'zone' AS finished,
    read_at AT TIME ZONE :'zone' AS read,
    (extract(epoch FROM finished_at - received_at) / 60)::double precision AS minutes_to_result,
    (extract(epoch FROM read_at - received_at) / 60)::double precision AS minutes_to_reading,
    priority::text,
    state::text,
    worklist_class::text,
    tier,
    tier_title,
    tier_number,
    is_read,
    highest_birads::text,
    lesions,
    lesions_scored,
    upgraded,
    maintained,
    not_applicable,
    downgraded,
    uncertain,
    malignant_probability,
    high_risk_probability,
    error_code,
    source,
    site,
    scanner_model,
    laterality::text,
    notice,
    policy
FROM public.study_result;

CREATE VIEW bi.lesion AS
SELECT
    study_id,
    ordinal,
    received_at,
    received_at AT TIME ZONE :'zone' AS received,
    state::text,
    original::text,
    outcome::text,
    recommended::text,
    verdict,
    rule_version,
    high_risk_probability,
    malignant_probability,
    uncertain,
    array_to_string(gate, ', ') AS gate,
    width_mm,
    height_mm,
    aspect_ratio,
    error_code,
    lh_version,
    bm_version,
    priority::text,
    tier,
    source,
    site,
    scanner_model,
    laterality::text,
    notice
FROM public.lesion_result;

CREATE VIEW bi.verdict AS
SELECT
    study_id,
    ordinal,
    read_at,
    read_at AT TIME ZONE :'zone' AS read,
    original::text,
    outcome::text,
    recommended::text,
    agrees,
    final_birads,
    rule_version,
    lh_version,
    bm_version,
    source,
    tier,
    site,
    scanner_model,
    notice
FROM public.lesion_verdict;

DO $$
DECLARE
    said record;
BEGIN
    FOR said IN
        SELECT mine.attrelid::regclass AS view, mine.attname AS name,
            coalesce(other.words, col_description(theirs.attrelid, theirs.attnum)) AS words
        FROM (VALUES ('bi.study', 'study_result'), ('bi.lesion', 'lesion_result'),
            ('bi.verdict', 'lesion_verdict')) AS of (view, source)
        JOIN pg_attribute AS mine ON mine.attrelid = of.view::regclass AND mine.attnum > 0
        LEFT JOIN pg_attribute AS theirs ON theirs.attrelid = of.source::regclass AND theirs.attname = mine.attname
        LEFT JOIN (VALUES
            ('gate', 'What speaks against the region that was scored, such as doppler_in_roi; empty where nothing was found'),
            ('received', 'received_at in the site''s time zone, to group by'),
            ('finished', 'When its result was written, in the site''s time zone; null while it waits'),
            ('read', 'When it was marked as read, in the site''s time zone; null: it is to be read'),
            ('minutes_to_result', 'From its arrival to its result, minutes'),
            ('minutes_to_reading', 'From its arrival to its reading, minutes')
        ) AS other (name, words) ON other.name = mine.attname
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', said.view, said.name, said.words);
    END LOOP;
END
$$;
COMMENT ON SCHEMA bi IS 'dlr-worker for reporting tools: no identifiers, the site''s time zone; by deploy/postgres/bi.sql';
COMMENT ON VIEW bi.study IS 'The worklist without identifiers: one row for each current study, read or not';
COMMENT ON VIEW bi.lesion IS 'Results without identifiers: one row for each lesion of each current study';
COMMENT ON VIEW bi.verdict IS 'Verdicts without identifiers: one row for each lesion that has one, the latest';

GRANT USAGE ON SCHEMA bi TO dlr_bi;
GRANT SELECT ON ALL TABLES IN SCHEMA bi TO dlr_bi;
COMMIT;
