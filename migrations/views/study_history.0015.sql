CREATE OR REPLACE VIEW study_history WITH (security_barrier = true) AS
SELECT study_event.study_id, study_event.id AS line, study_event.at, study_event.actor, study_event.event,
    study_event.detail
FROM study_event;

COMMENT ON VIEW study_history IS
    'What happened to each study, its revisions and refused messages: the append-only history; it names no patient';
COMMENT ON COLUMN study_history.study_id IS 'The opaque id that logs, Flower and the dlr command use';
COMMENT ON COLUMN study_history.line IS 'Grows with each line of a study';
COMMENT ON COLUMN study_history.at IS 'When it happened';
COMMENT ON COLUMN study_history.actor IS 'The database user that wrote it';
COMMENT ON COLUMN study_history.event IS 'What happened, such as received, claimed, done';
COMMENT ON COLUMN study_history.detail IS
    'JSON: such as the worker, the attempt, an error''s code, who asked, the versions of the models; no identifiers';
