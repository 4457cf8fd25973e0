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
    summary.notice,
    summary.uncertain
FROM (
    SELECT
        row_number() OVER (ORDER BY worklist_order, received_at, id) AS position,
        id, study_instance_uid, accession_number, revision, priority, worklist_class, worklist_order, state,
        malignant_probability, error_code, error_reason, received_at, finished_at
    FROM study
    WHERE is_current AND state IN ('done', 'partial', 'failed')
        AND study_instance_uid IS NOT NULL AND (discarded_at IS NULL OR state <> 'failed')
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
        string_agg(DISTINCT result.notice, '; ') AS notice,
        count(*) FILTER (WHERE result.uncertain)::integer AS uncertain
    FROM lesion_result AS result
    WHERE result.study_id = ended.id
) AS summary
ORDER BY ended.worklist_order, ended.received_at, ended.id;

COMMENT ON VIEW worklist IS 'Who is read first: one row for each current study that has ended; in reading order';
COMMENT ON COLUMN worklist.position IS 'Place in reading order, from 1';
COMMENT ON COLUMN worklist.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN worklist.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN worklist.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN worklist.revision IS 'Version of the study''s content, from 1; only the latest is listed';
COMMENT ON COLUMN worklist.priority IS 'The sender''s: stat, urgent or routine (sorts in this order)';
COMMENT ON COLUMN worklist.worklist_class IS
    'upgraded (at least one lesion), needs_attention (failed or partial), maintained, not_applicable, downgraded (all)';
COMMENT ON COLUMN worklist.state IS 'done (every lesion scored), partial (some) or failed (none)';
COMMENT ON COLUMN worklist.lesions IS 'Number of lesions in the study';
COMMENT ON COLUMN worklist.lesions_scored IS 'Number of lesions that both models scored';
COMMENT ON COLUMN worklist.highest_birads IS
    'Highest BI-RADS category that the radiologist gave: 0, 1, 2, 3, 4A, 4B, 4C, 5, 6 in this order';
COMMENT ON COLUMN worklist.upgraded IS 'Number of 4A lesions with the advice to upgrade above 4A';
COMMENT ON COLUMN worklist.maintained IS 'Number of 4A lesions with the advice to keep 4A';
COMMENT ON COLUMN worklist.not_applicable IS 'Number of scored lesions that are not 4A, which keep their category';
COMMENT ON COLUMN worklist.downgraded IS 'Number of 4A lesions with the advice to downgrade to 3';
COMMENT ON COLUMN worklist.malignant_probability IS 'Highest malignant probability (DLR_BM) of its lesions, 0 to 1';
COMMENT ON COLUMN worklist.high_risk_probability IS 'Highest high-risk probability (DLR_LH) of its lesions, 0 to 1';
COMMENT ON COLUMN worklist.error_code IS 'Why the study failed; null when it did not';
COMMENT ON COLUMN worklist.error_reason IS 'The same, as a sentence';
COMMENT ON COLUMN worklist.received_at IS 'When this revision arrived';
COMMENT ON COLUMN worklist.finished_at IS 'When its result was written';
COMMENT ON COLUMN worklist.notice IS
    'Notices of the models behind the scores, such as: demo, synthetic, not for clinical use';
COMMENT ON COLUMN worklist.uncertain IS
    'Lesions among the maintained that stay in 4A because a model is not certain; 0 where no card asks';
