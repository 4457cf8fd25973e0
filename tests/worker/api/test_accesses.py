"""Who opened which study by the interface is on record."""

import json
import logging
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.reads.study_accesses import accesses
from db.session import make_engine
from tests.command_line import dlr
from tests.conftest import Database
from tests.worker.api.test_documents import get, study, study_id
from tests.worker.api.test_uploads import Made, send

__all__ = ["study", "study_id"]

Sessions = sessionmaker[Session]


def test_a_program_that_opens_a_study_or_a_document_of_it_is_on_record_by_the_name_of_its_token(
    client: TestClient, study_id: UUID, sessions: Sessions
) -> None:
    assert client.get(f"/v1/studies/{study_id}").status_code == 200
    for kind in ("sr", "fhir", "hl7", "pictures"):
        assert get(client, study_id, kind).status_code == 200
    with sessions() as session:
        found = accesses(session, 10)
    assert [one.what for one in reversed(found)] == ["study", "sr", "fhir", "hl7", "pictures"]
    assert {(one.study_id, one.reader, one.role, one.address) for one in found} == {
        (study_id, "program-0", "api", "testclient")
    }
    listed = json.loads(dlr("web", "opened", "--reader", "program-0", "--limit", "1", "--format", "json").stdout)
    assert [(one["study_id"], one["what"]) for one in listed] == [(str(study_id), "pictures")]


def test_to_ask_whether_a_study_has_ended_is_no_opening(client: TestClient, study: Made, sessions: Sessions) -> None:
    waiting = send(client, [study.image, study.report]).json()["study_id"]
    assert client.get(f"/v1/studies/{waiting}").json()["state"] == "queued"
    with sessions() as session:
        assert accesses(session, 10) == []


def test_what_was_not_given_is_no_opening(client: TestClient, study_id: UUID, sessions: Sessions) -> None:
    for answer in (client.get(f"/v1/studies/{uuid4()}"), get(client, uuid4(), "sr"), get(client, study_id, "x")):
        assert answer.status_code in (404, 422)
    with sessions() as session:
        assert accesses(session, 10) == []


def test_a_database_that_takes_no_record_keeps_nobody_from_reading_and_the_log_says_so(
    client: TestClient, study_id: UUID, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    owner = make_engine(database.owner_url, role=None)
    with owner.begin() as connection:
        connection.execute(text("REVOKE ALL ON study_access FROM dlr_web"))
    owner.dispose()
    with caplog.at_level(logging.WARNING):
        assert client.get(f"/v1/studies/{study_id}").status_code == 200
    assert f"it is not on record that program-0 opened study {study_id}" in caplog.text
