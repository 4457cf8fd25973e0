-- The rows of the view worklist without their positions, which cost a count: the page asks for those that it shows.
-- The lesions are joined from the left, so that a question that asks nothing of them looks none up.
CREATE OR REPLACE VIEW listed_study WITH (security_barrier = true) AS
SELECT
    study.id AS study_id,
    study.study_instance_uid,
    study.accession_number,
    study.revision,
    study.priority,
    study.worklist_class,
    study.state,
    summary.lesions,
    summary.lesions_scored,
    summary.highest_birads,
    summary.upgraded,
    summary.maintained,
    summary.not_applicable,
    summary.downgraded,
    study.malignant_probability,
    summary.high_risk_probability,
    study.error_code,
    study.error_reason,
    study.received_at,
    study.finished_at,
    summary.notice,
    summary.uncertain,
    rule.tier_name AS tier,
    rule.tier_title,
    concat(
        CASE
            WHEN 'corrected' = ANY (entry.marks) THEN 'Keeps its place until the correction is scored. '
            WHEN 'requeued' = ANY (entry.marks) THEN 'Keeps its place until it is scored again. '
        END,
        coalesce(summary.decided_by || rule.reason, upper(left(rule.reason, 1)) || substr(rule.reason, 2)),
        CASE
            WHEN study.priority::text = ANY (policy.before_all)
            THEN ' (marked ' || upper(study.priority::text) || ': before all tiers)'
        END
    ) AS place_reason,
    entry.marks,
    study.source,
    study.site,
    study.scanner_model,
    study.laterality,
    study.study_date,
    summary.age_years,
    (
        SELECT count(DISTINCT (image.sop_instance_uid, image.frame))::integer
        FROM lesion JOIN marked_image AS image ON image.lesion_id = lesion.id
        WHERE lesion.study_id = entry.study_id
    ) AS images,
    study.read_at,
    study.read_by,
    policy.label AS policy,
    rule.reason,
    entry.lesion AS deciding_lesion,
    summary.deciding_birads,
    study.priority::text = ANY (policy.before_all) AS is_before_all,
    entry.tier AS tier_number,
    rule.step_priority,
    entry.is_read,
    entry.place_order,
    entry.arrived_at
FROM worklist_entry AS entry
JOIN reading_order_policy AS policy ON policy.id = entry.policy_id
JOIN reading_order_rule AS rule ON rule.policy_id = entry.policy_id AND rule.rule = entry.rule
JOIN study ON study.id = entry.study_id
LEFT JOIN LATERAL (
    SELECT
        count(*)::integer AS lesions,
        count(*) FILTER (WHERE result.state = 'scored')::integer AS lesions_scored,
        max(result.original) AS highest_birads,
        count(*) FILTER (WHERE result.outcome = 'upgraded')::integer AS upgraded,
        count(*) FILTER (WHERE result.outcome = 'maintained')::integer AS maintained,
        count(*) FILTER (WHERE result.outcome = 'not_applicable')::integer AS not_applicable,
        count(*) FILTER (WHERE result.outcome = 'downgraded')::integer AS downgraded,
        max(result.high_risk_probability) AS high_risk_probability,
        string_agg(DISTINCT result.notice, '; ') AS notice,
        count(*) FILTER (WHERE result.uncertain)::integer AS uncertain,
        max(result.age_years) AS age_years,
        max('Lesion ' || result.ordinal || ', BI-RADS ' || result.original::text || ': ')
            FILTER (WHERE result.ordinal = entry.lesion) AS decided_by,
        max(result.original) FILTER (WHERE result.ordinal = entry.lesion) AS deciding_birads
    FROM lesion_result AS result
    WHERE result.study_id = entry.study_id
) AS summary ON true
WHERE entry.policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active');

COMMENT ON VIEW listed_study IS 'The rows of the view worklist without their positions, and what they are sorted by; for the page';
COMMENT ON COLUMN listed_study.study_id IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.study_instance_uid IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.accession_number IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.revision IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.priority IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.worklist_class IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.state IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.lesions IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.lesions_scored IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.highest_birads IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.upgraded IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.maintained IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.not_applicable IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.downgraded IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.malignant_probability IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.high_risk_probability IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.error_code IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.error_reason IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.received_at IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.finished_at IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.notice IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.uncertain IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.tier IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.tier_title IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.place_reason IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.marks IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.source IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.site IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.scanner_model IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.laterality IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.study_date IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.age_years IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.images IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.read_at IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.read_by IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.policy IS 'As in the view worklist';
COMMENT ON COLUMN listed_study.reason IS 'What place_reason says in the words of the policy';
COMMENT ON COLUMN listed_study.deciding_lesion IS 'Place in the job of the lesion that decided, from 1; null: the study as a whole did';
COMMENT ON COLUMN listed_study.deciding_birads IS 'Its BI-RADS category';
COMMENT ON COLUMN listed_study.is_before_all IS 'Its priority stands before all tiers';
COMMENT ON COLUMN listed_study.tier_number IS 'The tier''s place in its policy, from 1';
COMMENT ON COLUMN listed_study.step_priority IS
    'Scheduled Procedure Step Priority (0074,1200) of routine studies in its tier: HIGH, MEDIUM or LOW';
COMMENT ON COLUMN listed_study.is_read IS 'It was read; false stands first';
COMMENT ON COLUMN listed_study.place_order IS 'The lowest is read first';
COMMENT ON COLUMN listed_study.arrived_at IS 'Of equal places the earlier is read first; then study_id decides';
