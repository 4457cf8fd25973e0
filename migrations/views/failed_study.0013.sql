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
ORDER BY study.worklist_class, study.priority, study.received_at, study.id;

COMMENT ON VIEW failed_study IS
    'Studies without a full result, and refused messages: what a person has to look at and why; in reading order';
COMMENT ON COLUMN failed_study.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN failed_study.study_instance_uid IS
    'DICOM Study Instance UID (0020,000D); of a refused message, where it names a valid one';
COMMENT ON COLUMN failed_study.accession_number IS
    'As the sender gave it; may be null, and is where a refused message has none that is valid';
COMMENT ON COLUMN failed_study.priority IS 'The sender''s: stat, urgent or routine';
COMMENT ON COLUMN failed_study.state IS 'partial (some lesions scored) or failed (none)';
COMMENT ON COLUMN failed_study.error_code IS 'Why the study failed; null where single lesions did';
COMMENT ON COLUMN failed_study.error_reason IS 'The same, as a sentence';
COMMENT ON COLUMN failed_study.source IS 'How the study arrived: queue, submit, ...';
COMMENT ON COLUMN failed_study.attempts IS 'How often work on it was started since it was last queued by a person';
COMMENT ON COLUMN failed_study.lesions IS 'Number of lesions in the study; 0 for a refused message';
COMMENT ON COLUMN failed_study.lesions_failed IS 'Number of lesions without scores';
COMMENT ON COLUMN failed_study.lesion_errors IS 'Each lesion without scores and its code: "L1: age_missing; L2: ..."';
COMMENT ON COLUMN failed_study.received_at IS 'When this revision, or the message, first arrived';
COMMENT ON COLUMN failed_study.finished_at IS 'When it ended';
COMMENT ON COLUMN failed_study.refused IS
    'The message could not be a study, and is not on the worklist: it is handed in again, and can not be queued again';
