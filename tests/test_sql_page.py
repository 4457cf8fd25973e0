"""The recipes of the SQL user's page, each run by a reader on a ledger of which the answers are known."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import LesionResultRecord
from db.session import make_engine
from db.writes import ledger
from tests.conftest import Database, NewDatabase
from tests.db.samples import DEMO, claimed, finish_one, lesion, read, refused, result, scored, study, writing
from tests.places import ROOT
from worker.clinical.reading_order.policy import built_in, built_in_document
from worker.scoring.reading_policy import apply_policy
from worker.scoring.worklist_place import place_studies

PAGE = (ROOT / "docs" / "sql.md").read_text("utf-8")
SECTIONS = re.findall(r"^### (.*?)\n(.*?)(?=^##)", PAGE.split("\n## Recipes")[1], re.MULTILINE | re.DOTALL)
RECIPES: dict[str, list[str]] = {
    heading: re.findall(r"^ {4}(SELECT\b.*?;)$", section, re.MULTILINE | re.DOTALL) for heading, section in SECTIONS
}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MIDNIGHT = datetime(2026, 3, 1, 23, tzinfo=UTC)
"""At which the recipes' day begins in Berlin."""

Rows = list[tuple[Any, ...]]
LESION_4A = "Lesion 1, BI-RADS 4A"


def arrives(session: Session, number: str, at: datetime, birads: str = "4A", priority: str = "routine") -> UUID:
    study_id = ledger.record_study(
        session, study(f"1.{number}", lesions=(lesion(birads=birads),), accession_number=number, priority=priority)
    ).study_id
    session.execute(text("UPDATE study SET received_at = :at WHERE id = :id"), {"at": at, "id": study_id})
    place_studies(session, [study_id])
    return study_id


def ends(session: Session, study_id: UUID, lesion_result: LesionResultRecord, after: timedelta) -> None:
    assert finish_one(session, result(claimed(session, study_id), lesion_result))
    session.execute(
        text("UPDATE study SET finished_at = received_at + :after WHERE id = :id"), {"after": after, "id": study_id}
    )
    place_studies(session, [study_id])


def elsewhere(lesion_result: LesionResultRecord) -> LesionResultRecord:
    return replace(lesion_result, scanner_model="Echo 2", site="South Clinic")


def a_clinics_day(sessions: sessionmaker[Session]) -> None:
    """Studies of every outcome, one of the evening before, three that were read, and two that wait now."""
    with sessions.begin() as session:
        evening = arrives(session, "A0", MIDNIGHT - 30 * MINUTE)
        night = arrives(session, "A1", MIDNIGHT + 15 * MINUTE)
        kept = arrives(session, "A2", MIDNIGHT + 8 * HOUR)
        stat = arrives(session, "A3", MIDNIGHT + 9 * HOUR, "4C", "stat")
        lost = arrives(session, "A4", MIDNIGHT + 10 * HOUR)
        up = arrives(session, "A5", MIDNIGHT + 11 * HOUR)
        ends(session, evening, scored(lh=0.1, bm=0.1), 5 * MINUTE)
        ends(session, night, elsewhere(scored(lh=0.2, bm=0.2)), 2 * MINUTE)
        ends(session, kept, scored(lh=0.9, bm=0.4), 4 * MINUTE)
        ends(session, stat, scored(lh=0.9, bm=0.9, birads="4C"), MINUTE)
        ends(session, lost, refused(), 6 * MINUTE)
        ends(session, up, scored(lh=0.9, bm=0.8), 10 * MINUTE)
        read(session, night, "m.reader", "4A", agrees=False, at=MIDNIGHT + 8 * HOUR)
        read(session, stat, "a.reader", "5", at=MIDNIGHT + 9 * HOUR + 10 * MINUTE)
        read(session, kept, "a.reader", "4A", agrees=True, at=MIDNIGHT + 9 * HOUR + 30 * MINUTE)
        now = datetime.now(UTC)
        arrives(session, "A6", now - 20 * MINUTE, "5", "urgent")
        arrives(session, "A7", now - 50 * MINUTE, "3")


@pytest.fixture(scope="module")
def reader(new_database: NewDatabase) -> Iterator[Engine]:
    """A reader of a ledger with a clinic's day in it."""
    with new_database() as database, writing(database) as sessions:
        a_clinics_day(sessions)
        yield make_engine(database.reader_url, role=None, poolclass=NullPool)


def answers(reader: Engine, heading: str) -> list[Rows]:
    """What each query of a recipe answers; an interval as whole minutes, since some are until now."""
    with reader.connect() as connection:
        study_id = connection.scalar(text("SELECT study_id FROM study_result WHERE accession_number = 'A5'"))
        queries = [query.replace("'...'", f"'{study_id}'") for query in RECIPES[heading]]
        return [[tuple(map(_rounded, row)) for row in connection.exec_driver_sql(query)] for query in queries]


def _rounded(value: object) -> object:
    return value // MINUTE if isinstance(value, timedelta) else value


ANSWERS: dict[str, list[Rows]] = {
    "Studies of a day": [
        [
            ("A1", "routine", "done", "low", MIDNIGHT + 15 * MINUTE),
            ("A2", "routine", "done", "undecided", MIDNIGHT + 8 * HOUR),
            ("A3", "stat", "done", "suspicious", MIDNIGHT + 9 * HOUR),
            ("A4", "routine", "failed", "to_be_looked_at", MIDNIGHT + 10 * HOUR),
            ("A5", "routine", "done", "suspicious", MIDNIGHT + 11 * HOUR),
        ],
        [(date(2026, 3, 1), 1, 1, 0, 1, 0), (date(2026, 3, 2), 5, 5, 1, 1, 1)],
    ],
    "By site and scanner": [
        [
            ("Example Hospital", "Acme Sono 1", 4, 4, 1, Decimal("0.550")),
            ("South Clinic", "Echo 2", 1, 1, 0, Decimal("0.200")),
            (None, None, 1, 0, 0, None),
        ]
    ],
    "Time to a result": [[("stat", 1, 1, 1), ("routine", 4, 5, 9)]],
    "Waiting now": [
        [("urgent", 1, 20), ("routine", 1, 50)],
        [("A7", "routine", "low", 50), ("A6", "urgent", "suspicious", 20)],
    ],
    "Why a study stands where it stands": [
        [
            (1, "A6", "Suspicious", "Lesion 1, BI-RADS 5: its category alone is highly suspicious", ["waiting"]),
            (2, "A5", "Suspicious", f"{LESION_4A}: both models are high, so a category above 4A is advised", []),
            (3, "A4", "To be looked at", "No lesion was scored", []),
            (4, "A7", "Low", "Lesion 1, BI-RADS 3: its category is probably benign", ["waiting"]),
            (5, "A0", "Low", f"{LESION_4A}: both models are low, so 3 is advised", []),
        ],
        [
            ("Suspicious", 2, MIDNIGHT + 11 * HOUR),
            ("To be looked at", 1, MIDNIGHT + 10 * HOUR),
            ("Low", 2, MIDNIGHT - 30 * MINUTE),
        ],
    ],
    "What was read, when and by whom": [
        [
            (MIDNIGHT + 8 * HOUR, "m.reader", "A1", "low", 465),
            (MIDNIGHT + 9 * HOUR + 10 * MINUTE, "a.reader", "A3", "suspicious", 10),
            (MIDNIGHT + 9 * HOUR + 30 * MINUTE, "a.reader", "A2", "undecided", 90),
        ],
        [("suspicious", 1, 10, 10), ("undecided", 1, 90, 90), ("low", 1, 465, 465)],
    ],
    "Agreement with the advice": [
        [(DEMO, "maintained", 1, 1, 1, 100), (DEMO, "downgraded", 1, 1, 0, 0)],
        [(MIDNIGHT + 8 * HOUR, "m.reader", "A1", "L1", "4A", False, "1.0", "1.0")],
    ],
}


def test_every_recipe_has_a_known_answer() -> None:
    assert {heading: len(queries) for heading, queries in RECIPES.items()} == {
        **{heading: len(known) for heading, known in ANSWERS.items()},
        "A study's history": 1,
    }


@pytest.mark.parametrize("heading", ANSWERS)
def test_a_recipe_gives_the_known_answer(reader: Engine, heading: str) -> None:
    assert answers(reader, heading) == ANSWERS[heading]


def test_the_history_of_a_study_says_what_happened_and_who_wrote_it(reader: Engine) -> None:
    [lines] = answers(reader, "A study's history")
    assert [(actor, event) for _, actor, event, _ in lines] == [
        ("dlr_writer", "received"),
        ("dlr_writer", "claimed"),
        ("dlr_writer", "done"),
    ]
    assert lines[-1][-1]["models"] == {"DLR_LH": "1.0", "DLR_BM": "1.0"}


def test_the_list_of_version_01_is_to_be_had_with_its_policy_and_without(database: Database) -> None:
    unread, ended = re.findall(
        r"^ {4}(SELECT\b.*?;)$",
        PAGE.split("\n### The list of version 0.1")[1].split("\n## ")[0],
        re.MULTILINE | re.DOTALL,
    )
    with writing(database) as sessions:
        a_clinics_day(sessions)
        assert numbers(database, ended) == ["A5", "A4", "A2", "A3", "A1", "A0"]
        apply_policy(sessions, built_in("outcome/1"), built_in_document("outcome/1"), "anne", lambda _: None)
        assert numbers(database, ended) == ["A5", "A4", "A2", "A3", "A1", "A0"]
    assert numbers(database, unread) == ["A5", "A4", "A0"]


def numbers(database: Database, query: str) -> list[str]:
    with make_engine(database.reader_url, role=None, poolclass=NullPool).connect() as connection:
        return [row.accession_number for row in connection.exec_driver_sql(query)]
