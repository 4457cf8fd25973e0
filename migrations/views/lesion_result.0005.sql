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
    lesion.site
FROM study
JOIN lesion ON lesion.study_id = study.id
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
WHERE study.is_current;

COMMENT ON COLUMN lesion_result.gate IS
    'What speaks against the region that was scored, such as doppler_in_roi; {} where nothing was found';
COMMENT ON COLUMN lesion_result.width_mm IS
    'Width of the radiologist''s ROI in mm; null without an ROI, or where the file does not say how large a pixel is';
COMMENT ON COLUMN lesion_result.height_mm IS 'Height (depth) of the radiologist''s ROI in mm; null as for width_mm';
COMMENT ON COLUMN lesion_result.aspect_ratio IS 'height_mm / width_mm; above 1 is taller than wide';
COMMENT ON COLUMN lesion_result.scanner_model IS
    'Manufacturer (0008,0070) and Manufacturer''s Model Name (0008,1090) of the image';
COMMENT ON COLUMN lesion_result.site IS
    'Institution Name (0008,0080) of the image, else its Station Name (0008,1010); null once purged';
