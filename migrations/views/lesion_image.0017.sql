-- The paths alone of the job, and of a readable study alone: what else a sender wrote stays out of reach.
CREATE OR REPLACE VIEW lesion_image WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    lesion.ordinal,
    study.study_instance_uid,
    image.sop_instance_uid,
    image.frame,
    image.region_x,
    image.region_y,
    image.region_width,
    image.region_height,
    lesion.age_years,
    study.job #> '{images,paths}' AS paths,
    image.ordinal AS image
FROM study
JOIN lesion ON lesion.study_id = study.id
JOIN marked_image AS image ON image.lesion_id = lesion.id
WHERE study.is_current AND study.study_instance_uid IS NOT NULL AND study.purged_at IS NULL
    AND image.region_x IS NOT NULL AND jsonb_typeof(study.job #> '{images,paths}') = 'array';

COMMENT ON VIEW lesion_image IS 'Where each image of a lesion with a known region is in the storage; for the page';
COMMENT ON COLUMN lesion_image.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_image.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_image.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN lesion_image.sop_instance_uid IS 'DICOM SOP Instance UID (0008,0018) of the image';
COMMENT ON COLUMN lesion_image.frame IS 'Frame of the image, from 1; null means its only frame';
COMMENT ON COLUMN lesion_image.region_x IS 'Left edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN lesion_image.region_y IS 'Top edge of the region that was scored, pixels of the stored frame, from 0';
COMMENT ON COLUMN lesion_image.region_width IS 'Width of the region that was scored, pixels';
COMMENT ON COLUMN lesion_image.region_height IS 'Height of the region that was scored, pixels';
COMMENT ON COLUMN lesion_image.age_years IS 'Age that the models were given, years at the study, 0 to 120';
COMMENT ON COLUMN lesion_image.paths IS 'JSON list of the study''s files, relative to DLR_STORAGE_ROOT';
COMMENT ON COLUMN lesion_image.image IS 'Number of the image among the lesion''s, from 1';
