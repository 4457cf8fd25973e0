-- Over `pathology_result`, so that a cancer is here exactly when it is there.
CREATE VIEW downgraded_cancer WITH (security_barrier = true) AS
SELECT
    study_id,
    study_instance_uid,
    accession_number,
    lesion_id,
    ordinal,
    histology,
    reported_on,
    recorded_at,
    high_risk_probability,
    lh_threshold,
    malignant_probability,
    bm_threshold,
    lh_version,
    bm_version,
    rule_version,
    scored_at,
    notice
FROM pathology_result
WHERE outcome = 'downgraded' AND result = 'malignant'
ORDER BY recorded_at DESC, study_id, ordinal;

COMMENT ON VIEW downgraded_cancer IS
    'Lesions of current studies that were advised down to BI-RADS 3 and that pathology found malignant, the latest first';
COMMENT ON COLUMN downgraded_cancer.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN downgraded_cancer.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN downgraded_cancer.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN downgraded_cancer.lesion_id IS 'The sender''s name of the lesion, unique in the study';
COMMENT ON COLUMN downgraded_cancer.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN downgraded_cancer.histology IS 'Pathology''s code, as it was imported; may be null';
COMMENT ON COLUMN downgraded_cancer.reported_on IS 'Day of pathology''s report; null once the study was purged';
COMMENT ON COLUMN downgraded_cancer.recorded_at IS 'When this result was imported';
COMMENT ON COLUMN downgraded_cancer.high_risk_probability IS 'DLR_LH, 0 to 1';
COMMENT ON COLUMN downgraded_cancer.lh_threshold IS 'High risk from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN downgraded_cancer.malignant_probability IS 'DLR_BM, 0 to 1';
COMMENT ON COLUMN downgraded_cancer.bm_threshold IS 'Malignant from this probability on, 0 to 1; from the model''s card';
COMMENT ON COLUMN downgraded_cancer.lh_version IS 'Version of DLR_LH';
COMMENT ON COLUMN downgraded_cancer.bm_version IS 'Version of DLR_BM';
COMMENT ON COLUMN downgraded_cancer.rule_version IS 'Version of the re-stratification rule';
COMMENT ON COLUMN downgraded_cancer.scored_at IS 'When the advice was first written';
COMMENT ON COLUMN downgraded_cancer.notice IS
    'Notices of the two models, such as: demo, synthetic, not for clinical use';
