CREATE OR REPLACE VIEW lesion_result WITH (security_barrier = true) AS
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
    END AS notice,
    lesion.gate,
    lesion.width_mm,
    lesion.height_mm,
    lesion.aspect_ratio,
    lesion.scanner_model,
    lesion.site,
    advice.uncertain,
    lh.conformal_set AS lh_conformal_set,
    bm.conformal_set AS bm_conformal_set
FROM study
JOIN lesion ON lesion.study_id = study.id
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
WHERE study.is_current;

COMMENT ON COLUMN lesion_result.uncertain IS
    'Kept in 4A because a model is not certain: its conformal set is not the class alone that it predicted; null without scores';
COMMENT ON COLUMN lesion_result.lh_conformal_set IS
    'Classes that DLR_LH can not rule out at the coverage on its card: {}, one or both; null where the card does not ask';
COMMENT ON COLUMN lesion_result.bm_conformal_set IS 'Classes that DLR_BM can not rule out, as lh_conformal_set';
