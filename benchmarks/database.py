"""The ledger: how fast results are written, and whether the worklist's top takes longer among more studies."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.measuring import Figure, Say, in_turns, seconds_of
from benchmarks.samples import cards
from db.reads import study_queries
from db.schema.records import (
    AssessmentRecord,
    Claim,
    LesionRecord,
    LesionResultRecord,
    PredictionRecord,
    StudyRecord,
    StudyResultRecord,
)
from db.session import make_engine, session_factory
from db.writes import ledger
from worker.scoring.bookkeeping import MOST_AT_ONCE
from worker.services.running_services import Services, running_services
from worker.settings import isolated

ROWS_A_LESION = 4
"""A lesion's own row, two predictions, and the advice."""

_TOP = 50


@contextmanager
def _services(say: Say) -> Iterator[Services]:
    with isolated(), TemporaryDirectory(prefix="dlr-benchmark-") as folder:
        say("starts PostgreSQL")
        with running_services(Path(folder), lambda _: None) as services:
            yield services


def write(say: Say, *, quick: bool) -> Figure:
    """Rows a second of results written in batches of studies, against the same results with a commit a lesion."""
    count, rounds = (64, 2) if quick else (640, 5)
    with _services(say) as services:
        sessions = session_factory(make_engine(services.settings.require_database_url()))
        with sessions.begin() as session:
            for card in cards():
                ledger.register_model(session, card.record())
        numbers = iter(range(1_000_000))

        def rate(batch: int) -> float:
            claims = _claimed(sessions, [next(numbers) for _ in range(count)])
            results = [_result(claim) for claim in claims]
            started = time.perf_counter()
            for place in range(0, count, batch):
                with sessions.begin() as session:
                    assert len(ledger.finish(session, results[place : place + batch])) == len(
                        results[place : place + batch]
                    )
            return count * ROWS_A_LESION / (time.perf_counter() - started)

        rate(MOST_AT_ONCE), rate(1)
        say("measures")
        ratio = in_turns(lambda: rate(MOST_AT_ONCE), lambda: rate(1), rounds)
    return Figure(
        "write",
        f"rows/s of results, {MOST_AT_ONCE} studies a transaction / one commit a lesion",
        ratio.median,
        ratio.spread,
        ratio.median >= 5,
        f"{statistics.median(ratio.ours):.0f} rows/s",
        f"{statistics.median(ratio.peers):.0f} rows/s",
    )


def _claimed(sessions: sessionmaker[Session], numbers: list[int]) -> list[Claim]:
    with sessions.begin() as session:
        studies = [ledger.record_study(session, _study(number)).study_id for number in numbers]
        claimed = ledger.claim(session, studies, 3, lease_s=600)
    return list(claimed.claims.values())


def _study(number: int) -> StudyRecord:
    lesion = LesionRecord("L1", f"1.2.3.{number}.1", 1, (10, 20, 30, 40), "4A")
    job = {"study_instance_uid": f"1.2.3.{number}"}
    return StudyRecord(f"1.2.3.{number}", f"{number:064x}", None, "routine", job, "benchmark", (lesion,))


def _result(claim: Claim) -> StudyResultRecord:
    parts = tuple(
        PredictionRecord(
            card.name,
            card.version,
            ((card.classes[0], 0.25), (card.classes[1], 0.75)),
            0.75,
            card.positive_class,
            positive=True,
            threshold=0.5,
        )
        for card in cards()
    )
    advice = AssessmentRecord("upgraded", "4A", ">4A", "fig-s5/1")
    lesion = LesionResultRecord(
        "L1", "scored", None, None, 47.0, "job", (10, 20, 30, 40), "job", predictions=parts, assessment=advice
    )
    return StudyResultRecord(claim.study_id, claim.attempt, "done", None, None, "upgraded", 0.75, lesions=(lesion,))


def worklist(say: Say, *, quick: bool) -> Figure:
    """Seconds for the worklist's top 50 at 10 million studies, against 10,000; and at 1 million."""
    few, *more = (10_000, 100_000) if quick else (10_000, 1_000_000, 10_000_000)
    times: dict[int, float] = {}
    with _services(say) as small, _services(say) as large:
        small_ledger, large_ledger = _Ledger(small), _Ledger(large)
        small_ledger.fill(few, say)
        for size in more:
            large_ledger.fill(size, say)
            ratio = in_turns(large_ledger.top, small_ledger.top, rounds=9)
            times |= {few: statistics.median(ratio.peers), size: statistics.median(ratio.ours)}
            say(f"{size:,} studies: the top {_TOP} in {1e3 * times[size]:.2f} ms, {ratio.median:.2f} of {few:,}'s")
        plan = large_ledger.plan()
    return Figure(
        "worklist",
        f"top {_TOP} at {more[-1]:,} / at {few:,} studies, seconds",
        ratio.median,
        ratio.spread,
        ratio.median <= 1.5,
        ", ".join(f"{1e3 * times[size]:.1f} ms at {size:,}" for size in more),
        f"{1e3 * times[few]:.1f} ms at {few:,}",
        {"plan": plan.splitlines(), "milliseconds": {size: round(1e3 * seconds, 2) for size, seconds in times.items()}},
    )


class _Ledger:
    """A ledger to be filled, as a worker and as a superuser see it."""

    def __init__(self, services: Services) -> None:
        assert services.postgres is not None
        self._sessions = session_factory(make_engine(services.settings.require_database_url()))
        with self._sessions.begin() as session:
            for card in cards():
                ledger.register_model(session, card.record())
        self._connection = psycopg2.connect(services.postgres.url("postgres"))
        self._connection.autocommit = True
        self._present = 0

    def fill(self, size: int, say: Say) -> None:
        """Add ended studies of one lesion, in the proportions of the published study's arms."""
        with self._connection.cursor() as cursor:
            # Foreign keys are not what is measured; checks and indexes stay.
            cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            for first in range(self._present + 1, size + 1, _STEP):
                last = min(first + _STEP - 1, size)
                for statement in _FILL:
                    cursor.execute(statement, {"first": first, "last": last})
                say(f"{last:,} studies are in")
            cursor.execute("VACUUM ANALYZE")
        self._present = size

    def top(self) -> float:
        """Return the median of the seconds that the top of the worklist takes."""
        return statistics.median(seconds_of(self._read) for _ in range(20))

    def _read(self) -> None:
        with self._sessions() as session:
            assert len(study_queries.worklist(session, _TOP)) == _TOP

    def plan(self) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) SELECT * FROM worklist WHERE position <= {_TOP}")
            return "\n".join(row[0] for row in cursor.fetchall())


_STEP = 500_000


_ID = "md5(n::text)::uuid"
_FILL = (
    f"""INSERT INTO study (id, study_instance_uid, content_digest, job, source, state, attempts, claims, finished_at,
            worklist_class, malignant_probability, received_at)
        SELECT {_ID}, '1.2.3.' || n, lpad(to_hex(n), 64, '0'), '{{"schema_version": 1}}', 'benchmark',
            'done', 1, 1, now(),
            (CASE WHEN n %% 100 < 18 THEN 'upgraded' WHEN n %% 100 < 72 THEN 'maintained' ELSE 'downgraded' END
            )::worklist_class,
            0.5, now() - n * interval '1 second'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    f"""INSERT INTO lesion (id, study_id, lesion_id, ordinal, sop_instance_uid, frame, birads, state)
        OVERRIDING SYSTEM VALUE
        SELECT n, {_ID}, 'L1', 1, '1.2.3.4.' || n, 1, '4A', 'scored'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    """INSERT INTO prediction (id, lesion_id, model_id, probabilities, positive_probability, predicted_class, positive,
            threshold)
        OVERRIDING SYSTEM VALUE
        SELECT 2 * n + part, n, (SELECT id FROM model WHERE name = names.name),
            '{"benign": 0.5, "malignant": 0.5}', 0.5, 'malignant', true, 0.5
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
            (VALUES (0, 'DLR_LH'), (1, 'DLR_BM')) AS names (part, name)""",
    """INSERT INTO restratification (lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
            recommended)
        SELECT n, 2 * n, 2 * n + 1, 'fig-s5/1',
            (CASE WHEN n %% 100 < 18 THEN 'upgraded' WHEN n %% 100 < 72 THEN 'maintained' ELSE 'downgraded' END
            )::outcome, '4A',
            (CASE WHEN n %% 100 < 18 THEN '>4A' WHEN n %% 100 < 72 THEN '4A' ELSE '3' END)::recommendation
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    f"""INSERT INTO worklist_entry (study_id, policy_id, tier, rule, lesion, category, probability, place_order,
            arrived_at, is_read)
        SELECT {_ID}, policy_id, tier, rule, 1, '4A', 0.5,
            tier * 1000000000::bigint + ('x' || substr(md5(n::text), 1, 7))::bit(28)::integer,
            now() - n * interval '1 second', false
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
        JOIN reading_order_rule ON rule = CASE WHEN n %% 100 < 18 THEN 2 WHEN n %% 100 < 72 THEN 7 ELSE 10 END""",
)
