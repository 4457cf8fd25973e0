"""``python -m benchmarks.upgrading``: how long others wait for ``study`` while a ledger of many studies is upgraded.

From the first schema to this one, each migration beside somebody who reads and somebody who writes ``study`` all the
time. The row without a migration is what the machine itself makes them wait. 1 million studies take 3 GB of the folder
for temporary files.
"""

import argparse
import time
from contextlib import closing

import psycopg2

from benchmarks.database import fresh_services
from benchmarks.lock_probe import Waited, probing
from benchmarks.machine import machine
from benchmarks.measuring import say_on_stderr
from db.migrate import clear, pending, upgrade
from worker.cli.output import Format, print_json, print_rows
from worker.services.running_services import Services

FIRST = "0001"
COLUMNS = ("migration", "reader_ms", "writer_ms", "seconds", "grows_with")

_FILL = (
    "SET session_replication_role = replica; SET synchronous_commit = off",  # foreign keys are not what is measured
    """INSERT INTO model (name, version, weights_sha256, card)
        SELECT name, '1', repeat('0', 64), '{}' FROM unnest(ARRAY['DLR_LH', 'DLR_BM']) AS name""",
    """INSERT INTO study (id, study_instance_uid, content_digest, job, source, state, finished_at, worklist_class,
            worklist_order, malignant_probability, accession_number)
        SELECT md5(n::text)::uuid, '1.2.3.' || n, lpad(to_hex(n), 64, '0'), '{"schema_version": 1}', 'benchmark',
            'done', now(), 'not_applicable', n, 0.5, 'A' || n
        FROM generate_series(1, %(size)s::bigint) AS n""",
    """INSERT INTO lesion (id, study_id, lesion_id, ordinal, sop_instance_uid, birads, state)
        OVERRIDING SYSTEM VALUE
        SELECT n, md5(n::text)::uuid, 'L1', 1, '1.2.3.4.' || n, '3', 'scored'
        FROM generate_series(1, %(size)s::bigint) AS n""",
    """INSERT INTO prediction (id, lesion_id, model_id, probabilities, positive_probability, predicted_class, positive,
            threshold)
        OVERRIDING SYSTEM VALUE
        SELECT 2 * n + model.id, n, model.id, '{}', 0.5, 'class', true, 0.5
        FROM generate_series(1, %(size)s::bigint) AS n, model""",
    """INSERT INTO restratification (id, lesion_id, lh_prediction_id, bm_prediction_id, rule_version, outcome, original,
            recommended)
        OVERRIDING SYSTEM VALUE
        SELECT n, n, 2 * n + 1, 2 * n + 2, 'fig-s5/1', 'not_applicable', '3', '3'
        FROM generate_series(1, %(size)s::bigint) AS n""",
    "VACUUM ANALYZE",
)


Row = dict[str, object]


def longest_waits(size: int) -> list[Row]:
    """Upgrade a ledger of so many studies, and say of each migration how long somebody waited for ``study`` at most."""
    with fresh_services(say_on_stderr) as services:
        _fill(services, size)
        say_on_stderr(f"{size:,} studies are in")
        url, superuser = services.settings.require_owner_url(), _superuser(services)
        with probing(superuser) as waited:
            time.sleep(5)
        rows = [_row("none", waited, 5, "")]
        for step in pending((FIRST,)):
            began = time.monotonic()
            with probing(superuser) as waited:
                upgrade(url, step.revision)
            rows.append(_row(step.revision, waited, time.monotonic() - began, step.module.impact.grows_with))
            say_on_stderr(f"{rows[-1]}")
    return rows


def _row(migration: str, waited: Waited, seconds: float, grows_with: str) -> Row:
    return {
        "migration": migration,
        "reader_ms": round(1e3 * waited.reader),
        "writer_ms": round(1e3 * waited.writer),
        "seconds": round(seconds, 1),
        "grows_with": grows_with,
    }


def _fill(services: Services, size: int) -> None:
    clear(services.settings.require_owner_url())
    upgrade(services.settings.require_owner_url(), FIRST)
    with closing(psycopg2.connect(_superuser(services))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in _FILL:
                cursor.execute(statement, {"size": size})


def _superuser(services: Services) -> str:
    assert services.postgres is not None
    return services.postgres.url("postgres")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrading", description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000_000, help="(1000000)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    asked = parser.parse_args()
    rows = longest_waits(asked.studies)
    if asked.format == "json":
        print_json({"machine": machine(), "studies": asked.studies, "migrations": rows})
    else:
        print_rows(rows, COLUMNS, Format.TABLE, title=f"{asked.studies:,} studies: {machine()['summary']}")


if __name__ == "__main__":
    main()
