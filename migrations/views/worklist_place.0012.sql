-- Places and rows are those of the view worklist; no lesion is looked up, so that a filter or a search reads quickly.
CREATE OR REPLACE VIEW worklist_place WITH (security_barrier = true) AS
SELECT
    row_number() OVER (ORDER BY worklist_order, received_at, id) AS position,
    id AS study_id,
    accession_number,
    worklist_class,
    state,
    priority
FROM study
WHERE is_current AND state IN ('done', 'partial', 'failed')
    AND study_instance_uid IS NOT NULL AND (discarded_at IS NULL OR state <> 'failed');
