"""What each role may do with each table and view: all of it, as the catalogue has it and as each role tries it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.migrate import PAGE_VIEWS, VIEWS, check, upgrade
from db.schema.metadata import TABLES
from db.schema.rights import COLUMN_RIGHTS, RIGHTS
from db.schema.roles import OWNER, READER, ROLES, SHADOW, WEB, WRITER
from db.session import make_engine
from tests.conftest import Database
from tests.db.samples import ended, read, scored, study
from tests.db.schema.test_roles import DENIED, sqlstate

S, SI, SIU, SIUD = "SELECT", "SELECT INSERT", "SELECT INSERT UPDATE", "SELECT INSERT UPDATE DELETE"
NONE = ""
GRANTED = {
    # relation: what writer, reader, web and shadow may do with all of its columns
    "alembic_version": (S, NONE, NONE, NONE),
    "audit_event": ("SELECT INSERT DELETE", NONE, NONE, NONE),
    "delivery": (SIU, NONE, NONE, NONE),
    "named_delivery": (SIU, NONE, NONE, NONE),
    "image_prediction": (SIU, NONE, NONE, SI),
    "lesion": (SIU, NONE, NONE, NONE),
    "marked_image": (SIU, NONE, NONE, NONE),
    "model": (SIU, NONE, NONE, SI),
    "open_study": (NONE, NONE, "SELECT INSERT DELETE", NONE),
    "outbox": (SIU, NONE, NONE, NONE),
    "named_outbox": (SIU, NONE, NONE, NONE),
    "pathology": (SI, NONE, NONE, NONE),
    "prediction": (SIU, NONE, NONE, SI),
    "prediction_refusal": (S, NONE, NONE, SI),
    "reading": (SI, NONE, NONE, NONE),
    "reading_order_changed": ("SELECT INSERT DELETE", NONE, NONE, NONE),
    "reading_order_policy": (SIU, NONE, NONE, NONE),
    "reading_order_range": (SI, NONE, NONE, NONE),
    "reading_order_rule": (SI, NONE, NONE, NONE),
    "reading_order_switch": (SI, NONE, NONE, NONE),
    "restratification": (SIU, NONE, NONE, NONE),
    "storage_commitment": (SIU, NONE, NONE, NONE),
    "study": (SIU, NONE, NONE, NONE),
    "study_access": (S, NONE, NONE, NONE),
    "study_event": (SI, NONE, NONE, NONE),
    "verdict": (SI, NONE, NONE, NONE),
    "web_session": (NONE, NONE, "SELECT INSERT DELETE", NONE),
    "worklist_entry": (SIUD, NONE, NONE, NONE),
    "downgraded_cancer": (S, S, NONE, NONE),
    "failed_study": (S, S, S, NONE),
    "image_result": (S, S, S, NONE),
    "lesion_advice": (NONE, NONE, S, NONE),
    "lesion_image": (NONE, NONE, S, NONE),
    "lesion_result": (S, S, S, NONE),
    "lesion_score": (S, S, NONE, NONE),
    "lesion_verdict": (S, S, S, NONE),
    "listed_study": (S, NONE, S, NONE),
    "model_card": (S, S, NONE, NONE),
    "pathology_result": (S, S, NONE, NONE),
    "reading_order_tier": (S, S, S, NONE),
    "restratification_summary": (S, S, S, NONE),
    "study_count": (S, S, NONE, NONE),
    "study_history": (S, S, S, NONE),
    "study_result": (S, S, NONE, NONE),
    "study_verdict": (NONE, NONE, S, NONE),
    "waiting_study": (NONE, NONE, S, NONE),
    "worklist": (S, S, S, NONE),
    "worklist_backwards": (NONE, NONE, S, NONE),
    "worklist_place": (NONE, NONE, S, NONE),
    "worklist_position": (NONE, NONE, S, NONE),
    "worklist_range": (NONE, NONE, S, NONE),
    "worklist_state": (NONE, NONE, S, NONE),
}
COLUMNS = {
    # relation, role and right: the columns to which the right is confined
    ("audit_event", WEB, "INSERT"): "actor address detail event role study_id",
    ("audit_event", WRITER, "UPDATE"): "sent_at",
    ("lesion", SHADOW, "SELECT"): "age_years id state study_id",
    ("marked_image", SHADOW, "SELECT"): "frame id lesion_id ordinal region_height region_width region_x region_y "
    "sop_instance_uid state",
    ("open_study", WEB, "UPDATE"): "seen_at",
    ("pathology", WRITER, "UPDATE"): "histology is_current reported_on",
    ("reading", WEB, "INSERT"): "advice id reader study_id",
    ("reading", WRITER, "UPDATE"): "reader",
    ("study_access", WEB, "INSERT"): "address reader role study_id what",
    ("study", SHADOW, "SELECT"): "content_digest id is_current job purged_at received_at state study_instance_uid",
    ("verdict", WEB, "INSERT"): "agrees final_birads lesion_id reading_id remark",
    ("verdict", WRITER, "UPDATE"): "remark",
    ("web_session", WEB, "UPDATE"): "seen_at",
}
NUMBERS = ("delivery_id_seq", WRITER, "USAGE", False)
"""By which rows of `named_delivery` are numbered on: a sequence of another table, so that it has to be granted."""

OURS = "('dlr_owner', 'dlr_writer', 'dlr_reader', 'dlr_web', 'dlr_shadow')"
MORE_THAN_A_PLAIN_USER = (
    f"SELECT 1 FROM pg_roles WHERE rolname IN {OURS} AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)",
    f"SELECT 1 FROM pg_auth_members JOIN pg_roles AS ours ON ours.oid = member WHERE ours.rolname IN {OURS}",
    "SELECT 1 FROM pg_default_acl",
)
CALLABLE = {
    ("worklist_entry_attach", WRITER),
    ("worklist_entry_drop", WRITER),
    ("worklist_entry_make", WRITER),
}
"""Functions, and the role that may call each beside their owner."""
CALLERS = """
    SELECT proname::text, grantee::regrole::text
    FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
    WHERE pronamespace = 'public'::regnamespace AND grantee <> proowner"""
MAKERS = """
    SELECT DISTINCT grantee::regrole::text FROM pg_namespace, aclexplode(nspacl)
    WHERE nspname = 'public' AND privilege_type = 'CREATE' AND grantee <> nspowner"""
GUESTS = (WRITER, READER, WEB, SHADOW)
TRIED = {
    "SELECT": "SELECT {column} FROM {relation}",
    "INSERT": "INSERT INTO {relation} ({column}) VALUES (DEFAULT)",
    "UPDATE": "UPDATE {relation} SET {column} = DEFAULT WHERE false",
    "DELETE": "DELETE FROM {relation} WHERE false",
    "TRUNCATE": "TRUNCATE {relation}",
}
NOT_FOR_A_VIEW = {"55000", "42809", "0A000"}
"""Not to be written to, no table, and with a default that no view has."""


def rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def administrator(database: Database) -> Engine:
    return make_engine(database.superuser_url, role=None, poolclass=NullPool)


@pytest.fixture
def read_study(sessions: sessionmaker[Session]) -> None:
    """A study with a verdict, so that there are rows to change."""
    with sessions.begin() as session:
        read(session, ended(session, study(), scored()).study_id, "bea", "3", agrees=True)


@pytest.fixture(params=GUESTS)
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def acting(database: Database, who: str) -> Iterator[Engine]:
    """The database as a role has it that signed in under its own name."""
    engine = make_engine(getattr(database, f"{who.removeprefix('dlr_')}_url"), role=None, poolclass=NullPool)
    assert rows(engine, "SELECT current_user, session_user") == [(who, who)]
    yield engine
    engine.dispose()


def test_every_table_and_view_has_its_line_here() -> None:
    assert set(GRANTED) == {*VIEWS, *PAGE_VIEWS, *TABLES.tables, "alembic_version"}


def test_nothing_is_granted_on_a_table_a_view_or_a_sequence_but_what_stands_here(administrator: Engine) -> None:
    granted = rows(
        administrator,
        "SELECT relname::text, grantee::regrole::text, privilege_type, is_grantable "
        "FROM pg_class, aclexplode(relacl) "
        "WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner",
    )
    assert set(granted) == {
        (relation, role, right, False)
        for relation, rights in GRANTED.items()
        for role, allowed in zip(GUESTS, rights, strict=True)
        for right in allowed.split()
    } | {NUMBERS}


def test_no_right_is_granted_on_a_column_but_what_stands_here(administrator: Engine) -> None:
    granted = rows(
        administrator,
        "SELECT relname::text, grantee::regrole::text, privilege_type, string_agg(attname, ' ' ORDER BY attname) "
        "FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) "
        "WHERE relnamespace = 'public'::regnamespace GROUP BY 1, 2, 3",
    )
    assert set(granted) == {(*of, columns) for of, columns in COLUMNS.items()}


def test_no_role_is_another_s_or_more_than_a_plain_user_and_makes_nothing_and_calls_what_stands_here(
    administrator: Engine,
) -> None:
    assert set(rows(administrator, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'dlr%'")) >= {(r,) for r in ROLES}
    for query in MORE_THAN_A_PLAIN_USER:
        assert rows(administrator, query) == []
    assert set(rows(administrator, CALLERS)) == CALLABLE
    assert rows(administrator, MAKERS) == [(OWNER,)]


@pytest.mark.usefixtures("read_study")
def test_each_role_can_do_what_stands_here_and_is_refused_everything_else(
    acting: Engine, administrator: Engine, who: str
) -> None:
    columns = dict(
        rows(
            administrator,
            "SELECT DISTINCT ON (attrelid) relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
            "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 "
            "ORDER BY attrelid, attnum",
        )
    )
    for relation in GRANTED:
        done = []
        for right, statement in TRIED.items():
            confined = COLUMNS.get((relation, who, right), columns[relation])
            refused = sqlstate(acting, statement.format(relation=relation, column=confined.split()[0]))
            is_view = relation not in TABLES.tables and relation != "alembic_version"
            if refused != DENIED and not (is_view and refused in NOT_FOR_A_VIEW):
                done.append(right)
        confined = {right for name, role, right in COLUMNS if (name, role) == (relation, who)}
        may = {*GRANTED[relation][GUESTS.index(who)].split(), *confined}
        assert done == [right for right in TRIED if right in may], relation


@pytest.mark.parametrize("who", ["owner_url", "superuser_url"])
def test_nobody_changes_which_policy_was_switched_to_not_even_its_owner(database: Database, who: str) -> None:
    engine = make_engine(getattr(database, who), role=None, poolclass=NullPool)
    for statement in ("UPDATE {} SET by = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
        written = statement.format("reading_order_switch")
        assert sqlstate(engine, written) == DENIED, written
        if who == "superuser_url":
            assert sqlstate(engine, f"SET LOCAL session_replication_role = replica; {written}") == DENIED, written


VERDICT = "INTO verdict (reading_id, lesion_id, final_birads) VALUES ('{reading}', {lesion}, '4A')"
READING = "INTO reading (id, study_id, reader, advice) VALUES (gen_random_uuid(), '{study}', 'x', '{{}}')"
WAYS = (
    f"INSERT {READING}",
    f"INSERT {VERDICT}",
    f"WITH said AS (INSERT {VERDICT} RETURNING 1) SELECT count(*) FROM said",
    f"PREPARE said AS INSERT {VERDICT}; EXECUTE said",
    f"DO $$ BEGIN INSERT {VERDICT}; END $$",
    f"EXPLAIN ANALYZE INSERT {READING}",
    "MERGE INTO verdict USING (SELECT 1) AS one ON false WHEN NOT MATCHED THEN DO NOTHING",
    "COPY reading FROM STDIN",
    "COPY verdict (reading_id, lesion_id, final_birads) FROM STDIN",
    "COPY verdict FROM PROGRAM 'echo'",
    "COPY verdict TO STDOUT",
    "INSERT INTO lesion_verdict (study_id) VALUES ('{study}')",
    "INSERT INTO study_verdict (study_id) VALUES ('{study}')",
    "INSERT INTO lesion_advice (study_id) VALUES ('{study}')",
    "UPDATE lesion_verdict SET final_birads = '2'",
    "UPDATE study_result SET read_at = now()",
    "UPDATE worklist SET read_at = now()",
    "UPDATE study SET read_at = now(), read_by = 'x', read_tier = 'x'",
    "UPDATE worklist_entry SET is_read = true",
    "DELETE FROM lesion_verdict",
    "SELECT reading_is_taken()",
    "SELECT reading_marks_study()",
    "SELECT verdict_is_taken()",
    "SELECT nextval('verdict_id_seq')",
    "SELECT setval('verdict_id_seq', 1)",
    "SELECT currval('study_event_id_seq')",
    "LOCK TABLE verdict IN SHARE MODE",
    "SELECT 1 FROM verdict FOR UPDATE",
    "SET ROLE dlr_writer",
    "SET ROLE dlr_web",
    "SET ROLE dlr_owner",
    "SET SESSION AUTHORIZATION dlr_writer",
    "SET session_replication_role = replica",
    "GRANT dlr_writer TO CURRENT_USER",
    "GRANT INSERT ON verdict TO CURRENT_USER",
    "ALTER TABLE verdict DISABLE TRIGGER ALL",
    "ALTER VIEW lesion_verdict OWNER TO CURRENT_USER",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "CREATE TRIGGER mine INSTEAD OF INSERT ON lesion_verdict FOR EACH ROW EXECUTE FUNCTION verdict_is_taken()",
    "CREATE RULE mine AS ON INSERT TO lesion_verdict DO INSTEAD NOTHING",
    "CREATE SCHEMA mine",
)


@pytest.mark.usefixtures("read_study")
@pytest.mark.parametrize("who", [READER, SHADOW], indirect=True)
def test_a_role_that_gives_no_verdicts_finds_no_way_to_write_one(acting: Engine, administrator: Engine) -> None:
    [(study_id, lesion, reading)] = rows(
        administrator, "SELECT study_id, lesion.id, reading.id FROM lesion JOIN reading USING (study_id)"
    )
    what_is_said = (
        "SELECT (SELECT max(xmin::text) FROM verdict), (SELECT max(xmin::text) FROM reading), read_at FROM study"
    )
    before = rows(administrator, what_is_said)
    for way in WAYS:
        statement = way.format(study=study_id, lesion=lesion, reading=reading)
        assert sqlstate(acting, statement) in {DENIED, "55000"}, statement
    assert rows(administrator, what_is_said) == before


@pytest.mark.usefixtures("read_study")
@pytest.mark.parametrize("who", [WEB], indirect=True)
def test_the_page_adds_to_a_reading_of_its_own_alone_and_marks_no_study_otherwise(acting: Engine) -> None:
    for statement in (
        "INSERT INTO reading (id, read_at) VALUES (gen_random_uuid(), now())",
        "INSERT INTO reading (id, tier) VALUES (gen_random_uuid(), 'x')",
        "INSERT INTO reading (id, source) VALUES (gen_random_uuid(), 'import')",
        "INSERT INTO reading (id, source) VALUES (gen_random_uuid(), 'page')",
        "INSERT INTO reading (id, recorded_at) VALUES (gen_random_uuid(), now())",
        "INSERT INTO verdict (reading_id, restratification_id) VALUES (gen_random_uuid(), 1)",
        "UPDATE study SET read_at = now(), read_by = 'x', read_tier = 'x'",
        "UPDATE worklist_entry SET is_read = true",
        "UPDATE open_study SET reader = 'x'",
        "UPDATE web_session SET role = 'administrator'",
        "SELECT reading_marks_study()",
        "SELECT setval('verdict_id_seq', 1)",
        "COPY reading FROM STDIN",
        "COPY verdict TO STDOUT",
        "SET ROLE dlr_writer",
        "SET session_replication_role = replica",
        "ALTER TABLE reading DISABLE TRIGGER taken",
    ):
        assert sqlstate(acting, statement) == DENIED, statement


def test_the_software_knows_the_rights_of_its_writer() -> None:
    assert {relation: rights.replace(",", "") for relation, rights in RIGHTS.items()} == {
        relation: of_writer for relation, (of_writer, *_) in GRANTED.items() if of_writer
    }
    assert {(relation, WRITER, "UPDATE"): " ".join(columns) for relation, columns in COLUMN_RIGHTS.items()} == {
        of: columns for of, columns in COLUMNS.items() if of[1] == WRITER
    }


@pytest.mark.parametrize(
    ("revoked", "said"),
    [
        ("INSERT ON study_event", "INSERT on study_event"),
        ("SELECT ON model", "SELECT on model"),
        ("UPDATE (reader) ON reading", "UPDATE (reader) on reading"),
    ],
)
def test_a_right_that_was_revoked_is_named_and_an_upgrade_grants_it_again(
    database: Database, administrator: Engine, revoked: str, said: str
) -> None:
    with administrator.begin() as connection:
        connection.execute(text(f"REVOKE {revoked} FROM dlr_writer"))
    assert check(database.writer_url) == [f"dlr_writer lacks the right {said}"]
    upgrade(database.superuser_url)
    assert check(database.writer_url) == []
