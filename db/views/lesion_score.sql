-- All scores of a lesion beside each other. What advises is in lesion_result; nothing of a shadow is.
CREATE VIEW lesion_score WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    lesion.lesion_id,
    lesion.ordinal,
    lesion.birads AS original,
    model.name AS model,
    model.version,
    score.positive_probability AS probability,
    score.predicted_class AS class,
    score.threshold,
    advice.id IS NOT NULL AS in_service,
    score.created_at AS scored_at,
    nullif(model.notice, '') AS notice,
    score.conformal_set
FROM study
JOIN lesion ON lesion.study_id = study.id
JOIN prediction AS score ON score.lesion_id = lesion.id
JOIN model ON model.id = score.model_id
LEFT JOIN restratification AS advice
    ON advice.lesion_id = lesion.id AND advice.is_current
    AND score.id IN (advice.lh_prediction_id, advice.bm_prediction_id)
WHERE study.is_current;

COMMENT ON VIEW lesion_score IS
    'One row for each lesion of a current study and each version of each model that scored it, shadows and backfills too';
COMMENT ON COLUMN lesion_score.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_score.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN lesion_score.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN lesion_score.lesion_id IS 'The sender''s name of the lesion; with study_id as in lesion_result';
COMMENT ON COLUMN lesion_score.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_score.original IS 'The radiologist''s BI-RADS category';
COMMENT ON COLUMN lesion_score.model IS 'DLR_LH or DLR_BM';
COMMENT ON COLUMN lesion_score.version IS 'The model owner''s, as in model_card';
COMMENT ON COLUMN lesion_score.probability IS 'Of high risk (DLR_LH) or malignant (DLR_BM), 0 to 1';
COMMENT ON COLUMN lesion_score.class IS 'low risk or high risk; benign or malignant: what the probability says at the threshold';
COMMENT ON COLUMN lesion_score.threshold IS 'From which probability on the class was high risk or malignant, 0 to 1';
COMMENT ON COLUMN lesion_score.in_service IS
    'The current recommendation in lesion_result rests on this score; false for a shadow''s, a backfill''s and an earlier one';
COMMENT ON COLUMN lesion_score.scored_at IS 'When it was scored';
COMMENT ON COLUMN lesion_score.notice IS 'The version''s, such as: demo, synthetic, not for clinical use; null where it needs none';
COMMENT ON COLUMN lesion_score.conformal_set IS
    'The classes that this version can not rule out for the lesion; null where its card does not ask';
