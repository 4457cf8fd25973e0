"""What readers do is noted for an audit."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.audit import Audited
from db.writes import audit
from tests.db.samples import ended, scored
from tests.db.samples import study as sample
from tests.worker.web.conftest import token_in
from tests.worker.web.test_signing_in import tries


def test_who_signs_in_is_refused_opens_a_study_and_signs_out_is_noted_in_its_order(
    stranger: TestClient, sign_in: Callable[..., TestClient], sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        study_id: UUID = ended(session, sample("1.2.3", "1"), scored()).study_id
    assert tries(stranger, "reader", "wrong") == tries(stranger, "hunter2", "wrong") == 401
    reader = sign_in()
    assert reader.get(f"/studies/{study_id}").status_code == 200
    assert reader.post("/sign-out", data={"token": token_in(reader, "/")}).status_code == 303
    with sessions() as session:
        found = audit.not_sent(session, 10)
    assert [(one.event, one.actor, one.role, one.study_id) for one in found] == [
        (Audited.SIGN_IN_REFUSED, "reader", None, None),
        (Audited.SIGN_IN_REFUSED, "unknown", None, None),
        (Audited.SIGNED_IN, "reader", "reader", None),
        (Audited.STUDY_OPENED, "reader", "reader", study_id),
        (Audited.SIGNED_OUT, "reader", "reader", None),
    ]
    assert all(one.address for one in found)
