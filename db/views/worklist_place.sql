-- The places of the view worklist and what they are filtered by. What a filter compares stands in worklist_entry, as
-- text: a comparison of text is leakproof, so it reaches the indexes through the barrier, and one of an enumeration is
-- not. The study is looked up only where one of its columns is asked for.
CREATE VIEW worklist_place WITH (security_barrier = true) AS
SELECT
    entry.study_id,
    study.accession_number,
    study.study_instance_uid,
    study.worklist_class,
    study.state,
    study.priority,
    entry.received_at,
    entry.site,
    entry.scanner_model,
    study.laterality,
    entry.tier AS tier_number,
    entry.is_read,
    entry.place_order,
    entry.arrived_at,
    entry.worklist_class AS class_word,
    entry.state AS state_word,
    entry.priority AS priority_word,
    entry.laterality AS laterality_word,
    lower(study.accession_number) AS number_forwards,
    reverse(lower(study.accession_number)) AS number_backwards
FROM worklist_entry AS entry
LEFT JOIN study ON study.id = entry.study_id
WHERE entry.policy_id = (SELECT id FROM reading_order_policy WHERE state = 'active')
ORDER BY entry.is_read, entry.place_order, entry.arrived_at, entry.study_id;

COMMENT ON VIEW worklist_place IS
    'The places of the view worklist and what they are filtered by; read in the order of is_read, place_order, arrived_at, study_id; for the page';
COMMENT ON COLUMN worklist_place.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN worklist_place.accession_number IS 'As the sender gave it; may be null';
COMMENT ON COLUMN worklist_place.study_instance_uid IS 'DICOM Study Instance UID (0020,000D)';
COMMENT ON COLUMN worklist_place.worklist_class IS 'As in the view worklist';
COMMENT ON COLUMN worklist_place.state IS 'queued, running, done, partial or failed';
COMMENT ON COLUMN worklist_place.priority IS 'The sender''s: stat, urgent or routine';
COMMENT ON COLUMN worklist_place.received_at IS 'When this revision arrived';
COMMENT ON COLUMN worklist_place.site IS 'As in the view worklist';
COMMENT ON COLUMN worklist_place.scanner_model IS 'As in the view worklist';
COMMENT ON COLUMN worklist_place.laterality IS 'As in the view worklist';
COMMENT ON COLUMN worklist_place.tier_number IS 'The tier''s place in its policy, from 1';
COMMENT ON COLUMN worklist_place.is_read IS 'It was read; false stands first';
COMMENT ON COLUMN worklist_place.place_order IS 'The lowest is read first';
COMMENT ON COLUMN worklist_place.arrived_at IS 'Of equal places the earlier is read first; then study_id decides';
COMMENT ON COLUMN worklist_place.class_word IS 'worklist_class, to filter by';
COMMENT ON COLUMN worklist_place.state_word IS 'To filter by: waiting (queued or running), done, partial or failed';
COMMENT ON COLUMN worklist_place.priority_word IS 'priority, to filter by';
COMMENT ON COLUMN worklist_place.laterality_word IS 'laterality, to filter by';
COMMENT ON COLUMN worklist_place.number_forwards IS 'accession_number in small letters';
COMMENT ON COLUMN worklist_place.number_backwards IS 'The same from its end to its beginning';
