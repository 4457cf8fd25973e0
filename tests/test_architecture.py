"""docs/architecture.md: each name on it exists, its diagrams can be read, and they say what the code does."""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, make_url, select, text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import ImageResultRecord, LesionImageRecord
from db.schema.roles import ROLES
from db.schema.tables import StudyRow
from db.schema.vocabulary import DeliveryState, Event, StudyState
from db.session import make_engine
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claim_one, digest, lesion, refused, result, scored, scored_image, study, writing
from tests.floors import CONTRACTS, floors_of
from tests.places import ROOT, is_there, missing, named
from tests.test_compose import SERVICES
from tests.test_docs import ARCHITECTURE, between_markers, blocks
from worker.services.running_services import Services
from worker.services.supervisor import Child

PAGE = ARCHITECTURE.read_text("utf-8")
SEQUENCE, STATES = blocks(ARCHITECTURE, "mermaid")
START = "[*]"


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def tables(heading: str) -> list[list[list[str]]]:
    """The tables of a section, each a list of rows, without their heads."""
    found = re.findall(r"(?:^\|.*\n)+", section(heading), re.MULTILINE)
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in one.splitlines()[2:]]
        for one in found
    ]


def quoted(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


# --- names


def test_each_path_and_each_name_of_the_page_is_there() -> None:
    assert missing(PAGE) == []
    assert len(list(named(PAGE))) > 80


@pytest.mark.parametrize(
    "name",
    [
        "worker/no_such_module.py",
        "worker.contract.StudyJob.no_such_field",
        "db.writes.no_such_module",
        "tests/test_docs.py::test_nothing",
    ],
)
def test_a_name_that_is_stale_is_found(name: str) -> None:
    assert missing(f"see `{name}`, or `{ARCHITECTURE.relative_to(ROOT)}`") == [name]


def test_each_invariant_says_what_holds_it_and_which_test_shows_it() -> None:
    [rows] = tables("What always holds")
    assert len(rows) > 12
    for invariant, held, shown in rows:
        assert any(map(is_there, quoted(held))), invariant
        tests = quoted(shown)
        assert tests, invariant
        assert all("::test_" in one and is_there(one) for one in tests), invariant


# --- floors


def test_the_floors_that_are_drawn_are_those_of_the_contract() -> None:
    drawn: dict[tuple[str, int], list[str]] = defaultdict(list)
    for package, number, place in re.findall(r"^\| (worker|db) (\d+) \| `([^`]+)` \|", PAGE, re.MULTILINE):
        drawn[package, int(number)].append(Path(place).stem)
    for package in ("worker", "db"):
        floors = floors_of(package)
        assert [drawn.pop((package, number)) for number in range(len(floors), 0, -1)] == floors
    assert not drawn
    assert between_markers("floors")[1].count("\n") > 30
    assert CONTRACTS[0]["layers"] == ["tests : benchmarks", "worker", "db"]


# --- diagrams: as much of Mermaid's language as the page uses

_MESSAGE = re.compile(r"(\w+)(?:->>|-->>)(\w+): [^;#]+")
_NOTE = re.compile(r"Note over (\w+),(\w+): [^;#]+")
_TRANSITION = re.compile(r"(\[\*\]|\w+) --> (\w+): (\w+(?:, \w+)*)")


def test_the_sequence_can_be_drawn() -> None:
    first, *lines = [line.strip() for line in SEQUENCE.splitlines()]
    assert first == "sequenceDiagram"
    actors: set[str] = set()
    open_blocks: list[str] = []
    for line in lines:
        if found := re.fullmatch(r"participant (\w+) as [^;#]+", line):
            actors.add(found[1])
        elif found := re.fullmatch(r"(par|loop|opt|alt) [^;#]+", line):
            open_blocks.append(found[1])
        elif re.fullmatch(r"and [^;#]+", line):
            assert open_blocks[-1] == "par"
        elif line == "end":
            open_blocks.pop()
        else:
            found = _MESSAGE.fullmatch(line) or _NOTE.fullmatch(line)
            assert found, line
            assert {found[1], found[2]} <= actors, line
    assert not open_blocks


def transitions() -> set[tuple[str, str, str]]:
    """The arrows of the states' diagram, one an event: from, event, to."""
    first, *lines = [line.strip() for line in STATES.splitlines()]
    assert first == "stateDiagram-v2"
    found = [_TRANSITION.fullmatch(line) for line in lines]
    assert None not in found
    return {(one[1], event, one[2]) for one in found if one for event in one[3].split(", ")}


def test_the_states_and_events_are_the_ledgers_words() -> None:
    drawn = transitions()
    assert {state for before, _, after in drawn for state in (before, after)} - {START} == set(StudyState)
    moving, marks = tables("The states of a study")
    moves = {event for row in moving for event in quoted(row[0])}
    assert moves == {event for _, event, _ in drawn}
    marked = {event for row in marks for event in quoted(row[0])}
    rest = section("The states of a study").rsplit("\n\n", 1)[1]
    [history, delivery] = rest.split("A delivery")
    assert moves | marked | (quoted(history) & set(Event)) == set(Event)
    assert set(DeliveryState) <= quoted(delivery)


# --- what the ledger does, held against the states' diagram

Step = tuple[str, str, str]


class Watched:
    """A ledger whose every change of a study is noted as the diagram has it: from, event, to."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions
        self.steps: set[Step] = set()
        self._numbers = iter(range(1000))

    def do(self, act: Any, *args: Any, **options: Any) -> Any:
        before = self._states()
        with self.sessions.begin() as session:
            told = session.scalar(text("SELECT coalesce(max(id), 0) FROM study_event"))
            done = act(session, *args, **options)
        after = self._states()
        with self.sessions() as session:
            events = session.execute(text("SELECT study_id, event FROM study_event WHERE id > :told"), {"told": told})
            for study_id, event in events:
                step = before.get(study_id, START), event, after[study_id]
                if step[0] != step[2] or event == Event.CLAIMED:
                    self.steps.add(step)
        return done

    def study(self, **changes: Any) -> Any:
        number = next(self._numbers)
        return self.do(ledger.record_study, study(f"1.2.{number}", **changes)).study_id

    def claim(self, study_id: Any, **options: Any) -> Any:
        """Claim it under a lease that has run out already."""
        return self.do(claim_one, study_id, **options)

    def _states(self) -> dict[Any, str]:
        with self.sessions() as session:
            return {row.id: row.state.value for row in session.execute(select(StudyRow.id, StudyRow.state))}


RESULTS = ((scored(),), (scored(), refused("L2")), (refused(),))


def lesions_of(outcome: tuple[Any, ...]) -> Any:
    return tuple(lesion(one.lesion_id) for one in outcome)


@pytest.fixture
def watched(database: Database) -> Iterator[Watched]:
    with writing(database) as sessions:
        yield Watched(sessions)


def test_a_study_moves_as_is_drawn_and_in_no_other_way(watched: Watched) -> None:
    for outcome in RESULTS:
        for is_stranded in (False, True):
            study_id = watched.study(lesions=lesions_of(outcome))
            claim = watched.claim(study_id)
            if is_stranded:
                watched.do(ledger.requeue_expired)
            watched.do(ledger.finish, [result(claim, *outcome)])
            watched.do(ledger.discard, study_id, "seen", "anne")
            watched.do(ledger.requeue, study_id, "anne")
    images = tuple(LesionImageRecord("1.2.9", frame, None) for frame in (1, 2))
    study_id = watched.study(lesions=(lesion(images=images),))
    without_one = replace(scored(), images=(scored_image(), ImageResultRecord("failed", "file_not_found")))
    watched.do(ledger.finish, [result(watched.claim(study_id), without_one)])
    watched.do(ledger.requeue, study_id, "anne")
    for end in (ledger.release, lambda *one: ledger.fail_attempt(*one, "internal_error")):
        study_id = watched.study()
        watched.do(end, study_id, watched.claim(study_id).attempt)
    for is_stranded in (False, True):
        study_id = watched.study()
        for _ in range(3):
            watched.claim(study_id)
        if is_stranded:
            watched.do(ledger.requeue_expired)
        assert watched.claim(study_id) is None
    watched.do(ledger.record_study, study("1.2.0", content="another"))
    watched.do(ledger.record_refusal, digest("x"), {}, "job_invalid", "no job", "queue")
    watched.do(
        lambda session: ledger.purge(session, session.scalar(text("SELECT now() + interval '1 day'")), "anne", 9)
    )
    assert watched.steps == transitions()


# --- processes and roles

NETWORKS, ROLE, REDIS, STORAGE = 6, 3, 4, 5


def processes() -> list[list[str]]:
    return tables("The processes")[0]


def in_compose() -> list[list[str]]:
    return [row for row in processes() if row[2] and "decoders" not in row[0]]


def test_each_service_of_compose_that_lasts_is_a_process_of_the_page() -> None:
    by_hand = {name for name, one in SERVICES.items() if "admin" in one.get("profiles", [])}
    assert {name for row in in_compose() for name in quoted(row[2])} == set(SERVICES) - by_hand


@pytest.mark.parametrize("row", in_compose(), ids=lambda row: row[2].strip("`"))
def test_a_process_may_touch_what_compose_gives_it(row: list[str]) -> None:
    [name] = quoted(row[2])
    service = SERVICES[name]
    environment = service.get("environment") or {}
    users = defaultdict(set)
    for value in environment.values():
        if "://" in str(value):
            url = make_url(value)
            users[url.drivername].add(url.username)
    assert quoted(row[ROLE]) == users["postgresql"]
    assert quoted(row[REDIS]) == users["redis"]
    mounts = [one for one in service.get("volumes", []) if isinstance(one, dict) and one["target"].endswith("/storage")]
    assert row[STORAGE] == "".join("reads" if one["read_only"] else "writes" for one in mounts)
    assert row[NETWORKS].split(", ") == service["networks"]
    if "build" in service:
        command = [str(word) for word in service["command"]]
        assert row[0].strip("`").split() == command


def test_dlr_up_starts_what_the_page_says() -> None:
    names = {"exporter": "metrics"}
    children = {
        names.get(name, name)
        for name, function in inspect.getmembers(Services, inspect.isfunction)
        if inspect.signature(function).return_annotation is Child
    }
    marked = {row[0].strip("`").split()[1] for row in processes() if row[1] == "up" and row[0].startswith("`dlr")}
    assert marked == children


def test_a_role_may_do_what_the_page_says_and_no_more(database: Database) -> None:
    granted: dict[tuple[str, str], set[str]] = defaultdict(set)
    engine = make_engine(database.owner_url, role=None, poolclass=NullPool)
    with engine.connect() as connection:
        for role, relation, privilege in connection.exec_driver_sql(
            "SELECT DISTINCT grantee, table_name, privilege_type FROM information_schema.role_column_grants "
            "WHERE table_schema = 'public'"
        ):
            granted[role, privilege].add(relation)
        deletes = connection.exec_driver_sql(
            "SELECT grantee, table_name FROM information_schema.role_table_grants WHERE privilege_type = 'DELETE' "
            "AND table_schema = 'public'"
        ).all()
    rows = {name: row[1:] for row in tables("The processes")[1] for name in quoted(row[0])}
    assert set(rows) == set(ROLES)
    assert {(role, table) for role, table in deletes if role in ROLES and role != "dlr_owner"} == {
        ("dlr_writer", "worklist_entry"), ("dlr_writer", "reading_order_changed"), ("dlr_writer", "audit_event"),
        ("dlr_web", "open_study"), ("dlr_web", "web_session"),
    }  # fmt: skip
    del rows["dlr_owner"]
    for role, (reads, adds, changes) in rows.items():
        assert quoted(adds) == granted[role, "INSERT"], role
        assert quoted(changes) == granted[role, "UPDATE"], role
        if role != "dlr_writer":
            assert quoted(reads) == granted[role, "SELECT"], role
    assert granted["dlr_reader", "SELECT"] < granted["dlr_writer", "SELECT"]
