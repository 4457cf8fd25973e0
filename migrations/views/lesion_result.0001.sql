CREATE VIEW lesion_result WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    lesion.lesion_id,
    lesion.ordinal,
    lesion.sop_instance_uid,
    lesion.frame,
    lesion.state,
    lesion.birads AS original,
    advice.outcome,
    advice.recommended,
    advice.rule_version,
    1 - lh.positive_probability AS low_risk_probability,
    lh.positive_probability AS high_risk_probability,
    lh.predicted_class AS lh_class,
    lh.threshold AS lh_threshold,
    1 - bm.positive_probability AS benign_probability,
    bm.positive_probability AS malignant_probability,
    bm.predicted_class AS bm_class,
    bm.threshold AS bm_threshold,
    lesion.age_years,
    lesion.age_source,
    lesion.region_x,
    lesion.region_y,
    lesion.region_width,
    lesion.region_height,
    lesion.region_source,
    lesion.error_code,
    lesion.error_reason,
    lh_model.version AS lh_version,
    lh_model.weights_sha256 AS lh_sha256,
    bm_model.version AS bm_version,
    bm_model.weights_sha256 AS bm_sha256,
    advice.created_at AS scored_at,
    CASE
        WHEN lh_model.notice = bm_model.notice THEN nullif(lh_model.notice, '')
        ELSE nullif(concat_ws('; ', nullif(lh_model.notice, ''), nullif(bm_model.notice, '')), '')
    END AS notice
FROM study
JOIN lesion ON lesion.study_id = study.id
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
WHERE study.is_current;

COMMENT ON VIEW lesion_result IS
    'One row for each lesion of each current study: its scores, the advice, and what they rest on. Never a diagnosis';
COMMENT ON COLUMN lesion_result.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_result.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN lesion_result.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN lesion_result.lesion_id IS 'The sender''s name of the lesion, unique in the study';
COMMENT ON COLUMN lesion_result.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_result.sop_instance_uid IS 'DICOM SOP Instance UID (0008,0018) of the lesion''s image';
COMMENT ON COLUMN lesion_result.frame IS 'Frame of the image, from 1; null means its only frame';
COMMENT ON COLUMN lesion_result.state IS 'waiting, scored or failed';
COMMENT ON COLUMN lesion_result.original IS 'BI-RADS category that the radiologist gave';
COMMENT ON COLUMN lesion_result.outcome IS
    'Advice on a 4A lesion: upgraded, maintained or downgraded; not_applicable for any other category; null: no scores';
COMMENT ON COLUMN lesion_result.recommended IS
    'Advised category; >4A is above 4A, the study names none. The same as original where nothing changes';
COMMENT ON COLUMN lesion_result.rule_version IS 'Version of the re-stratification rule';
COMMENT ON COLUMN lesion_result.low_risk_probability IS 'DLR_LH, 0 to 1; 1 less the high-risk probability';
COMMENT ON COLUMN lesion_result.high_risk_probability IS 'DLR_LH, 0 to 1';
COMMENT ON COLUMN lesion_result.lh_class IS 'Class that DLR_LH predicts at its threshold';
COMMENT ON COLUMN lesion_result.lh_threshold IS 'High risk from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN lesion_result.benign_probability IS 'DLR_BM, 0 to 1; 1 less the malignant probability';
COMMENT ON COLUMN lesion_result.malignant_probability IS 'DLR_BM, 0 to 1';
COMMENT ON COLUMN lesion_result.bm_class IS 'Class that DLR_BM predicts at its threshold';
COMMENT ON COLUMN lesion_result.bm_threshold IS 'Malignant from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN lesion_result.age_years IS 'Age that the models were given, years at the study, 0 to 120';
COMMENT ON COLUMN lesion_result.age_source IS
    'job, patient_age (0010,1010), or birth_date (study date less Patient''s Birth Date)';
COMMENT ON COLUMN lesion_result.region_x IS 'Left edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN lesion_result.region_y IS 'Top edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN lesion_result.region_width IS 'Width of the region that was scored, pixels';
COMMENT ON COLUMN lesion_result.region_height IS 'Height of the region that was scored, pixels';
COMMENT ON COLUMN lesion_result.region_source IS
    'job (the radiologist''s ROI), ultrasound_region (the B-mode region in the header) or whole_image';
COMMENT ON COLUMN lesion_result.error_code IS 'Why the lesion has no scores; null when it has';
COMMENT ON COLUMN lesion_result.error_reason IS 'The same, as a sentence';
COMMENT ON COLUMN lesion_result.lh_version IS 'Version of DLR_LH';
COMMENT ON COLUMN lesion_result.lh_sha256 IS 'SHA-256 of DLR_LH''s weights, hexadecimal';
COMMENT ON COLUMN lesion_result.bm_version IS 'Version of DLR_BM';
COMMENT ON COLUMN lesion_result.bm_sha256 IS 'SHA-256 of DLR_BM''s weights, hexadecimal';
COMMENT ON COLUMN lesion_result.scored_at IS 'When the advice was first written';
COMMENT ON COLUMN lesion_result.notice IS
    'Notices of the two models, such as: demo, synthetic, not for clinical use';
