"""``GET /v1/studies/{study_id}``: how far a study is and what came of it."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.db.samples import ended, lesion, refused, scored, study
from tests.worker.api.conftest import code_of, push
from tests.worker.api.test_jobs import a_job


def test_a_study_that_waits_has_its_state_its_lesions_and_its_place(client: TestClient) -> None:
    where = push(client, a_job(priority="urgent")).json()["status_url"]
    said = client.get(where).json()
    assert (said["state"], said["revision"], said["priority"], said["finished_at"]) == ("queued", 1, "urgent", None)
    assert said["place"]["position"] == 1
    assert [(one["lesion_id"], one["birads"], one["advice"]) for one in said["lesions"]] == [("L1", "4A", None)]


def test_a_study_that_ended_has_scores_advice_and_place(client: TestClient, sessions: sessionmaker[Session]) -> None:
    lesions = (lesion("L1"), lesion("L2", "4B"))
    with sessions.begin() as session:
        recorded = ended(session, study(lesions=lesions), scored("L1", lh=0.9, bm=0.8), refused("L2"))
    said = client.get(f"/v1/studies/{recorded.study_id}").json()
    assert (said["state"], said["place"]["worklist_class"]) == ("partial", "upgraded")
    assert said["notice"] == "demo, synthetic, not for clinical use"
    first, second = said["lesions"]
    assert first["dlr_lh"] == {"probability": 0.9, "predicted_class": "high risk", "threshold": 0.5, "version": "1.0"}
    assert (first["dlr_bm"]["probability"], first["advice"]["outcome"]) == (0.8, "upgraded")
    assert (first["advice"]["recommended"], first["images"][0]["dlr_bm"]) == (">4A", 0.8)
    assert (second["dlr_bm"], second["advice"], second["error_code"]) == (None, None, "age_missing")


def test_a_job_that_was_refused_is_found_under_the_id_that_was_told(client: TestClient) -> None:
    told = push(client, a_job(priority="asap")).json()["study_id"]
    said = client.get(f"/v1/studies/{told}").json()
    assert (said["state"], said["error_code"], said["place"], said["lesions"]) == ("failed", "job_invalid", None, [])


def test_the_id_of_a_revision_that_was_replaced_is_not_found(client: TestClient) -> None:
    first = push(client, a_job()).json()["status_url"]
    push(client, a_job(age_years=50.0))
    assert code_of(client.get(first)) == (404, "study_not_found")


@pytest.mark.parametrize(
    ("place", "found"),
    [(str(uuid4()), (404, "study_not_found")), ("1.2.3", (422, "request_invalid")), ("", (405, "route_not_found"))],
    ids=["unknown", "uid", "none"],
)
def test_what_is_no_study_is_told_without_what_was_asked(
    client: TestClient, place: str, found: tuple[int, str]
) -> None:
    answer = client.get(f"/v1/studies/{place}")
    assert code_of(answer) == found
    assert not place or place not in answer.text
