CREATE VIEW reading_order_tier AS
SELECT DISTINCT policy.label AS policy, rule.tier AS tier_number, rule.tier_name AS tier, rule.tier_title
FROM reading_order_policy AS policy
JOIN reading_order_rule AS rule ON rule.policy_id = policy.id
WHERE policy.state = 'active';

COMMENT ON VIEW reading_order_tier IS 'The tiers of the active policy of reading order';
COMMENT ON COLUMN reading_order_tier.policy IS 'Name and version, such as suspicion/2';
COMMENT ON COLUMN reading_order_tier.tier_number IS 'Its place, from 1: the first is read first';
COMMENT ON COLUMN reading_order_tier.tier IS 'As in worklist.tier';
COMMENT ON COLUMN reading_order_tier.tier_title IS 'As in worklist.tier_title';
