-- A tier's studies, and those of a priority, are found by their places: the order of reading is an index of both.
CREATE VIEW worklist_range AS
SELECT tier AS tier_number, priority AS priority_word, int8range(first_place, next_place) AS places
FROM reading_order_range
WHERE policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active');

COMMENT ON VIEW worklist_range IS
    'Which places in worklist_place.place_order the studies of each tier and priority have; for the page';
COMMENT ON COLUMN worklist_range.tier_number IS 'The tier''s place in its policy, from 1';
COMMENT ON COLUMN worklist_range.priority_word IS 'The sender''s: stat, urgent or routine';
COMMENT ON COLUMN worklist_range.places IS 'Where a tier is not sorted by priority first, that of several priorities';
