"""``GET /v1/studies/{study_id}/documents/{kind}``: what `dlr export` writes."""

from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydicom import dcmread
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.db.samples import claimed, finish_one, result, scored
from tests.worker.api.conftest import code_of
from tests.worker.api.test_uploads import Made, made, send


@pytest.fixture
def study(tmp_path: Path) -> Made:
    return made(tmp_path / "sent")


@pytest.fixture
def study_id(client: TestClient, study: Made, sessions: sessionmaker[Session]) -> UUID:
    """A study that was sent and has its result."""
    found = UUID(send(client, [study.image, study.report]).json()["study_id"])
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, found), scored("L1")))
    return found


def get(client: TestClient, study_id: UUID, kind: str) -> Any:
    return client.get(f"/v1/studies/{study_id}/documents/{kind}")


def test_the_sr_is_of_the_study(client: TestClient, study_id: UUID, study: Made) -> None:
    answer = get(client, study_id, "sr")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    assert dcmread(BytesIO(answer.content)).StudyInstanceUID == study.uid


def test_the_texts_name_the_study_and_have_their_media_types(client: TestClient, study_id: UUID) -> None:
    fhir, hl7 = get(client, study_id, "fhir"), get(client, study_id, "hl7")
    assert (fhir.headers["content-type"], fhir.json()["resourceType"]) == ("application/fhir+json", "Bundle")
    assert (hl7.headers["content-type"].partition(";")[0], hl7.content[:3]) == ("application/hl7-v2", b"MSH")
    assert b"ACC4711" in hl7.content


def test_the_pictures_are_parts_of_one_answer(client: TestClient, study_id: UUID) -> None:
    answer = get(client, study_id, "pictures")
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    boundary = answer.headers["content-type"].rpartition("=")[2].encode()
    [_, part, _] = answer.content.split(b"--" + boundary)
    picture = dcmread(BytesIO(part.partition(b"\r\n\r\n")[2]))
    assert picture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"


def test_a_document_is_made_in_a_transaction_that_may_only_read(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session]
) -> None:
    engine = sessions.kw["bind"]
    modes = set()

    def look(connection: Any, *_: Any) -> None:
        with connection.connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            modes.add(cursor.fetchone()[0])

    event.listen(engine, "before_cursor_execute", look)
    assert get(client, study_id, "fhir").status_code == 200
    assert modes == {"on"}


def test_a_study_that_waits_has_no_document_yet(client: TestClient, study: Made) -> None:
    found = UUID(send(client, [study.image, study.report]).json()["study_id"])
    assert code_of(get(client, found, "sr")) == (409, "study_not_ended")


@pytest.mark.parametrize("kind", ["sr", "pictures"])
def test_a_study_whose_images_are_gone_is_told_so(
    client: TestClient, study_id: UUID, kind: str, sessions: sessionmaker[Session]
) -> None:
    from worker.settings import get_settings

    for path in get_settings().storage_root.rglob("*.dcm"):
        path.unlink()
    status, code = code_of(get(client, study_id, kind))
    assert (status, code.startswith(("file_", "sop_"))) == (422, True)


def test_no_study_and_no_kind_are_told_so(client: TestClient, study_id: UUID) -> None:
    assert code_of(get(client, uuid4(), "sr")) == (404, "study_not_found")
    assert code_of(get(client, study_id, "pdf")) == (422, "request_invalid")
