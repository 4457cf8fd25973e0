-- The rows of the view worklist for readers, without their positions, which cost a count of the whole list.
CREATE OR REPLACE VIEW study_result WITH (security_barrier = true) AS
SELECT
    study_id,
    study_instance_uid,
    accession_number,
    revision,
    priority,
    worklist_class,
    state,
    lesions,
    lesions_scored,
    highest_birads,
    upgraded,
    maintained,
    not_applicable,
    downgraded,
    malignant_probability,
    high_risk_probability,
    error_code,
    error_reason,
    received_at,
    finished_at,
    notice,
    uncertain,
    tier,
    tier_title,
    place_reason,
    marks,
    source,
    site,
    scanner_model,
    laterality,
    study_date,
    age_years,
    images,
    read_at,
    read_by,
    policy,
    tier_number,
    is_read
FROM listed_study;

COMMENT ON VIEW study_result IS
    'The rows of the view worklist without their positions, in no order: to look a study up, and for reports';
COMMENT ON COLUMN study_result.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN study_result.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN study_result.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN study_result.revision IS 'Version of the study''s content, from 1; only the latest is listed';
COMMENT ON COLUMN study_result.priority IS 'The sender''s: stat, urgent or routine (sorts in this order)';
COMMENT ON COLUMN study_result.worklist_class IS
    'What became of its 4A lesions, the order of outcome/1: upgraded (at least one lesion), needs_attention (failed or partial), maintained, not_applicable, downgraded (all); null while the study waits';
COMMENT ON COLUMN study_result.state IS
    'queued or running (it waits for its scores), done (every lesion scored), partial (some) or failed (none)';
COMMENT ON COLUMN study_result.lesions IS 'Number of lesions in the study';
COMMENT ON COLUMN study_result.lesions_scored IS 'Number of lesions that both models scored';
COMMENT ON COLUMN study_result.highest_birads IS
    'Highest BI-RADS category that the radiologist gave: 0, 1, 2, 3, 4 (without a letter), 4A, 4B, 4C, 5, 6 in this order';
COMMENT ON COLUMN study_result.upgraded IS 'Number of 4A lesions with the advice to upgrade above 4A';
COMMENT ON COLUMN study_result.maintained IS 'Number of 4A lesions with the advice to keep 4A';
COMMENT ON COLUMN study_result.not_applicable IS 'Number of scored lesions that are not 4A, which keep their category';
COMMENT ON COLUMN study_result.downgraded IS 'Number of 4A lesions with the advice to downgrade to 3';
COMMENT ON COLUMN study_result.malignant_probability IS 'Highest malignant probability (DLR_BM) of its lesions, 0 to 1';
COMMENT ON COLUMN study_result.high_risk_probability IS 'Highest high-risk probability (DLR_LH) of its lesions, 0 to 1';
COMMENT ON COLUMN study_result.error_code IS 'Why the study failed; null when it did not';
COMMENT ON COLUMN study_result.error_reason IS 'The same, as a sentence';
COMMENT ON COLUMN study_result.received_at IS 'When this revision arrived';
COMMENT ON COLUMN study_result.finished_at IS 'When its result was written; null while it waits';
COMMENT ON COLUMN study_result.notice IS
    'Notices of the models behind the scores, such as: demo, synthetic, not for clinical use';
COMMENT ON COLUMN study_result.uncertain IS
    'Lesions among the maintained that stay in 4A because a model is not certain; 0 where no card asks';
COMMENT ON COLUMN study_result.tier IS 'Tier of the reading order, as its policy names it, such as suspicious or low';
COMMENT ON COLUMN study_result.tier_title IS 'The same, for people';
COMMENT ON COLUMN study_result.place_reason IS 'Why the study stands in this tier, as a sentence';
COMMENT ON COLUMN study_result.marks IS
    'waiting (not scored yet), corrected or requeued (keeps the place of its last result until the new one is there), discordant (both models are high on a lesion of BI-RADS 1, 2 or 3); {} for most';
COMMENT ON COLUMN study_result.source IS 'How the study arrived: queue, submit, receive, ...';
COMMENT ON COLUMN study_result.site IS
    'Institution Name (0008,0080), else Station Name (0008,1010), of its first lesion''s image; null until it is scored, and once purged';
COMMENT ON COLUMN study_result.scanner_model IS
    'Manufacturer (0008,0070) and Manufacturer''s Model Name (0008,1090) of its first lesion''s image';
COMMENT ON COLUMN study_result.laterality IS
    'left, right or both, from Image Laterality (0020,0062) of its lesions'' images; null where no image says it';
COMMENT ON COLUMN study_result.study_date IS 'Study Date (0008,0020); null until it is scored, and once purged';
COMMENT ON COLUMN study_result.age_years IS 'Age that the models were given, years at the study, 0 to 120';
COMMENT ON COLUMN study_result.images IS 'Number of images (frames) on which its lesions are marked';
COMMENT ON COLUMN study_result.read_at IS 'When a radiologist marked it as read; null: it is to be read';
COMMENT ON COLUMN study_result.read_by IS 'Who did';
COMMENT ON COLUMN study_result.policy IS
    'Policy of reading order behind tier and place_reason, such as suspicion/2';
COMMENT ON COLUMN study_result.tier_number IS 'The tier''s place in its policy, from 1';
COMMENT ON COLUMN study_result.is_read IS 'It was read';
