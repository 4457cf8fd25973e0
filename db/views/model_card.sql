CREATE VIEW model_card AS
SELECT name, version, weights_sha256, nullif(notice, '') AS notice, card, created_at AS first_used_at
FROM model;

COMMENT ON VIEW model_card IS 'One row for each version of a model that a worker has loaded, with its card';
COMMENT ON COLUMN model_card.name IS 'DLR_LH or DLR_BM';
COMMENT ON COLUMN model_card.version IS 'The model owner''s; lh_version or bm_version in lesion_result';
COMMENT ON COLUMN model_card.weights_sha256 IS 'SHA-256 of the weights, hexadecimal';
COMMENT ON COLUMN model_card.notice IS 'Goes with each of its results, such as: demo, synthetic, not for clinical use';
COMMENT ON COLUMN model_card.card IS 'The whole card as JSON: thresholds, intended use, training data, metrics';
COMMENT ON COLUMN model_card.first_used_at IS 'When a worker first loaded it';
