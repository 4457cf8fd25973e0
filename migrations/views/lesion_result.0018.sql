CREATE OR REPLACE VIEW lesion_result WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    lesion.lesion_id,
    lesion.ordinal,
    image.sop_instance_uid,
    image.frame,
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
    image.region_x,
    image.region_y,
    image.region_width,
    image.region_height,
    image.region_source,
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
    ARRAY(
        SELECT said.finding FROM marked_image AS other, unnest(other.gate) WITH ORDINALITY AS said (finding, place)
        WHERE other.lesion_id = lesion.id
        GROUP BY said.finding ORDER BY min(other.ordinal * 100 + said.place)
    ) AS gate,
    image.width_mm,
    image.height_mm,
    image.height_mm / image.width_mm AS aspect_ratio,
    lesion.scanner_model,
    lesion.site,
    advice.uncertain,
    lh.conformal_set AS lh_conformal_set,
    bm.conformal_set AS bm_conformal_set,
    study.received_at,
    study.priority,
    study.source,
    study.study_date,
    lesion.laterality,
    rule.tier_name AS tier,
    (
        SELECT verdict.final_birads FROM verdict JOIN reading ON reading.id = verdict.reading_id
        WHERE verdict.lesion_id = lesion.id
        ORDER BY reading.read_at DESC, reading.recorded_at DESC, reading.id DESC LIMIT 1
    ) AS verdict,
    marked.images,
    marked.images_refused,
    said.highest_high_risk - said.lowest_high_risk AS high_risk_spread,
    said.highest_malignant - said.lowest_malignant AS malignant_spread,
    (said.lowest_high_risk < lh.threshold AND said.highest_high_risk >= lh.threshold)
        OR (said.lowest_malignant < bm.threshold AND said.highest_malignant >= bm.threshold) AS views_disagree,
    lesion.clock_position,
    lesion.distance_to_nipple_mm,
    lesion.depth_mm,
    CASE WHEN lh.id IS NOT NULL THEN coalesce(lh_model.card ->> 'aggregation', 'mean') END AS lh_aggregation,
    CASE WHEN bm.id IS NOT NULL THEN coalesce(bm_model.card ->> 'aggregation', 'mean') END AS bm_aggregation
FROM study
JOIN lesion ON lesion.study_id = study.id
LEFT JOIN marked_image AS image ON image.lesion_id = lesion.id AND image.ordinal = 1
LEFT JOIN worklist_entry AS entry ON entry.study_id = study.id
    AND entry.policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active')
LEFT JOIN reading_order_rule AS rule ON rule.policy_id = entry.policy_id AND rule.rule = entry.rule
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
LEFT JOIN LATERAL (
    SELECT
        count(*)::integer AS images,
        count(*) FILTER (WHERE other.state = 'failed')::integer AS images_refused
    FROM marked_image AS other
    WHERE other.lesion_id = lesion.id
) AS marked ON true
LEFT JOIN LATERAL (
    SELECT
        min(of_image.positive_probability) FILTER (WHERE of_image.model_id = lh.model_id) AS lowest_high_risk,
        max(of_image.positive_probability) FILTER (WHERE of_image.model_id = lh.model_id) AS highest_high_risk,
        min(of_image.positive_probability) FILTER (WHERE of_image.model_id = bm.model_id) AS lowest_malignant,
        max(of_image.positive_probability) FILTER (WHERE of_image.model_id = bm.model_id) AS highest_malignant
    FROM marked_image AS other
    JOIN image_prediction AS of_image ON of_image.image_id = other.id
    WHERE other.lesion_id = lesion.id AND other.state = 'scored'
) AS said ON true
WHERE study.is_current;

COMMENT ON VIEW lesion_result IS
    'One row for each lesion of each current study: its scores, the advice, and what they rest on. Never a diagnosis';
COMMENT ON COLUMN lesion_result.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_result.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN lesion_result.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN lesion_result.lesion_id IS 'The sender''s name of the lesion, unique in the study';
COMMENT ON COLUMN lesion_result.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_result.sop_instance_uid IS 'DICOM SOP Instance UID (0008,0018) of the lesion''s first image, as are frame, region_x to region_source, width_mm to aspect_ratio; image_result has each image';
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
COMMENT ON COLUMN lesion_result.gate IS
    'What speaks against a region that was scored, such as doppler_in_roi, of all images; {} where nothing was found';
COMMENT ON COLUMN lesion_result.width_mm IS
    'Width of the radiologist''s ROI in mm; null without an ROI, or where the file does not say how large a pixel is';
COMMENT ON COLUMN lesion_result.height_mm IS 'Height (depth) of the radiologist''s ROI in mm; null as for width_mm';
COMMENT ON COLUMN lesion_result.aspect_ratio IS 'height_mm / width_mm; above 1 is taller than wide';
COMMENT ON COLUMN lesion_result.scanner_model IS
    'Manufacturer (0008,0070) and Manufacturer''s Model Name (0008,1090) of the image';
COMMENT ON COLUMN lesion_result.site IS
    'Institution Name (0008,0080) of the image, else its Station Name (0008,1010); null once purged';
COMMENT ON COLUMN lesion_result.uncertain IS
    'Kept in 4A because a model is not certain: its conformal set is not the class alone that it predicted; null without scores';
COMMENT ON COLUMN lesion_result.lh_conformal_set IS
    'Classes that DLR_LH can not rule out at the coverage on its card: {}, one or both; null where the card does not ask';
COMMENT ON COLUMN lesion_result.bm_conformal_set IS 'Classes that DLR_BM can not rule out, as lh_conformal_set';
COMMENT ON COLUMN lesion_result.received_at IS 'When this revision of the study arrived';
COMMENT ON COLUMN lesion_result.priority IS 'The sender''s: stat, urgent or routine (sorts in this order)';
COMMENT ON COLUMN lesion_result.source IS 'How the study arrived: queue, submit, receive, ...';
COMMENT ON COLUMN lesion_result.study_date IS 'Study Date (0008,0020); null until it is scored, and once purged';
COMMENT ON COLUMN lesion_result.laterality IS
    'left, right or both: the sender''s, else Image Laterality (0020,0062) where the images agree; null where nobody says it';
COMMENT ON COLUMN lesion_result.tier IS 'Tier of the study in the reading order; null where the study is not listed';
COMMENT ON COLUMN lesion_result.verdict IS
    'BI-RADS category that a radiologist ended at, as in lesion_verdict.final_birads; null where nobody gave a verdict';
COMMENT ON COLUMN lesion_result.images IS 'Number of images on which the lesion is marked';
COMMENT ON COLUMN lesion_result.images_refused IS 'Number of them that could not be scored; image_result says why';
COMMENT ON COLUMN lesion_result.high_risk_spread IS
    'Highest less lowest high-risk probability (DLR_LH) of its images, 0 to 1; null without scores';
COMMENT ON COLUMN lesion_result.malignant_spread IS
    'Highest less lowest malignant probability (DLR_BM) of its images, 0 to 1; null without scores';
COMMENT ON COLUMN lesion_result.views_disagree IS
    'Of one model, some images reach the threshold and some do not; null without scores';
COMMENT ON COLUMN lesion_result.clock_position IS 'The sender''s: on the clock face, 1 to 12; may be null';
COMMENT ON COLUMN lesion_result.distance_to_nipple_mm IS 'The sender''s, mm; may be null';
COMMENT ON COLUMN lesion_result.depth_mm IS 'The sender''s: from the skin, mm; may be null';
COMMENT ON COLUMN lesion_result.lh_aggregation IS
    'How DLR_LH''s scores of the images became one: mean, max or logit_mean, from the model''s card; null without scores';
COMMENT ON COLUMN lesion_result.bm_aggregation IS 'How DLR_BM''s scores of the images became one, as lh_aggregation';
