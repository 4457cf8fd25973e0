CREATE VIEW pathology_result WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    lesion.lesion_id,
    lesion.ordinal,
    lesion.birads AS original,
    advice.outcome,
    advice.recommended,
    advice.rule_version,
    pathology.result,
    pathology.histology,
    pathology.reported_on,
    pathology.recorded_at,
    lh.positive_probability AS high_risk_probability,
    lh.threshold AS lh_threshold,
    bm.positive_probability AS malignant_probability,
    bm.threshold AS bm_threshold,
    lh_model.version AS lh_version,
    bm_model.version AS bm_version,
    advice.created_at AS scored_at,
    CASE
        WHEN lh_model.notice = bm_model.notice THEN nullif(lh_model.notice, '')
        ELSE nullif(concat_ws('; ', nullif(lh_model.notice, ''), nullif(bm_model.notice, '')), '')
    END AS notice
FROM pathology
JOIN lesion ON lesion.id = pathology.lesion_id
JOIN study ON study.id = lesion.study_id
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
WHERE pathology.is_current AND study.is_current;

COMMENT ON VIEW pathology_result IS
    'One row for each lesion of a current study that pathology reported on, beside the advice and its scores';
COMMENT ON COLUMN pathology_result.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN pathology_result.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN pathology_result.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN pathology_result.lesion_id IS 'The sender''s name of the lesion, unique in the study';
COMMENT ON COLUMN pathology_result.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN pathology_result.original IS 'BI-RADS category that the radiologist gave';
COMMENT ON COLUMN pathology_result.outcome IS
    'Advice on a 4A lesion: upgraded, maintained or downgraded; not_applicable for any other category; null: no scores';
COMMENT ON COLUMN pathology_result.recommended IS 'Advised category; >4A is above 4A; null: no scores';
COMMENT ON COLUMN pathology_result.rule_version IS 'Version of the re-stratification rule';
COMMENT ON COLUMN pathology_result.result IS 'What pathology said: benign or malignant';
COMMENT ON COLUMN pathology_result.histology IS 'Pathology''s code, as it was imported; may be null';
COMMENT ON COLUMN pathology_result.reported_on IS 'Day of pathology''s report; null once the study was purged';
COMMENT ON COLUMN pathology_result.recorded_at IS 'When this result was imported';
COMMENT ON COLUMN pathology_result.high_risk_probability IS 'DLR_LH, 0 to 1';
COMMENT ON COLUMN pathology_result.lh_threshold IS 'High risk from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN pathology_result.malignant_probability IS 'DLR_BM, 0 to 1';
COMMENT ON COLUMN pathology_result.bm_threshold IS 'Malignant from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN pathology_result.lh_version IS 'Version of DLR_LH';
COMMENT ON COLUMN pathology_result.bm_version IS 'Version of DLR_BM';
COMMENT ON COLUMN pathology_result.scored_at IS 'When the advice was first written';
COMMENT ON COLUMN pathology_result.notice IS
    'Notices of the two models, such as: demo, synthetic, not for clinical use';
