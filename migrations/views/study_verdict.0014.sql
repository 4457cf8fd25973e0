-- A remark may name somebody, so it is for those who sign in to the page, and in no view for SQL.
CREATE VIEW study_verdict WITH (security_barrier = true) AS
SELECT
    lesion.study_id,
    lesion.ordinal,
    reading.reader,
    reading.read_at,
    reading.source,
    advice.recommended,
    verdict.agrees,
    verdict.final_birads,
    verdict.remark,
    reading.recorded_at
FROM verdict
JOIN reading ON reading.id = verdict.reading_id
JOIN lesion ON lesion.id = verdict.lesion_id
LEFT JOIN restratification AS advice ON advice.id = verdict.restratification_id;

COMMENT ON VIEW study_verdict IS 'Every verdict on each lesion, those that a later one corrected too; for the page';
COMMENT ON COLUMN study_verdict.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN study_verdict.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN study_verdict.reader IS 'Who gave it';
COMMENT ON COLUMN study_verdict.read_at IS 'When it was given';
COMMENT ON COLUMN study_verdict.source IS 'page or import';
COMMENT ON COLUMN study_verdict.recommended IS 'Category that was advised; null: no scores were shown';
COMMENT ON COLUMN study_verdict.agrees IS 'Whether the radiologist agrees with the advice; null where there was none';
COMMENT ON COLUMN study_verdict.final_birads IS 'BI-RADS category that the radiologist ends at';
COMMENT ON COLUMN study_verdict.remark IS 'Free text, 500 characters at most; null where there is none, and once purged';
COMMENT ON COLUMN study_verdict.recorded_at IS 'When it was written here';
