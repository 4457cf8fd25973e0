-- Counted as far as a page says it exactly, so that no question counts the whole list.
CREATE VIEW worklist_position WITH (security_barrier = true) AS
SELECT row_number() OVER (ORDER BY is_read, place_order, arrived_at, study_id) AS position, study_id
FROM worklist_entry
WHERE policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active')
ORDER BY is_read, place_order, arrived_at, study_id
LIMIT 10000;

COMMENT ON VIEW worklist_position IS 'The first 10000 positions of the view worklist; for the page';
COMMENT ON COLUMN worklist_position.position IS 'Place in reading order, from 1';
COMMENT ON COLUMN worklist_position.study_id IS 'The opaque id that logs, Flower and the dlr command use';
