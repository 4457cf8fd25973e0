-- All four outcomes for each pair of models, rule and notice, those with no lesion too: demo and real never mix.
CREATE VIEW restratification_summary WITH (security_barrier = true) AS
WITH scored AS (
    SELECT
        lh_version, bm_version, rule_version, coalesce(notice, '') AS notice, outcome,
        malignant_probability, high_risk_probability, age_years
    FROM lesion_result
    WHERE outcome IS NOT NULL
), counted AS (
    SELECT
        lh_version, bm_version, rule_version, notice, outcome,
        count(malignant_probability) AS lesions,
        avg(malignant_probability) AS mean_malignant_probability,
        avg(high_risk_probability) AS mean_high_risk_probability,
        avg(age_years) AS mean_age_years
    FROM (SELECT DISTINCT lh_version, bm_version, rule_version, notice FROM scored) AS models
    CROSS JOIN unnest(enum_range(NULL::outcome)) AS kind (outcome)
    LEFT JOIN scored USING (lh_version, bm_version, rule_version, notice, outcome)
    GROUP BY lh_version, bm_version, rule_version, notice, outcome
)
SELECT
    outcome,
    lesions,
    CASE
        WHEN outcome <> 'not_applicable'
        THEN round(100.0 * lesions / nullif(sum(lesions) FILTER (WHERE outcome <> 'not_applicable') OVER models, 0), 1)
    END AS percent_of_4a,
    mean_malignant_probability,
    mean_high_risk_probability,
    mean_age_years,
    lh_version,
    bm_version,
    rule_version,
    nullif(notice, '') AS notice
FROM counted
WINDOW models AS (PARTITION BY lh_version, bm_version, rule_version, notice)
ORDER BY lh_version, bm_version, rule_version, notice, outcome;

COMMENT ON VIEW restratification_summary IS
    'What became of the 4A lesions: one row an outcome, for each pair of models, rule and notice; current studies alone';
COMMENT ON COLUMN restratification_summary.outcome IS
    'upgraded, maintained or downgraded (the 4A lesions), and not_applicable (all other categories)';
COMMENT ON COLUMN restratification_summary.lesions IS 'Number of lesions with this outcome';
COMMENT ON COLUMN restratification_summary.percent_of_4a IS
    'Share of the scored 4A lesions, percent to one decimal; null for not_applicable, which are not 4A';
COMMENT ON COLUMN restratification_summary.mean_malignant_probability IS 'Mean of DLR_BM over these lesions, 0 to 1';
COMMENT ON COLUMN restratification_summary.mean_high_risk_probability IS 'Mean of DLR_LH over these lesions, 0 to 1';
COMMENT ON COLUMN restratification_summary.mean_age_years IS 'Mean age over these lesions, years';
COMMENT ON COLUMN restratification_summary.lh_version IS 'Version of DLR_LH';
COMMENT ON COLUMN restratification_summary.bm_version IS 'Version of DLR_BM';
COMMENT ON COLUMN restratification_summary.rule_version IS 'Version of the re-stratification rule';
COMMENT ON COLUMN restratification_summary.notice IS
    'Notices of the two models, such as: demo, synthetic, not for clinical use';
