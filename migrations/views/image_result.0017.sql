-- The scores are those on which the lesion's current advice rests: of the same versions.
CREATE VIEW image_result WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    lesion.lesion_id,
    lesion.ordinal,
    image.ordinal AS image,
    image.sop_instance_uid,
    image.frame,
    image.plane,
    image.state,
    image.error_code,
    image.error_reason,
    image.region_x,
    image.region_y,
    image.region_width,
    image.region_height,
    image.region_source,
    image.gate,
    image.width_mm,
    image.height_mm,
    image.height_mm / image.width_mm AS aspect_ratio,
    image.laterality,
    of_lh.positive_probability AS high_risk_probability,
    of_bm.positive_probability AS malignant_probability,
    lh_model.version AS lh_version,
    bm_model.version AS bm_version,
    CASE
        WHEN lh_model.notice = bm_model.notice THEN nullif(lh_model.notice, '')
        ELSE nullif(concat_ws('; ', nullif(lh_model.notice, ''), nullif(bm_model.notice, '')), '')
    END AS notice
FROM study
JOIN lesion ON lesion.study_id = study.id
JOIN marked_image AS image ON image.lesion_id = lesion.id
LEFT JOIN restratification AS advice
    ON advice.lesion_id = lesion.id AND advice.is_current AND image.state = 'scored'
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
LEFT JOIN image_prediction AS of_lh ON of_lh.image_id = image.id AND of_lh.model_id = lh.model_id
LEFT JOIN image_prediction AS of_bm ON of_bm.image_id = image.id AND of_bm.model_id = bm.model_id
WHERE study.is_current;

COMMENT ON VIEW image_result IS
    'One row for each image of each lesion of each current study: its own scores, or why it has none. Advice is on lesions';
COMMENT ON COLUMN image_result.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN image_result.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN image_result.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN image_result.lesion_id IS 'The sender''s name of the lesion; with study_id as in lesion_result';
COMMENT ON COLUMN image_result.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN image_result.image IS 'Number of the image among the lesion''s, from 1';
COMMENT ON COLUMN image_result.sop_instance_uid IS 'DICOM SOP Instance UID (0008,0018)';
COMMENT ON COLUMN image_result.frame IS 'Frame of the image, from 1; null means its only frame';
COMMENT ON COLUMN image_result.plane IS
    'radial, antiradial, transverse, longitudinal or oblique, as the sender gave it; may be null';
COMMENT ON COLUMN image_result.state IS 'waiting, scored or failed';
COMMENT ON COLUMN image_result.error_code IS 'Why the image was not scored; null where it was';
COMMENT ON COLUMN image_result.error_reason IS 'The same, as a sentence; null once purged';
COMMENT ON COLUMN image_result.region_x IS 'Left edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN image_result.region_y IS 'Top edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN image_result.region_width IS 'Width of the region that was scored, pixels';
COMMENT ON COLUMN image_result.region_height IS 'Height of the region that was scored, pixels';
COMMENT ON COLUMN image_result.region_source IS
    'job (the radiologist''s ROI), ultrasound_region (the B-mode region in the header) or whole_image';
COMMENT ON COLUMN image_result.gate IS
    'What speaks against the region that was scored, such as doppler_in_roi; {} where nothing was found';
COMMENT ON COLUMN image_result.width_mm IS
    'Width of the radiologist''s ROI in mm; null without an ROI, or where the file does not say how large a pixel is';
COMMENT ON COLUMN image_result.height_mm IS 'Height (depth) of the radiologist''s ROI in mm; null as for width_mm';
COMMENT ON COLUMN image_result.aspect_ratio IS 'height_mm / width_mm; above 1 is taller than wide';
COMMENT ON COLUMN image_result.laterality IS 'left, right or both, from Image Laterality (0020,0062); null where it is not said';
COMMENT ON COLUMN image_result.high_risk_probability IS 'DLR_LH, of this image alone, 0 to 1';
COMMENT ON COLUMN image_result.malignant_probability IS 'DLR_BM, of this image alone, 0 to 1';
COMMENT ON COLUMN image_result.lh_version IS 'Version of DLR_LH';
COMMENT ON COLUMN image_result.bm_version IS 'Version of DLR_BM';
COMMENT ON COLUMN image_result.notice IS 'Notices of the two models, such as: demo, synthetic, not for clinical use';
