"""Verdicts and pathology by HTTP: all rows of a request or none, and nothing on what is no longer current."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.db.samples import ended, lesion, scored, study
from tests.worker.api.conftest import code_of

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
VERDICT = {
    "revision": 1, "lesion_id": "L1", "final_birads": "4B", "reader": "b.meier", "read_at": YESTERDAY,
    "lh_version": "1.0", "bm_version": "1.0", "agrees": True,
}  # fmt: skip
RESULT = {"study": "A1", "lesion_id": "L1", "result": "malignant", "reported_on": "2026-03-01", "histology": "8500/3"}


@pytest.fixture
def study_id(sessions: sessionmaker[Session]) -> UUID:
    with sessions.begin() as session:
        return ended(session, study(), scored()).study_id


def give(client: TestClient, study_id: UUID, **changes: Any) -> Any:
    return client.post(f"/v1/studies/{study_id}/verdicts", json={"verdicts": [{**VERDICT, **changes}]})


def test_a_verdict_marks_its_study_as_read_once_however_often_it_comes(client: TestClient, study_id: UUID) -> None:
    first, again = give(client, study_id), give(client, study_id)
    assert first.json() == {"rows": 1, "new": 1, "corrected": 0, "unchanged": 0, "outdated": 0}
    assert again.json() == {"rows": 1, "new": 0, "corrected": 0, "unchanged": 1, "outdated": 0}
    said = client.get(f"/v1/studies/{study_id}").json()
    assert (said["read_by"], said["read_at"] is not None) == ("b.meier", True)


@pytest.mark.parametrize("changes", [{"revision": 2}, {"lh_version": "0.9"}, {"bm_version": None}], ids=str)
def test_a_verdict_on_what_is_not_shown_any_more_conflicts_and_writes_nothing(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session], changes: dict[str, Any]
) -> None:
    assert code_of(give(client, study_id, **changes)) == (409, "verdict_outdated")
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM reading")) == 0


def test_a_verdict_on_a_revision_that_was_replaced_conflicts(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study(content="b"), scored())
    assert code_of(give(client, study_id)) == (409, "study_not_current")


def test_a_verdict_on_no_study_is_told_so(client: TestClient) -> None:
    assert code_of(give(client, uuid4())) == (404, "study_not_found")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"final_birads": "7"}, "row_invalid"),
        ({"read_at": "2999-01-01T00:00:00Z"}, "row_invalid"),
        ({"read_at": "0001-01-01T00:00:00+14:00"}, "row_invalid"),
        ({"lesion_id": "L9"}, "lesion_not_found"),
        ({"study": "A1"}, "row_invalid"),
        ({"password": "x"}, "row_invalid"),
        ({"remark": "x" * 501}, "row_invalid"),
    ],
    ids=str,
)
def test_a_bad_row_is_named_and_keeps_the_others_out(
    client: TestClient, study_id: UUID, changes: dict[str, Any], code: str
) -> None:
    rows = [VERDICT, {**VERDICT, **changes}]
    if changes == {"study": "A1"}:
        rows[1]["study"] = ""
    answer = client.post(f"/v1/studies/{study_id}/verdicts", json={"verdicts": rows})
    assert code_of(answer) == (422, "verdict_invalid")
    assert [(row["line"], row["code"]) for row in answer.json()["rows"]] == [(2, code)]
    assert client.get(f"/v1/studies/{study_id}").json()["read_at"] is None


@pytest.mark.parametrize(
    "body",
    [[], {}, {"verdicts": {}}, {"verdicts": []}, {"verdicts": [], "more": 1}, {"verdicts": [1] * 10_001}],
    ids=range(6),
)
def test_a_body_without_rows_is_refused(client: TestClient, study_id: UUID, body: object) -> None:
    answer = client.post(f"/v1/studies/{study_id}/verdicts", json=body)
    assert code_of(answer) == (422, "request_invalid")


def test_a_result_of_pathology_is_recorded_once_under_the_token_s_name(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session]
) -> None:
    first, again = (client.post("/v1/pathology", json={"results": [RESULT]}) for _ in range(2))
    assert (first.json()["new"], again.json()["unchanged"]) == (1, 1)
    with sessions() as session:
        [(result, histology)] = session.execute(text("SELECT result, histology FROM pathology_result")).all()
        detail = session.scalar(text("SELECT detail::text FROM study_event WHERE event = 'pathology'"))
    assert (result, histology) == ("malignant", "8500/3")
    assert "program-0" in detail


def test_a_result_of_an_unknown_study_is_told_so_and_one_bad_row_keeps_all_out(
    client: TestClient, study_id: UUID, sessions: sessionmaker[Session]
) -> None:
    unknown = {**RESULT, "study": "A99"}
    assert code_of(client.post("/v1/pathology", json={"results": [unknown]})) == (404, "study_not_found")
    answer = client.post("/v1/pathology", json={"results": [RESULT, {**RESULT, "histology": "Mrs Roe"}]})
    assert code_of(answer) == (422, "pathology_invalid")
    assert "Roe" not in answer.text
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM pathology_result")) == 0


def test_several_lesions_of_a_study_are_read_at_once(client: TestClient, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        record = study("1.9", "z", lesions=(lesion("L1"), lesion("L2")))
        study_id = ended(session, record, scored("L1"), scored("L2")).study_id
    rows = [VERDICT, {**VERDICT, "lesion_id": "L2"}]
    answer = client.post(f"/v1/studies/{study_id}/verdicts", json={"verdicts": rows})
    assert (answer.status_code, answer.json()["new"]) == (200, 2)
