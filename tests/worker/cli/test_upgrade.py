"""``dlr db upgrade`` on a ledger from before the reading order was a policy, and back."""

import json
from typing import Any

from sqlalchemy import NullPool, create_engine, text

from db.migrate import downgrade, upgrade
from db.session import driver_url
from tests.command_line import dlr
from tests.conftest import Database

BEFORE = """
INSERT INTO model (name, version, weights_sha256, card)
SELECT name, '1.0', repeat('a', 64), '{}' FROM (VALUES ('DLR_LH'), ('DLR_BM')) AS models (name);
INSERT INTO study (id, study_instance_uid, content_digest, job, source, state, priority, error_code, finished_at,
    worklist_class, worklist_order, malignant_probability, is_current, revision)
VALUES
    (md5('upgraded')::uuid, '1.1', repeat('1', 64), '{}', 'queue', 'done', 'routine', NULL, now(), 'upgraded',
        120100000001, 0.9, true, 1),
    (md5('five')::uuid, '1.2', repeat('2', 64), '{}', 'queue', 'done', 'routine', NULL, now(), 'not_applicable',
        420024000001, 0.976, true, 1),
    (md5('failed')::uuid, '1.3', repeat('3', 64), '{}', 'queue', 'failed', 'routine', 'age_missing', now(),
        'needs_attention', 220000000000, NULL, true, 1),
    (md5('waits')::uuid, '1.4', repeat('4', 64), '{}', 'queue', 'queued', 'stat', NULL, NULL, NULL, NULL, NULL, true,
        1),
    (md5('former')::uuid, '1.1', repeat('5', 64), '{}', 'queue', 'done', 'stat', NULL, now(), 'upgraded',
        100000000001, 1, false, 2);
INSERT INTO lesion (study_id, lesion_id, ordinal, sop_instance_uid, birads, state, error_code, site, scanner_model)
VALUES
    (md5('upgraded')::uuid, 'L1', 1, '1.2.3', '4A', 'scored', NULL, 'Example Hospital', 'Acme Sono 1'),
    (md5('five')::uuid, 'L1', 1, '1.2.3', '5', 'scored', NULL, NULL, NULL),
    (md5('failed')::uuid, 'L1', 1, '1.2.3', '3', 'failed', 'age_missing', NULL, NULL),
    (md5('waits')::uuid, 'L1', 1, '1.2.3', '2', 'waiting', NULL, NULL, NULL);
INSERT INTO prediction (lesion_id, model_id, probabilities, positive_probability, predicted_class, positive, threshold)
SELECT lesion.id, model.id, '{}', study.malignant_probability, 'x', true, 0.5
FROM lesion JOIN study ON study.id = study_id, model WHERE lesion.state = 'scored';
INSERT INTO restratification (lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
    recommended)
SELECT lesion.id, min(prediction.id), max(prediction.id), 'fig-s5/1',
    (CASE WHEN birads = '4A' THEN 'upgraded' ELSE 'not_applicable' END)::outcome, birads,
    (CASE WHEN birads = '4A' THEN '>4A' ELSE '5' END)::recommendation
FROM lesion JOIN prediction ON prediction.lesion_id = lesion.id GROUP BY lesion.id;
"""


def run(database: Database, statement: str) -> list[Any]:
    engine = create_engine(driver_url(database.owner_url), poolclass=NullPool)
    with engine.begin() as connection:
        done = connection.execute(text(statement))
        return [tuple(row) for row in done] if done.returns_rows else []


def test_every_study_has_its_place_after_the_upgrade_and_its_former_one_after_the_way_back(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url, "0012")
    run(empty_database, BEFORE)
    former = run(empty_database, "SELECT study_instance_uid, worklist_order FROM study ORDER BY id")
    done = dlr("db", "upgrade", DLR_DATABASE_OWNER_URL=empty_database.owner_url)
    assert done.returncode == 0, done.stderr
    rows = json.loads(
        dlr("worklist", "--format", "json", DLR_DATABASE_URL=empty_database.writer_url).stdout,
    )
    assert [(row["study_instance_uid"], row["tier"]) for row in rows] == [
        ("1.4", "negative"),  # STAT goes before all tiers
        ("1.2", "suspicious"),
        ("1.1", "suspicious"),
        ("1.3", "to_be_looked_at"),
    ]
    assert [row["marks"] for row in rows] == [["waiting"], [], [], []]
    assert (rows[2]["site"], rows[2]["scanner_model"]) == ("Example Hospital", "Acme Sono 1")
    downgrade(empty_database.owner_url, "0012")
    assert run(empty_database, "SELECT study_instance_uid, worklist_order FROM study ORDER BY id") == former
