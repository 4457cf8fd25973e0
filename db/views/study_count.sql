-- For monitoring: counts and one time, so that who watches the service needs to see no study. No security barrier, so
-- that a question for the open studies alone reads their index and not the ledger.
CREATE VIEW study_count AS
SELECT
    state,
    priority,
    worklist_class,
    count(*) AS studies,
    min(received_at) AS oldest_received_at
FROM study
WHERE is_current
GROUP BY state, priority, worklist_class;

COMMENT ON VIEW study_count IS
    'How many current studies and refused messages there are, one row for each state, priority and worklist class';
COMMENT ON COLUMN study_count.state IS 'queued, running, done (every lesion scored), partial (some) or failed (none)';
COMMENT ON COLUMN study_count.priority IS 'The sender''s: stat, urgent or routine';
COMMENT ON COLUMN study_count.worklist_class IS 'As in worklist; null while the study is queued or running';
COMMENT ON COLUMN study_count.studies IS 'Number of studies, those that were purged or discarded too';
COMMENT ON COLUMN study_count.oldest_received_at IS 'When the first of them arrived';
