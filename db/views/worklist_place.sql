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

COMMENT ON VIEW worklist_place IS 'The places of the view worklist and what they are searched by; for the page';
COMMENT ON COLUMN worklist_place.position IS 'Place in reading order, from 1';
COMMENT ON COLUMN worklist_place.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN worklist_place.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN worklist_place.worklist_class IS 'As in the view worklist';
COMMENT ON COLUMN worklist_place.state IS 'done, partial or failed';
COMMENT ON COLUMN worklist_place.priority IS 'The sender''s: stat, urgent or routine';
