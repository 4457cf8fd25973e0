-- For the study right before another: a barrier's rows come in its own order alone.
CREATE VIEW worklist_backwards WITH (security_barrier = true) AS
SELECT study_id, is_read, place_order, arrived_at
FROM worklist_entry
WHERE policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active')
ORDER BY is_read DESC, place_order DESC, arrived_at DESC, study_id DESC;

COMMENT ON VIEW worklist_backwards IS 'The places of the view worklist, last ones first; for the page';
COMMENT ON COLUMN worklist_backwards.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN worklist_backwards.is_read IS 'As in worklist_place';
COMMENT ON COLUMN worklist_backwards.place_order IS 'As in worklist_place';
COMMENT ON COLUMN worklist_backwards.arrived_at IS 'As in worklist_place';
