-- The position is counted first and the lesions are looked up afterwards, so that LIMIT 50 reads 50 studies.
CREATE OR REPLACE VIEW worklist WITH (security_barrier = true) AS
SELECT
    ended.position,
    ended.id AS study_id,
    ended.study_instance_uid,
    ended.accession_number,
    ended.revision,
    ended.priority,
    ended.worklist_class,
    ended.state,
    summary.lesions,
    summary.lesions_scored,
    summary.highest_birads,
    summary.upgraded,
    summary.maintained,
    summary.not_applicable,
    summary.downgraded,
    ended.malignant_probability,
    summary.high_risk_probability,
    ended.error_code,
    ended.error_reason,
    ended.received_at,
    ended.finished_at,
    summary.notice
FROM (
    SELECT
        row_number() OVER (ORDER BY worklist_order, received_at, id) AS position,
        id, study_instance_uid, accession_number, revision, priority, worklist_class, worklist_order, state,
        malignant_probability, error_code, error_reason, received_at, finished_at
    FROM study
    WHERE is_current AND state IN ('done', 'partial', 'failed')
        AND purged_at IS NULL AND (discarded_at IS NULL OR state <> 'failed')
) AS ended
CROSS JOIN LATERAL (
    SELECT
        count(*)::integer AS lesions,
        count(*) FILTER (WHERE result.state = 'scored')::integer AS lesions_scored,
        max(result.original) AS highest_birads,
        count(*) FILTER (WHERE result.outcome = 'upgraded')::integer AS upgraded,
        count(*) FILTER (WHERE result.outcome = 'maintained')::integer AS maintained,
        count(*) FILTER (WHERE result.outcome = 'not_applicable')::integer AS not_applicable,
        count(*) FILTER (WHERE result.outcome = 'downgraded')::integer AS downgraded,
        max(result.high_risk_probability) AS high_risk_probability,
        string_agg(DISTINCT result.notice, '; ') AS notice
    FROM lesion_result AS result
    WHERE result.study_id = ended.id
) AS summary
ORDER BY ended.worklist_order, ended.received_at, ended.id;
