-- One row. No count goes far beyond what a page says exactly, however long the list is.
CREATE OR REPLACE VIEW worklist_state WITH (security_barrier = true) AS
SELECT
    (SELECT count(*)::integer FROM (
        SELECT FROM worklist_entry WHERE policy_id = policy.id AND NOT is_read LIMIT 10001
    ) AS to_read) AS listed,
    (SELECT count(*)::integer FROM study WHERE is_current AND state = 'queued') AS queued,
    (SELECT count(*)::integer FROM study WHERE is_current AND state = 'running') AS running,
    (SELECT max(changed_at) FROM worklist_entry WHERE policy_id = policy.id) AS changed_at
FROM reading_order_policy AS policy
WHERE policy.state = 'active';

COMMENT ON VIEW worklist_state IS 'How many studies are to be read and how many wait; for the page, to see that the list changed';
COMMENT ON COLUMN worklist_state.listed IS 'Studies on the list that were not read; 10001 stands for more than 10000';
COMMENT ON COLUMN worklist_state.queued IS 'Studies that wait for a worker';
COMMENT ON COLUMN worklist_state.running IS 'Studies that a worker has at hand';
COMMENT ON COLUMN worklist_state.changed_at IS 'When a place on the list last changed; null where there is none';
