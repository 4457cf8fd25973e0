"""``dlr db upgrade`` on a ledger from before the reading order was a policy: thousands of studies, in every state."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from db.migrate import downgrade, upgrade
from db.session import driver_url
from tests import command_line
from tests.conftest import Database
from tests.waiting import patience

pytestmark = pytest.mark.slow

BEFORE = "0012"
STUDIES = 3_000
KINDS = 10

# Study n is of the kind n % 10: 0 to 4 have their result, 5 failed, 6 is queued, 7 is running, 8 is no longer current,
# 9 is on no list: refused, purged, or put aside. Its category, scores and priority go round too.
FILL = (
    """INSERT INTO model (name, version, weights_sha256, card) VALUES
        ('DLR_LH', '1.0', repeat('a', 64), '{}'), ('DLR_BM', '1.0', repeat('b', 64), '{}')""",
    f"""CREATE TEMPORARY TABLE drawn AS
    SELECT n, md5(n::text)::uuid AS id, n % {KINDS} AS kind, n % 30 / 10 AS off,
        (enum_range(NULL::birads))[1 + n / {KINDS} % cardinality(enum_range(NULL::birads))] AS birads,
        (enum_range(NULL::priority))[1 + n / 7 % 3] AS priority,
        n * 37 % 1000 / 999.0 AS lh, n * 91 % 1000 / 999.0 AS bm
    FROM generate_series(0, {STUDIES} - 1) AS n""",
    """INSERT INTO study (id, study_instance_uid, revision, is_current, accession_number, content_digest, priority, job,
        source, state, attempts, claims, received_at, queued_at, finished_at, worklist_class, worklist_order,
        error_code, malignant_probability, discarded_at, purged_at)
    SELECT id,
        CASE WHEN kind < 9 OR off = 2 THEN '1.2.3.' || CASE kind WHEN 8 THEN n - 8 ELSE n END END,
        CASE kind WHEN 0 THEN 2 ELSE 1 END, kind <> 8, CASE WHEN kind < 9 THEN 'A' || n END,
        lpad(to_hex(n), 64, '0'), priority,
        CASE WHEN kind = 9 AND off = 1 THEN '{}' ELSE '{"schema_version": 1}' END::jsonb,
        'queue', state::study_state, 1, 1, now() - n * interval '1 second', CASE state WHEN 'queued' THEN now() END,
        CASE WHEN ended THEN now() END, class::worklist_class,
        CASE WHEN ended THEN
            (array_position(enum_range(NULL::worklist_class), class::worklist_class)::bigint * 10
                + array_position(enum_range(NULL::priority), priority) - 1) * 10000000000
            + CASE WHEN state IN ('done', 'partial') THEN 1 + round((1 - bm) * 1000000000)::bigint ELSE 0 END END,
        CASE WHEN state IN ('partial', 'failed') THEN 'image_unreadable' END,
        CASE WHEN state IN ('done', 'partial') THEN bm END,
        CASE WHEN kind = 9 AND off = 2 THEN now() END, CASE WHEN kind = 9 AND off = 1 THEN now() END
    FROM drawn,
        LATERAL (SELECT CASE WHEN kind < 4 OR kind = 8 OR kind = 9 AND off = 1 THEN 'done' WHEN kind = 4 THEN 'partial'
            WHEN kind = 6 THEN 'queued' WHEN kind = 7 THEN 'running' ELSE 'failed' END AS state) AS its,
        LATERAL (SELECT state IN ('done', 'partial', 'failed') AS ended) AS has,
        LATERAL (SELECT CASE WHEN NOT ended THEN NULL WHEN state = 'done' THEN 'not_applicable'
            ELSE 'needs_attention' END AS class) AS stands""",
    """INSERT INTO lesion (study_id, lesion_id, ordinal, sop_instance_uid, birads, state, error_code, site,
        scanner_model)
    SELECT drawn.id, 'L' || part, part, '1.2.3.' || n, birads, its.state,
        CASE its.state WHEN 'failed' THEN 'age_missing' END,
        CASE WHEN its.state = 'scored' THEN 'Hospital ' || n % 3 END, CASE WHEN its.state = 'scored' THEN 'Acme 1' END
    FROM drawn JOIN study ON study.id = drawn.id, generate_series(1, 2) AS part,
        LATERAL (SELECT (CASE WHEN study.state IN ('queued', 'running') THEN 'waiting'
            WHEN study.state = 'done' OR study.state = 'partial' AND part = 1 THEN 'scored' ELSE 'failed' END
        )::lesion_state AS state) AS its
    WHERE study.study_instance_uid IS NOT NULL OR purged_at IS NOT NULL""",
    """INSERT INTO prediction (lesion_id, model_id, probabilities, positive_probability, predicted_class, positive,
        threshold)
    SELECT lesion.id, model.id, '{}', p, 'class', p >= 0.5, 0.5
    FROM lesion JOIN drawn ON drawn.id = study_id CROSS JOIN model,
        LATERAL (SELECT CASE model.name WHEN 'DLR_LH' THEN lh ELSE bm END AS p) AS has
    WHERE lesion.state = 'scored'""",
    """INSERT INTO restratification (lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
        recommended)
    SELECT lesion.id, lh.id, bm.id, 'fig-s5/1', its.outcome::outcome, birads,
        CASE its.outcome WHEN 'upgraded' THEN '>4A' WHEN 'downgraded' THEN '3' ELSE birads::text END::recommendation
    FROM lesion
    JOIN prediction AS lh ON lh.lesion_id = lesion.id AND lh.model_id = (SELECT id FROM model WHERE name = 'DLR_LH')
    JOIN prediction AS bm ON bm.lesion_id = lesion.id AND bm.model_id = (SELECT id FROM model WHERE name = 'DLR_BM'),
        LATERAL (SELECT CASE WHEN birads <> '4A' THEN 'not_applicable' WHEN lh.positive AND bm.positive THEN 'upgraded'
            WHEN lh.positive OR bm.positive THEN 'maintained' ELSE 'downgraded' END AS outcome) AS its""",
)
LISTED = STUDIES * 8 // KINDS
"""Of ten studies one was replaced by another revision, and one is on no list."""


@pytest.fixture
def former(empty_database: Database) -> Iterator[Engine]:
    """A ledger of some thousand studies, as the software before it had it."""
    upgrade(empty_database.owner_url, BEFORE)
    engine = create_engine(driver_url(empty_database.superuser_url), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in FILL:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    yield engine
    engine.dispose()


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def started(database: Database, program: str = "from worker.cli.main import main; main()") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, "db", "upgrade"],
        env=command_line.clean_environment(DLR_DATABASE_OWNER_URL=database.owner_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(command: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for a command; return its exit status and the last line that it said."""
    _, said = command.communicate(timeout=patience(120))
    return command.returncode, said.strip().rpartition("\n")[2]


def placed(former: Engine) -> None:
    """Every study that belongs on the list has its place, and no other has one."""
    assert rows(former, "SELECT count(*), count(DISTINCT study_id) FROM worklist") == [(LISTED, LISTED)]
    assert rows(former, "SELECT count(*) FROM worklist_entry") == [(LISTED,)]
    assert rows(former, "SELECT placed_at IS NOT NULL FROM reading_order_policy WHERE state <> 'retired'") == [(True,)]


ORDER = "SELECT position, study_id, worklist_class::text FROM worklist ORDER BY position"


def test_every_study_is_placed_and_the_list_of_before_is_there_after_a_step_down(
    empty_database: Database, former: Engine
) -> None:
    before = rows(former, ORDER)
    assert len(before) == STUDIES * 6 // KINDS
    assert ended(started(empty_database)) == (0, "the schema is up to date")
    placed(former)
    tiers = rows(
        former,
        "SELECT DISTINCT highest_birads::text, state::text, tier FROM worklist "
        "WHERE highest_birads IN ('2', '3', '4C', '5') OR state IN ('partial', 'failed')",
    )
    assert {(birads, tier) for birads, _, tier in tiers if birads in ("4C", "5")} == {
        ("4C", "suspicious"),
        ("5", "suspicious"),
    }
    assert {tier for _, state, tier in tiers if state in ("partial", "failed")} == {"suspicious", "to_be_looked_at"}
    assert rows(former, "SELECT count(*) FROM worklist WHERE 'waiting' = ANY (marks)") == [(STUDIES * 2 // KINDS,)]
    assert rows(former, "SELECT count(*) FROM worklist WHERE site IS NULL") == [(STUDIES * 3 // KINDS,)]
    downgrade(empty_database.owner_url, BEFORE)
    assert rows(former, ORDER) == before
    assert ended(started(empty_database))[0] == 0
    placed(former)


def test_two_at_once_both_end_well(empty_database: Database, former: Engine) -> None:
    both = [started(empty_database) for _ in range(2)]
    assert [ended(one) for one in both] == [(0, "the schema is up to date")] * 2
    placed(former)
    before = rows(former, "SELECT study_id, place_order FROM worklist_entry ORDER BY study_id")
    assert ended(started(empty_database))[0] == 0
    assert rows(former, "SELECT study_id, place_order FROM worklist_entry ORDER BY study_id") == before


KILLED = """
import os, signal
from worker.scoring import reading_policy
reading_policy.BATCH = 100
whole = reading_policy.complete_places
def killed(sessions, told):
    whole(sessions, lambda done: os.kill(os.getpid(), signal.SIGKILL) if done >= 1000 else None)
reading_policy.complete_places = killed
from worker.cli.main import main
main()
"""


def test_one_that_is_killed_while_studies_are_placed_is_run_again(empty_database: Database, former: Engine) -> None:
    assert ended(started(empty_database, KILLED))[0] == -signal.SIGKILL
    assert rows(former, "SELECT count(*) FROM reading_order_policy WHERE placed_at IS NOT NULL") == [(0,)]
    assert ended(started(empty_database))[0] == 0
    placed(former)
