import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from db.errors import DatabaseRefused, RoleRefused
from db.migrate import LOCK_KEY, PAGE_VIEWS, VIEWS, check, downgrade, upgrade
from db.schema.metadata import TABLES
from db.session import driver_url, make_engine
from tests.conftest import Database
from tests.waiting import patience, until
from worker.services.embedded_postgres import EmbeddedPostgres

OURS = "n.nspname = 'public' AND c.relname <> 'alembic_version' AND NOT c.relispartition"

# Everything that the models and the migration both declare, as PostgreSQL itself writes it down.
CATALOGUE = {
    "columns": f"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE {OURS} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": f"""
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {OURS}""",
    "indexes": f"""
        SELECT c.relname, pg_get_indexdef(i.indexrelid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {OURS}""",
    "comments": f"""
        SELECT c.relname, obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind IN ('r', 'p')""",
}


def objects(connection: Connection) -> set[str]:
    """Every table, view, type and function of the schema."""
    found = connection.scalars(
        text(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace "
            "UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
    )
    return {name for name in found if "alembic_version" not in name}


def connect(url: str) -> Any:
    return create_engine(driver_url(url), poolclass=NullPool).connect()


def test_up_down_and_up_again_leaves_the_schema_that_the_software_expects(empty_database: Database) -> None:
    url = empty_database.owner_url
    upgrade(url)
    assert check(url) == []
    with connect(url) as connection:
        first = objects(connection)
    downgrade(url, "base")
    with connect(url) as connection:
        assert objects(connection) == set()
    assert check(url) == [f"migration {number:04} is pending" for number in range(1, 26)]
    upgrade(url)
    with connect(url) as connection:
        assert objects(connection) == first
    assert check(url) == []


def test_messages_that_were_refused_before_get_their_names_and_end_where_their_study_was_accepted(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url, "0011")
    jobs = {
        "a": '{"study_instance_uid": "1.2.3", "accession_number": "A1", "lesions": []}',
        "b": '{"study_instance_uid": "1.2.x", "accession_number": 7}',
        "c": '"text"',
        "d": '{"study_instance_uid": "1.2.4", "accession_number": ""}',
    }
    refusal = (
        "INSERT INTO study (content_digest, job, source, state, error_code, finished_at, worklist_class, "
        "worklist_order, received_at) VALUES (:digest, CAST(:job AS jsonb), 'queue', 'failed', 'job_invalid', now(), "
        "'needs_attention', 1, now() - interval '1 day')"
    )
    accepted = (
        "INSERT INTO study (study_instance_uid, content_digest, job, source) "
        "VALUES ('1.2.3', repeat('f', 64), '{}', 'queue')"
    )
    with connect(empty_database.owner_url) as connection:
        for letter, job in jobs.items():
            connection.execute(text(refusal), {"digest": letter * 64, "job": job})
        connection.execute(text(accepted))
        connection.commit()
    upgrade(empty_database.owner_url)
    with connect(empty_database.owner_url) as connection:
        rows = connection.execute(
            text(
                "SELECT left(content_digest, 1), named_study_uid, accession_number, discarded_at IS NOT NULL"
                " FROM study WHERE study_instance_uid IS NULL ORDER BY 1"
            )
        )
        assert [tuple(row) for row in rows] == [
            ("a", "1.2.3", "A1", True),
            ("b", None, None, False),
            ("c", None, None, False),
            ("d", "1.2.4", None, False),
        ]
        assert connection.scalars(text("SELECT event FROM study_event")).all() == ["retired"]
        assert connection.scalar(text("SELECT count(*) FROM failed_study WHERE refused")) == 3


IMAGES_OF_LESIONS = """
    INSERT INTO study (study_instance_uid, content_digest, job, source)
        VALUES ('1.2.3', repeat('a', 64), '{}', 'queue');
    INSERT INTO lesion (study_id, lesion_id, ordinal, birads, state, error_code, age_years, age_source, clock_position)
        SELECT study.id, said.name, said.ordinal, said.birads::birads, said.state::lesion_state, said.code, 47, 'job', 3
        FROM study, (VALUES ('one', 1, '4A', 'scored', NULL), ('second', 2, '4B', 'scored', NULL),
                            ('none', 3, '3', 'failed', 'file_not_found'))
            AS said (name, ordinal, birads, state, code);
    INSERT INTO marked_image (lesion_id, ordinal, sop_instance_uid, frame, state, error_code, roi_x, roi_y, roi_width,
                              roi_height, region_x, region_y, region_width, region_height, region_source, gate,
                              width_mm, height_mm)
        SELECT lesion.id, said.image, said.sop, said.frame, said.state::lesion_state, said.code, said.x, 2, 3, 4,
               region.x, region.y, region.width, region.height, region.source, said.gate, said.mm, 2 * said.mm
        FROM (VALUES ('one', 1, 'a', 7, 'scored', NULL, 10, ARRAY['roi_blank'], 4.0),
                     ('second', 1, 'b', NULL, 'failed', 'pixels_uniform', 20, '{}', NULL),
                     ('second', 2, 'c', 2, 'scored', NULL, 30, '{roi_saturated}', 5.0),
                     ('second', 3, 'd', 3, 'scored', NULL, 40, '{}', 6.0),
                     ('none', 1, 'e', NULL, 'failed', 'file_not_found', 50, '{}', NULL),
                     ('none', 2, 'f', NULL, 'failed', 'file_not_found', 60, '{}', NULL))
            AS said (name, image, sop, frame, state, code, x, gate, mm)
        JOIN lesion ON lesion.lesion_id = said.name
        LEFT JOIN (VALUES ('scored', 1, 2, 3, 4, 'job'::region_source)) AS region (state, x, y, width, height, source)
            ON region.state = said.state;
"""


def test_down_from_several_images_a_lesion_keeps_the_first_that_was_scored_and_up_again_has_that_one(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url)
    with connect(empty_database.owner_url) as connection:
        connection.execute(text(IMAGES_OF_LESIONS))
        connection.commit()
    downgrade(empty_database.owner_url, "0016")
    kept = "lesion_id, sop_instance_uid, frame, roi_x, region_x, state::text, gate, width_mm, aspect_ratio"
    expected = [
        ("one", "a", 7, 10, 1, "scored", ["roi_blank"], 4.0, 2.0),
        ("second", "c", 2, 30, 1, "scored", ["roi_saturated"], 5.0, 2.0),
        ("none", "e", None, 50, None, "failed", [], None, None),
    ]
    with connect(empty_database.owner_url) as connection:
        rows = connection.execute(text(f"SELECT {kept} FROM lesion ORDER BY ordinal")).all()
        assert [tuple(row) for row in rows] == expected
        seen = connection.execute(
            text("SELECT lesion_id, sop_instance_uid, region_x FROM lesion_result ORDER BY ordinal")
        )
        assert [tuple(row) for row in seen] == [(row[0], row[1], row[4]) for row in expected]
    upgrade(empty_database.owner_url)
    with connect(empty_database.owner_url) as connection:
        rows = connection.execute(
            text(
                "SELECT lesion_id, images, images_refused, sop_instance_uid, clock_position "
                "FROM lesion_result ORDER BY 1"
            )
        )
        assert [tuple(row) for row in rows] == [
            ("none", 1, 1, "e", None), ("one", 1, 0, "a", None), ("second", 1, 0, "c", None),
        ]  # fmt: skip


def test_a_database_with_a_lesion_of_4_without_a_letter_does_not_go_down_and_stays_as_it_is(
    empty_database: Database,
) -> None:
    upgrade(empty_database.owner_url)
    with connect(empty_database.owner_url) as connection:
        connection.execute(text(IMAGES_OF_LESIONS))
        connection.execute(text("UPDATE lesion SET birads = '4' WHERE lesion_id = 'one'"))
        connection.commit()
    with pytest.raises(DatabaseRefused, match=r"BI-RADS 4 without a letter: 1, .* restore a backup"):
        downgrade(empty_database.owner_url, "0016")
    assert check(empty_database.owner_url) == []
    with connect(empty_database.owner_url) as connection:
        assert connection.scalar(text("SELECT count(*) FROM image_result")) == 6


@pytest.mark.parametrize("former", ["0004", "0009", "0011", "0013", "0017"])
def test_a_step_down_leaves_the_views_and_their_rights_as_they_were_before_the_step_up(
    empty_database: Database, former: str
) -> None:
    def views() -> set[tuple[Any, ...]]:
        with connect(empty_database.owner_url) as connection:
            return {
                tuple(row)
                for row in connection.execute(
                    text(
                        "SELECT relname, pg_get_viewdef(c.oid), relacl::text, reloptions::text, attname, "
                        "col_description(c.oid, attnum), obj_description(c.oid, 'pg_class') FROM pg_class c "
                        "JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 "
                        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"
                    )
                )
            }

    upgrade(empty_database.owner_url, former)
    before = views()
    upgrade(empty_database.owner_url)
    assert views() != before
    downgrade(empty_database.owner_url, former)
    assert views() == before


@pytest.mark.parametrize("view", sorted((*VIEWS, *PAGE_VIEWS)))
def test_a_view_is_written_down_as_the_latest_migration_made_it(database: Database, view: str) -> None:
    written = (files("db") / "views" / f"{view}.sql").read_text("utf-8")
    frozen = [path for path in (files("migrations") / "views").iterdir() if path.name.startswith(f"{view}.")]
    assert written == max(frozen, key=lambda path: path.name).read_text("utf-8")
    with connect(database.owner_url) as connection:
        columns = connection.execute(
            text(
                "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
                "WHERE attrelid = CAST(:view AS regclass) AND attnum > 0"
            ),
            {"view": view},
        )
        for column, meaning in columns:
            quoted = re.escape(meaning.replace("'", "''"))
            assert re.search(rf"COMMENT ON COLUMN {view}\.{column} IS\s+'{quoted}';", written), column


def test_the_models_and_the_migration_declare_the_same_to_the_letter(
    database: Database, empty_database: Database
) -> None:
    engine = create_engine(driver_url(empty_database.owner_url), poolclass=NullPool)
    TABLES.create_all(engine)
    with engine.connect() as modelled, connect(database.owner_url) as migrated:
        for catalogue, query in CATALOGUE.items():
            wanted = {tuple(row) for row in modelled.execute(text(query))}
            assert wanted, catalogue
            assert {tuple(row) for row in migrated.execute(text(query))} == wanted, catalogue


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE study ADD COLUMN colour text", "the tables differ from the models: remove_column study colour"),
        ("DROP INDEX ix_study_queue", "the tables differ from the models: add_index ix_study_queue"),
        ("ALTER TYPE priority ADD VALUE 'never'", "the enumeration priority has other words"),
        ("DROP VIEW failed_study", "the view failed_study is missing"),
        ("UPDATE alembic_version SET version_num = '9999'", "the database has a migration that this version"),
    ],
)
def test_a_check_names_what_somebody_changed_by_hand(database: Database, change: str, difference: str) -> None:
    with connect(database.owner_url) as connection:
        connection.execute(text(change))
        connection.commit()
    found = check(database.owner_url)
    assert len(found) == 1
    assert found[0].startswith(difference)


def test_a_table_of_somebody_else_in_the_same_database_is_no_difference(database: Database) -> None:
    with connect(database.owner_url) as connection:
        connection.execute(text("CREATE TABLE somebody_elses (id int)"))
        connection.commit()
    assert check(database.owner_url) == []


def test_the_running_user_may_check(database: Database) -> None:
    assert check(database.writer_url) == []


def test_everything_belongs_to_the_owner_when_a_superuser_migrates(empty_database: Database) -> None:
    upgrade(empty_database.superuser_url)
    with connect(empty_database.superuser_url) as connection:
        owners = connection.scalars(
            text(
                "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "UNION SELECT pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace "
                "UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            )
        )
        assert set(owners) == {"dlr_owner"}


def test_a_database_that_a_superuser_owns_can_be_migrated_by_it(postgres: EmbeddedPostgres) -> None:
    name = f"test_of_the_superuser_{uuid4().hex}"
    with postgres.as_superuser() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        url = postgres.url("postgres", name)
        upgrade(url)
        assert check(url) == []
        cursor.execute(f"DROP DATABASE {name}")


def test_a_user_who_is_not_the_owner_is_told_what_to_ask_for(empty_database: Database) -> None:
    with pytest.raises(RoleRefused, match="ask an administrator for: GRANT dlr_owner TO"):
        upgrade(empty_database.writer_url)


def test_two_migrations_at_once_do_the_work_once(empty_database: Database) -> None:
    # Alembic's context belongs to one process. They wait for the lock, so that neither is ahead of the other.
    program = f"from db.migrate import upgrade; upgrade({empty_database.owner_url!r})"
    waiting = text("SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND database = :here AND NOT granted")
    with connect(empty_database.superuser_url) as connection:
        here = connection.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
        connection.execute(text(f"SELECT pg_advisory_lock({LOCK_KEY})"))
        migrations = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
        until(lambda: connection.scalar(waiting, {"here": here}), 60)
        connection.execute(text(f"SELECT pg_advisory_unlock({LOCK_KEY})"))
        assert [migration.wait(patience(60)) for migration in migrations] == [0, 0]
    assert check(empty_database.owner_url) == []


def test_migrations_are_found_without_the_checkout_as_the_working_folder(
    empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    upgrade(empty_database.owner_url)
    assert check(empty_database.owner_url) == []


def test_each_view_and_each_of_its_columns_says_what_it_is(database: Database) -> None:
    with connect(database.reader_url) as connection:
        for view in VIEWS:
            described = connection.execute(
                text(
                    "SELECT obj_description(attrelid, 'pg_class'), attname, col_description(attrelid, attnum) "
                    "FROM pg_attribute WHERE attrelid = CAST(:view AS regclass) AND attnum > 0"
                ),
                {"view": view},
            ).all()
            assert described
            assert [row for row in described if not row[0] or not row[2]] == []


def test_nothing_in_the_database_is_open_to_public(database: Database) -> None:
    with connect(database.superuser_url) as connection:
        granted = connection.execute(
            text(
                "SELECT relname FROM pg_class, aclexplode(relacl) a "
                "WHERE relnamespace = 'public'::regnamespace AND a.grantee = 0"
            )
        ).all()
        assert granted == []
        assert not connection.scalar(text("SELECT has_schema_privilege('dlr_reader', 'public', 'CREATE')"))


def test_a_role_that_does_not_exist_can_not_be_acted_as(database: Database) -> None:
    with pytest.raises(RoleRefused, match="dlr_nobody"):
        make_engine(database.writer_url, role="dlr_nobody").connect()


# As the release before asked, whose three destinations were words of an enumeration.
FORMER_STATEMENTS = """
    INSERT INTO outbox (destination, seen, ahead, ahead_xid) VALUES ('ups'::destination, 0, 0, 0)
        ON CONFLICT (destination) DO UPDATE SET seen = 0;
    SELECT * FROM outbox WHERE destination = 'pacs'::destination FOR UPDATE SKIP LOCKED;
    INSERT INTO delivery (destination, study_id, event_id)
        SELECT CAST('pacs' AS destination), study.id, 7 FROM study WHERE NOT EXISTS (
            SELECT FROM delivery AS made WHERE made.event_id = 7 AND made.destination = CAST('pacs' AS destination))
        ON CONFLICT DO NOTHING;
    UPDATE delivery SET state = 'sent', sent_at = now()
        WHERE destination = CAST('pacs' AS destination) AND state = 'waiting';
"""


def test_destinations_become_names_and_the_release_before_goes_on_with_its_three(empty_database: Database) -> None:
    upgrade(empty_database.owner_url, "0019")
    before = (
        "INSERT INTO study (study_instance_uid, content_digest, job, source) "
        "VALUES ('1.2.3', repeat('f', 64), '{}', 'queue');"
        "INSERT INTO outbox VALUES ('pacs', 0, 0, 0);"
        "INSERT INTO delivery (destination, study_id, event_id) SELECT 'webhook', id, 5 FROM study"
    )
    with connect(empty_database.owner_url) as connection:
        connection.execute(text(before))
        connection.commit()
    upgrade(empty_database.owner_url)
    with connect(empty_database.owner_url) as connection:
        connection.execute(text(FORMER_STATEMENTS))
        connection.execute(
            text("INSERT INTO named_delivery (destination, study_id, event_id) SELECT 'ris', id, 5 FROM study")
        )
        connection.commit()
    rows = "SELECT destination::text, state::text FROM delivery ORDER BY id"
    named = "SELECT destination, id > (SELECT max(id) FROM delivery) FROM named_delivery"
    with connect(empty_database.owner_url) as connection:
        assert connection.execute(text(rows)).all() == [("webhook", "waiting"), ("pacs", "sent")]
        assert connection.execute(text(named)).all() == [("ris", True)]
        assert connection.scalars(text("SELECT destination::text FROM outbox ORDER BY 1")).all() == ["pacs", "ups"]
    downgrade(empty_database.owner_url, "0019")
    with connect(empty_database.owner_url) as connection:
        assert connection.execute(text(rows)).all() == [("webhook", "waiting"), ("pacs", "sent")]
