-- By these keys a verdict names its lesion and the advice that was shown.
CREATE VIEW lesion_advice WITH (security_barrier = true) AS
SELECT study.id AS study_id, lesion.id AS lesion, lesion.ordinal, advice.id AS advice, advice.outcome
FROM study
JOIN lesion ON lesion.study_id = study.id
LEFT JOIN restratification AS advice ON advice.lesion_id = lesion.id AND advice.is_current
WHERE study.is_current;

COMMENT ON VIEW lesion_advice IS 'The keys of each lesion of a current study and of its current advice; for the page';
COMMENT ON COLUMN lesion_advice.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN lesion_advice.lesion IS 'Key of the lesion in the ledger';
COMMENT ON COLUMN lesion_advice.ordinal IS 'Place of the lesion in the sender''s job, from 1';
COMMENT ON COLUMN lesion_advice.advice IS 'Key of its advice; null where it has no scores';
COMMENT ON COLUMN lesion_advice.outcome IS 'What the advice is, as in lesion_result';
