"""``python -m tests.db.released.freeze [REVISION]``: freeze a schema with rows in every table, for all later versions.

Without a revision it is the latest, as of a release; nothing that is frozen is written again. The rows are this
version's, taken down to the revision.
"""

import gzip
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import NullPool, create_engine, text

from db.migrate import downgrade, upgrade
from db.schema.impact import REVISION
from db.schema.roles import OWNER, READER, SHADOW, WEB, WRITER
from db.schema.vocabulary import Destination
from db.session import driver_url
from db.writes import ledger, outbox
from tests.conftest import Database
from tests.db.samples import arrived, digest, ended, lesion, read, refused, scored, study, writing
from worker.services.embedded_postgres import SUPERUSER, EmbeddedPostgres, _binaries
from worker.services.home import Home

PLACE = Path(__file__).parent
_NOISE = re.compile(r"^(?:\\.*|--.*|(?:CREATE|ALTER|COMMENT ON|GRANT .*|REVOKE .*) SCHEMA .*|)\n", re.MULTILINE)
"""Comments, a token of each run, and the schema as such, which every database has; the migrations see to its rights."""

# What no function writes without a worker, a policy that is being applied, or an import.
_BESIDE = """
INSERT INTO pathology (lesion_id, result, histology)
    SELECT id, 'malignant', 'carcinoma' FROM lesion ORDER BY id LIMIT 1;
INSERT INTO prediction_refusal (lesion_id, model_id, error_code)
    SELECT lesion.id, model.id, 'file_not_found' FROM lesion, model ORDER BY 1, 2 LIMIT 1;
INSERT INTO open_study (study_id, reader) SELECT id, 'anne' FROM study ORDER BY received_at LIMIT 1;
INSERT INTO reading_order_switch (by, before, after) VALUES ('anne', 'suspicion/1', 'suspicion/2');
INSERT INTO reading_order_changed SELECT policy.id, study.id FROM reading_order_policy AS policy, study LIMIT 1;
"""


def fill(database: Database) -> None:
    """Write studies in every state, and a row into every table."""
    with writing(database) as sessions, sessions.begin() as session:
        outbox.switch_on(session, Destination.PACS)
        done = ended(session, study("1.2.1", "one", priority="stat"), scored(lh=0.9, bm=0.8))
        read(session, done.study_id, "anne", "5", agrees=True)
        two = study("1.2.2", "two", lesions=(lesion(), lesion("L2", "3")))
        ended(session, two, scored(lh=0.2, bm=0.1), refused("L2"))
        ended(session, study("1.2.3", "three"), refused())
        arrived(session, study("1.2.4", "four"))
        ended(session, study("1.2.5", "five"), scored(lh=0.2, bm=0.3))
        arrived(session, study("1.2.5", "five, corrected"))
        ledger.record_refusal(session, digest("refused"), {}, "job_invalid", "no lesions", "queue")
    with sessions.begin() as session:
        outbox.make_deliveries(session, Destination.PACS, 10)
    with create_engine(driver_url(database.superuser_url), poolclass=NullPool).begin() as connection:
        connection.execute(text(_BESIDE))


def pg_dump(url: str, *options: str) -> str:
    """Return the SQL that makes what is in the schema ``public``."""
    command = [_binaries() / "pg_dump", "--schema=public", "--no-password", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return _NOISE.sub("", done.stdout)


def _freeze(server: EmbeddedPostgres, revision: str) -> str:
    def database(name: str) -> Database:
        server.create_database(name)
        return Database(*(server.url(user, name) for user in (OWNER, WRITER, READER, SUPERUSER, WEB, SHADOW)))

    filled, made = database("filled"), database("made")
    upgrade(filled.owner_url)
    fill(filled)
    if revision != REVISION:
        downgrade(filled.owner_url, revision)
    upgrade(made.owner_url, revision)
    _require_rows(filled)
    # The rows are a former schema's; the tables are made anew, since a step down leaves columns in another order.
    return (
        pg_dump(made.superuser_url, "--section=pre-data")
        + pg_dump(filled.superuser_url, "--section=data", "--column-inserts")
        + pg_dump(made.superuser_url, "--section=post-data")
    )


def _require_rows(database: Database) -> None:
    with create_engine(driver_url(database.superuser_url), poolclass=NullPool).connect() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        empty = [name for name in tables if not connection.scalar(text(f"SELECT EXISTS (SELECT FROM {name})"))]
    if empty:
        sys.exit(f"without rows: {', '.join(empty)}; let `fill` write some")


def main() -> None:
    revision = sys.argv[1] if len(sys.argv) > 1 else REVISION
    target = PLACE / f"{revision}.sql.gz"
    if target.exists():
        sys.exit(f"{target.name} is frozen")
    with TemporaryDirectory(prefix="dlr-freeze-") as folder:
        server = EmbeddedPostgres(Home(Path(folder) / "home"))
        server.start()
        try:
            frozen = _freeze(server, revision)
        finally:
            server.stop()
    target.write_bytes(gzip.compress(frozen.encode(), mtime=0))
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
