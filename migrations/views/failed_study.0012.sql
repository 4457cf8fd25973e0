CREATE OR REPLACE VIEW failed_study WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    coalesce(study.study_instance_uid, study.named_study_uid) AS study_instance_uid,
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
    study.finished_at,
    study.study_instance_uid IS NULL AS refused
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

COMMENT ON COLUMN failed_study.study_instance_uid IS
    'DICOM Study Instance UID (0020,000D); of a refused message, where it names a valid one';
COMMENT ON COLUMN failed_study.accession_number IS
    'As the sender gave it; may be null, and is where a refused message has none that is valid';
COMMENT ON COLUMN failed_study.refused IS
    'The message could not be a study, and is not on the worklist: it is handed in again, and can not be queued again';
