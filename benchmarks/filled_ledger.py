"""A ledger with as many studies as wanted, which look like a hospital's: for the rows of the worklist."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from sqlalchemy import select

from benchmarks.measuring import Say
from benchmarks.samples import cards
from db.reads.standings import standings
from db.schema.roles import WEB, WRITER
from db.schema.worklist import WorklistEntryRow
from db.session import make_engine, session_factory
from db.writes import ledger
from db.writes.reading_order import served_policies
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import parse_policy
from worker.scoring.worklist_place import facts_of
from worker.services.running_services import Services

_STEP = 250_000
NEWEST, APART = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=20)
"""Study ``n`` arrived ``n`` times ``APART`` before."""

SITES = {"large": "Large Hospital", "medium": "Hospital 42", "small": "Small Practice", "rare": "Rare Practice"}


_SALTS = {"priority": 1, "state": 2, "birads": 3, "lh": 4, "bm": 5, "site": 6, "side": 7}


def _share(of: str) -> str:
    """Return the SQL of a number from 0 to 1 that belongs to study ``n`` and looks like chance."""
    return f"((hashint8extended(n, {_SALTS[of]}) & 16777215) / 16777216.0::double precision)"


_DRAW = f"""
CREATE TEMPORARY TABLE drawn AS
SELECT *,
    state IN ('done', 'partial') AS scored,
    (CASE
        WHEN state IN ('queued', 'failed') THEN NULL
        WHEN birads <> '4A' THEN 'not_applicable'
        WHEN lh >= 0.5 AND bm >= 0.5 THEN 'upgraded'
        WHEN lh < 0.5 AND bm < 0.5 THEN 'downgraded'
        ELSE 'maintained'
    END)::outcome AS outcome
FROM (
    SELECT n,
        md5(n::text)::uuid AS id,
        (CASE WHEN of_priority < 0.005 THEN 'stat' WHEN of_priority < 0.04 THEN 'urgent' ELSE 'routine' END
        )::priority AS priority,
        (CASE WHEN n <= 2000 THEN 'queued' WHEN of_state < 0.004 THEN 'failed' WHEN of_state < 0.008 THEN 'partial'
            ELSE 'done' END)::study_state AS state,
        (CASE WHEN of_birads < 0.02 THEN '0' WHEN of_birads < 0.05 THEN '1' WHEN of_birads < 0.25 THEN '2'
            WHEN of_birads < 0.59 THEN '3' WHEN of_birads < 0.84 THEN '4A' WHEN of_birads < 0.91 THEN '4B'
            WHEN of_birads < 0.95 THEN '4C' WHEN of_birads < 0.98 THEN '5' ELSE '6' END)::birads AS birads,
        round((of_birads * 0.6 + of_lh * 0.4) * 1000000) / 1000000 AS lh,
        round((of_birads * 0.6 + of_bm * 0.4) * 1000000) / 1000000 AS bm,
        CASE WHEN of_site < 0.7 THEN '{SITES["large"]}' WHEN of_site < 0.995 THEN 'Hospital ' || floor(of_site * 60)
            WHEN of_site < 0.99999 THEN '{SITES["small"]}' ELSE '{SITES["rare"]}' END AS site,
        'Maker Model ' || floor(of_site * 10) || chr(65 + (n %% 4)::integer) AS scanner,
        (CASE WHEN of_side < 0.45 THEN 'left' WHEN of_side < 0.9 THEN 'right' WHEN of_side < 0.95 THEN 'both' END
        )::laterality AS laterality,
        timestamptz '{NEWEST:%Y-%m-%d}Z' - n * interval '{APART.seconds} seconds' AS received_at,
        n %% 5 = 0 AND n > 2000 AS is_read
    FROM (
        SELECT n, {_share("priority")} AS of_priority, {_share("state")} AS of_state, {_share("birads")} AS of_birads,
            {_share("lh")} AS of_lh, {_share("bm")} AS of_bm, {_share("site")} AS of_site, {_share("side")} AS of_side
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ) AS shares
) AS study
"""
_SOURCES = (
    """INSERT INTO study (id, study_instance_uid, accession_number, content_digest, priority, job, source, state,
            attempts, claims, queued_at, finished_at, worklist_class, error_code, malignant_probability, received_at,
            site, scanner_model, laterality, read_at, read_tier)
        SELECT id, '1.2.3.' || n, 'A' || lpad(n::text, 9, '0'), lpad(to_hex(n), 64, '0'), priority,
            '{"schema_version": 1}', 'benchmark', state, 1, 1,
            CASE state WHEN 'queued' THEN received_at END,
            CASE WHEN state <> 'queued' THEN received_at END,
            (CASE WHEN state = 'queued' THEN NULL WHEN outcome = 'upgraded' THEN 'upgraded'
                WHEN state IN ('failed', 'partial') THEN 'needs_attention' ELSE outcome::text END)::worklist_class,
            CASE WHEN state IN ('partial', 'failed') THEN 'image_unreadable' END,
            CASE WHEN scored THEN bm END, received_at,
            CASE WHEN scored THEN site END, CASE WHEN scored THEN scanner END, CASE WHEN scored THEN laterality END,
            CASE WHEN is_read THEN received_at END, CASE WHEN is_read THEN 'outcome/1 of before' END
        FROM drawn""",
    """INSERT INTO lesion (id, study_id, lesion_id, ordinal, birads, state, error_code)
        OVERRIDING SYSTEM VALUE
        SELECT 2 * n + part, id, 'L' || part, part, birads, now.state,
            CASE now.state WHEN 'failed' THEN 'image_unreadable' END
        FROM drawn, generate_series(1, CASE state WHEN 'partial' THEN 2 ELSE 1 END) AS part, LATERAL (SELECT (
            CASE WHEN drawn.state = 'queued' THEN 'waiting' WHEN part = 1 AND scored THEN 'scored' ELSE 'failed' END
        )::lesion_state AS state) AS now""",
    """INSERT INTO marked_image (id, lesion_id, ordinal, sop_instance_uid, frame, state, error_code, region_x, region_y,
            region_width, region_height, region_source)
        OVERRIDING SYSTEM VALUE
        SELECT lesion.id, lesion.id, 1, '1.2.3.4.' || n, 1, lesion.state, lesion.error_code,
            at.x, at.x, at.x, at.x, CASE WHEN at.x IS NOT NULL THEN 'job'::region_source END
        FROM drawn JOIN lesion ON lesion.study_id = drawn.id,
            LATERAL (SELECT CASE WHEN lesion.state = 'scored' THEN 100 END AS x) AS at""",
    """INSERT INTO prediction (id, lesion_id, model_id, probabilities, positive_probability, predicted_class, positive,
            threshold)
        OVERRIDING SYSTEM VALUE
        SELECT 2 * n + part, 2 * n + 1, model.id, '{}', p, 'class', p >= 0.5, 0.5
        FROM drawn, LATERAL (VALUES (0, 'DLR_LH', lh), (1, 'DLR_BM', bm)) AS said (part, name, p)
        JOIN model ON model.name = said.name
        WHERE scored""",
    """INSERT INTO image_prediction (image_id, model_id, positive_probability)
        SELECT 2 * n + 1, model.id, p
        FROM drawn, LATERAL (VALUES ('DLR_LH', lh), ('DLR_BM', bm)) AS said (name, p)
        JOIN model ON model.name = said.name
        WHERE scored""",
    """INSERT INTO restratification (id, lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
            recommended)
        OVERRIDING SYSTEM VALUE
        SELECT n, 2 * n + 1, 2 * n, 2 * n + 1, 'fig-s5/1', outcome, birads,
            (CASE outcome WHEN 'upgraded' THEN '>4A' WHEN 'downgraded' THEN '3' ELSE birads::text END)::recommendation
        FROM drawn WHERE scored""",
)
_WHOLE, _OF_PRIORITY = 3 * 11 * (10**9 + 2), 10**9 + 2
_ENTRIES = f"""
INSERT INTO worklist_entry (study_id, policy_id, tier, rule, lesion, category, probability, place_order, arrived_at,
        is_read, marks, state, priority, worklist_class, site, scanner_model, laterality, received_at)
SELECT drawn.id, policy_id, tier, rule,
    CASE WHEN rule IN (4, 5) THEN NULL WHEN rule = 1 AND drawn.state = 'partial' THEN 2 ELSE 1 END, drawn.birads,
    CASE WHEN scored THEN bm END,
    ((CASE drawn.priority WHEN 'stat' THEN 0 ELSE 1 END) * 5 + tier) * {_WHOLE}
        + (array_position(enum_range(NULL::priority), drawn.priority) - 1)::bigint * {_OF_PRIORITY}
            * (CASE tier WHEN 2 THEN 11 ELSE 1 END)
        + CASE WHEN tier = 2 THEN category_rank::bigint * {_OF_PRIORITY} ELSE 0 END
        + CASE WHEN scored THEN 1 + round((1 - bm) * 1000000000)::bigint ELSE 0 END,
    study.received_at, drawn.is_read,
    CASE WHEN study.state = 'queued' THEN ARRAY['waiting'] WHEN rule = 6 THEN ARRAY['discordant'] ELSE '{{}}' END,
    CASE study.state WHEN 'queued' THEN 'waiting' ELSE study.state::text END, study.priority, study.worklist_class,
    study.site, study.scanner_model, study.laterality, study.received_at
FROM drawn
JOIN study ON study.id = drawn.id
JOIN (VALUES ('0', 1), ('5', 2), ('4C', 3), ('4B', 4), ('4A', 6), ('3', 7), ('6', 8), ('2', 9), ('1', 10)
) AS ranks (category, category_rank) ON category = drawn.birads::text
CROSS JOIN LATERAL (SELECT CASE
    WHEN drawn.birads IN ('4C', '5') THEN 1
    WHEN outcome = 'upgraded' THEN 2
    WHEN drawn.birads IN ('0', '4B') AND scored AND lh >= 0.5 AND bm >= 0.5 THEN 3
    WHEN drawn.state = 'partial' THEN 4
    WHEN drawn.state = 'failed' THEN 5
    WHEN drawn.birads IN ('1', '2', '3') AND scored AND lh >= 0.5 AND bm >= 0.5 THEN 6
    WHEN outcome = 'maintained' THEN 7
    WHEN drawn.birads IN ('0', '4B') AND scored THEN 8
    WHEN drawn.birads IN ('0', '4A', '4B') AND NOT scored THEN 9
    WHEN drawn.birads = '4A' THEN 10
    WHEN drawn.birads = '3' THEN 11
    WHEN drawn.birads = '6' THEN 12
    ELSE 13
END AS number) AS decides
JOIN reading_order_rule ON rule = decides.number
JOIN reading_order_policy ON reading_order_policy.id = policy_id AND reading_order_policy.state = 'active'
"""


class FilledLedger:
    """A ledger to be filled, as a superuser, as a worker and as the page see it."""

    def __init__(self, services: Services) -> None:
        assert services.postgres is not None
        self.writing = session_factory(make_engine(services.postgres.url(WRITER)))
        self.reading = session_factory(make_engine(services.postgres.url(WEB), role=WEB))
        self._connection = psycopg2.connect(services.postgres.url("postgres"))
        self._connection.autocommit = True
        self.size = 0
        with self.writing.begin() as session:
            for card in cards():
                ledger.register_model(session, card.record())

    def fill(self, size: int, say: Say) -> None:
        """Add studies until there are so many; the latest 2,000 wait for their scores, a fifth was read."""
        with self._connection.cursor() as cursor, _without_indexes(cursor):
            # Foreign keys are not what is measured; checks stay.
            cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            for first in range(self.size + 1, size + 1, _STEP):
                last = min(first + _STEP - 1, size)
                cursor.execute(_DRAW, {"first": first, "last": last})
                for statement in (*_SOURCES, _ENTRIES, "DROP TABLE drawn"):
                    cursor.execute(statement)
                say(f"{last:,} studies are in")
        with self._connection.cursor() as cursor:
            for table in ("lesion", "marked_image", "prediction", "restratification"):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}")
            cursor.execute("VACUUM ANALYZE")
        self.size = size
        self._compare()

    def explain(self, query: str) -> list[str]:
        """Return the plan of a query of the page, carried out."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {query}")
            return [row[0] for row in cursor.fetchall()]

    def _compare(self) -> None:
        """Check that studies stand where the policy puts them."""
        with self.writing() as session:
            policy = next(one for one in served_policies(session) if one.active)
            some = select(WorklistEntryRow).order_by(WorklistEntryRow.study_id).limit(2000)
            stored = {row.study_id: row for row in session.scalars(some)}
            for study in standings(session, list(stored)):
                row, at = stored[study.study_id], place(parse_policy(policy.document), facts_of(study))
                assert (row.place_order, row.rule, row.lesion) == (at.order, at.rule, at.lesion), (study, at)


@contextmanager
def _without_indexes(cursor: Any) -> Iterator[None]:
    """Build the indexes, but those of constraints, once at the end."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY (%s)"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        (["study", "lesion", "prediction", "restratification", "worklist_entry"],),
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    cursor.execute("SET maintenance_work_mem = '1GB'")
    for _, definition in indexes:
        # PostgreSQL says of a partitioned table's that it is of that alone; each partition has it, too.
        cursor.execute(definition.replace(" ON ONLY ", " ON "))
