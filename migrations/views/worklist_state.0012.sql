-- One row. Which studies are listed is what the view worklist says; here nothing is sorted and no lesion is looked up.
CREATE OR REPLACE VIEW worklist_state WITH (security_barrier = true) AS
SELECT
    count(*) FILTER (WHERE listed)::integer AS listed,
    count(*) FILTER (WHERE state = 'queued')::integer AS queued,
    count(*) FILTER (WHERE state = 'running')::integer AS running,
    max(updated_at) FILTER (WHERE listed) AS changed_at
FROM (
    SELECT
        state,
        updated_at,
        state IN ('done', 'partial', 'failed') AND study_instance_uid IS NOT NULL
            AND (discarded_at IS NULL OR state <> 'failed')
            AS listed
    FROM study
    WHERE is_current
) AS current_study;

COMMENT ON VIEW worklist_state IS 'How many studies are listed and how many wait; for the page, to see that the list changed';
COMMENT ON COLUMN worklist_state.listed IS 'Rows of the view worklist';
COMMENT ON COLUMN worklist_state.queued IS 'Studies that wait for a worker';
COMMENT ON COLUMN worklist_state.running IS 'Studies that a worker has at hand';
COMMENT ON COLUMN worklist_state.changed_at IS 'When a listed study last changed; null where none is listed';
