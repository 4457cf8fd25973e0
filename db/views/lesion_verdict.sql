CREATE VIEW lesion_verdict WITH (security_barrier = true) AS
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
    lh_model.version AS lh_version,
    bm_model.version AS bm_version,
    verdict.agrees,
    verdict.final_birads,
    reading.reader,
    reading.read_at,
    reading.source,
    reading.tier,
    reading.recorded_at,
    lesion.scanner_model,
    lesion.site,
    CASE
        WHEN lh_model.notice = bm_model.notice THEN nullif(lh_model.notice, '')
        ELSE nullif(concat_ws('; ', nullif(lh_model.notice, ''), nullif(bm_model.notice, '')), '')
    END AS notice
FROM verdict
JOIN reading ON reading.id = verdict.reading_id
JOIN lesion ON lesion.id = verdict.lesion_id
JOIN study ON study.id = lesion.study_id
LEFT JOIN restratification AS advice ON advice.id = verdict.restratification_id
LEFT JOIN prediction AS lh ON lh.id = advice.lh_prediction_id
LEFT JOIN prediction AS bm ON bm.id = advice.bm_prediction_id
LEFT JOIN model AS lh_model ON lh_model.id = lh.model_id
LEFT JOIN model AS bm_model ON bm_model.id = bm.model_id
WHERE study.is_current
    AND NOT EXISTS (
        SELECT FROM verdict AS later JOIN reading AS of_later ON of_later.id = later.reading_id
        WHERE later.lesion_id = verdict.lesion_id
            AND (of_later.read_at, of_later.recorded_at, of_later.id) > (reading.read_at, reading.recorded_at, reading.id)
    );

COMMENT ON VIEW lesion_verdict IS
    'The radiologist''s verdict on each lesion of a current study, the latest reading''s, beside the advice that was shown';
COMMENT ON COLUMN lesion_verdict.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_verdict.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN lesion_verdict.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN lesion_verdict.lesion_id IS 'The sender''s name of the lesion, unique in the study';
COMMENT ON COLUMN lesion_verdict.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_verdict.original IS 'BI-RADS category that the radiologist first gave';
COMMENT ON COLUMN lesion_verdict.outcome IS
    'Advice that was shown on a 4A lesion: upgraded, maintained or downgraded; not_applicable for any other category; null: no scores were shown';
COMMENT ON COLUMN lesion_verdict.recommended IS 'Category that was advised; >4A is above 4A; null: no scores were shown';
COMMENT ON COLUMN lesion_verdict.rule_version IS 'Version of the re-stratification rule';
COMMENT ON COLUMN lesion_verdict.lh_version IS 'Version of DLR_LH whose result was shown';
COMMENT ON COLUMN lesion_verdict.bm_version IS 'Version of DLR_BM whose result was shown';
COMMENT ON COLUMN lesion_verdict.agrees IS
    'Whether the radiologist agrees with the advice; null where there was none, or it was not said';
COMMENT ON COLUMN lesion_verdict.final_birads IS
    'BI-RADS category that the radiologist ends at: 0, 1, 2, 3, 4 (without a letter), 4A, 4B, 4C, 5, 6';
COMMENT ON COLUMN lesion_verdict.reader IS 'Who gave the verdict, an account of the page or as imported; null once purged';
COMMENT ON COLUMN lesion_verdict.read_at IS 'When it was given';
COMMENT ON COLUMN lesion_verdict.source IS 'page, or import (dlr verdict import)';
COMMENT ON COLUMN lesion_verdict.tier IS 'Policy and tier of the reading order in which the study stood then, such as suspicion/2 low';
COMMENT ON COLUMN lesion_verdict.recorded_at IS 'When it was written here';
COMMENT ON COLUMN lesion_verdict.scanner_model IS
    'Manufacturer (0008,0070) and Manufacturer''s Model Name (0008,1090) of the image';
COMMENT ON COLUMN lesion_verdict.site IS
    'Institution Name (0008,0080) of the image, else its Station Name (0008,1010); null once purged';
COMMENT ON COLUMN lesion_verdict.notice IS
    'Notices of the two models, such as: demo, synthetic, not for clinical use';
