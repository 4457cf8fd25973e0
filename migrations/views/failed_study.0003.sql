CREATE OR REPLACE VIEW failed_study WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    study.priority,
    study.state,
    study.error_code,
    study.error_reason,
    study.source,
    study.attempts,
    summary.lesions,
    summary.lesions_failed,
    summary.lesion_errors,
    study.received_at,
    study.finished_at
FROM study
CROSS JOIN LATERAL (
    SELECT
        count(*)::integer AS lesions,
        count(*) FILTER (WHERE lesion.state = 'failed')::integer AS lesions_failed,
        string_agg(lesion.lesion_id || ': ' || lesion.error_code, '; ' ORDER BY lesion.ordinal)
            FILTER (WHERE lesion.state = 'failed') AS lesion_errors
    FROM lesion
    WHERE lesion.study_id = study.id
) AS summary
WHERE study.is_current AND study.state IN ('partial', 'failed')
    AND study.discarded_at IS NULL AND study.purged_at IS NULL
ORDER BY study.worklist_order, study.received_at, study.id;
