CREATE VIEW waiting_study WITH (security_barrier = true) AS
SELECT study.id AS study_id, study.accession_number, study.priority, study.state, study.received_at
FROM study
WHERE study.is_current AND study.state IN ('queued', 'running')
ORDER BY study.priority, study.received_at, study.id;

COMMENT ON VIEW waiting_study IS 'Studies that have not ended, and so are not on the worklist yet; for the page';
COMMENT ON COLUMN waiting_study.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN waiting_study.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN waiting_study.priority IS 'The sender''s: stat, urgent or routine';
COMMENT ON COLUMN waiting_study.state IS 'queued or running';
COMMENT ON COLUMN waiting_study.received_at IS 'When this revision arrived';
