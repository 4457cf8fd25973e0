"""What programs do is noted for an audit."""

from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.audit import Audited
from db.writes import audit
from tests.worker.api.test_documents import get, study, study_id

__all__ = ["study", "study_id"]


def test_what_a_program_opens_exports_and_asks_for_is_noted_in_its_order(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session]
) -> None:
    assert client.get(f"/v1/studies/{study_id}").status_code == 200
    assert get(client, study_id, "fhir").status_code == 200
    assert client.get("/v1/worklist?limit=5&state=done").status_code == 200
    assert client.post("/v1/worklist/search", json={"text": "ACC4711"}).status_code == 200
    with sessions() as session:
        found = audit.not_sent(session, 10)
    assert [(one.event, one.detail, one.study_id) for one in found] == [
        (Audited.STUDY_OPENED, None, study_id),
        (Audited.DOCUMENT_EXPORTED, "fhir", study_id),
        (Audited.WORKLIST_QUERIED, "limit=5&state=done", None),
        (Audited.WORKLIST_QUERIED, "text=ACC4711", None),
    ]
    assert {(one.actor, one.role, one.address) for one in found} == {("program-0", "api", "testclient")}
    assert found[0].accession_number == "ACC4711"
    assert found[0].study_instance_uid
