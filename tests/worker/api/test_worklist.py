"""``/v1/worklist``: the list in its order, page by page, with the filters of the page."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from tests.db.samples import ended, lesion, read, scored, study
from tests.worker.api.conftest import code_of

HIGH, LOW = (0.9, 0.8), (0.1, 0.1)


@pytest.fixture
def listed(sessions: sessionmaker[Session]) -> list[str]:
    """Five studies that are to be read, first those that come first, and one that was read."""
    with sessions.begin() as session:
        ids = {}
        for number, (priority, scores) in enumerate(
            [("stat", HIGH), ("routine", HIGH), ("routine", HIGH), ("stat", LOW), ("routine", LOW), ("routine", HIGH)]
        ):
            record = study(f"1.2.{number}", str(number), accession_number=f"ACC{number}", priority=priority)
            ids[number] = ended(session, record, scored("L1", *scores)).study_id
        read(session, ids[5], "bea", "4B", agrees=True)
    return [str(ids[number]) for number in range(5)]


def ids_of(answer: Any) -> Sequence[str]:
    assert answer.status_code == 200, answer.text
    return [entry["study_id"] for entry in answer.json()["entries"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_page_by_page_each_study_that_is_to_be_read_comes_once_in_the_order_of_the_list(
    client: TestClient, listed: list[str], limit: int
) -> None:
    found: list[str] = []
    cursor = None
    while True:
        answer = client.get("/v1/worklist", params={"limit": limit, **({"cursor": cursor} if cursor else {})})
        found += ids_of(answer)
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert found == ids_of(client.get("/v1/worklist"))
    assert sorted(found) == sorted(listed)


def test_an_entry_says_what_the_page_says_and_where_the_study_is(client: TestClient, listed: list[str]) -> None:
    [entry] = client.get("/v1/worklist", params={"limit": 1}).json()["entries"]
    assert (entry["study_id"], entry["accession_number"], entry["position"]) == (listed[0], "ACC0", 1)
    assert (entry["worklist_class"], entry["dlr_lh"], entry["dlr_bm"]) == ("upgraded", 0.9, 0.8)
    assert client.get(entry["study_url"]).json()["study_id"] == listed[0]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"priority": "stat"}, {0, 3}),
        ({"class": "upgraded"}, {0, 1, 2}),
        ({"class": "downgraded", "priority": "stat"}, {3}),
        ({"tier": "suspicious"}, {0, 1, 2}),
        ({"state": "failed"}, set()),
        ({"site": "Example Hospital"}, {0, 1, 2, 3, 4}),
        ({"site": "Another"}, set()),
        ({"scanner": "Acme Sono 1"}, {0, 1, 2, 3, 4}),
        ({"received_from": "2020-01-01T00:00:00Z"}, {0, 1, 2, 3, 4}),
        ({"received_from": "2020-01-01T00:00:00+23:00"}, {0, 1, 2, 3, 4}),
        ({"received_before": "2020-01-01T00:00:00Z"}, set()),
        ({"read": "any"}, {0, 1, 2, 3, 4, 5}),
        ({"read": "yes"}, {5}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_a_filter_lets_those_pass_that_the_page_lets_pass(
    client: TestClient, listed: list[str], query: dict[str, str], numbers: set[int]
) -> None:
    answer = client.get("/v1/worklist", params=query)
    assert {entry["accession_number"] for entry in answer.json()["entries"]} == {f"ACC{one}" for one in numbers}
    assert len(ids_of(answer)) == len(numbers)


def test_behind_a_study_that_has_left_the_list_it_begins_anew_and_says_so(
    client: TestClient, listed: list[str]
) -> None:
    answer = client.get("/v1/worklist", params={"cursor": str(uuid4())})
    assert (sorted(ids_of(answer)), answer.json()["begins_anew"]) == (sorted(listed), True)


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"class": "best"}, {"tier": "none"}, {"read": "maybe"},
     {"received_from": "yesterday"}, {"received_from": "2020-01-01T00:00:00"}, {"site": ""}, {"side": "both"},
     {"received_from": "0001-01-01T00:00:00+14:00"}],
    ids=str,
)  # fmt: skip
def test_a_filter_that_means_nothing_is_refused_and_not_passed_over(client: TestClient, query: dict[str, Any]) -> None:
    assert code_of(client.get("/v1/worklist", params=query)) == (422, "request_invalid")


@pytest.mark.parametrize(
    ("text", "numbers"), [("ACC3", {3}), ("1.2.4", {4}), ("ACC5", {5}), ("CC", {0, 1, 2, 3, 4, 5}), ("nothing", set())]
)
def test_a_study_is_found_by_its_numbers_without_any_in_an_address(
    client: TestClient, listed: list[str], text: str, numbers: set[int]
) -> None:
    answer = client.post("/v1/worklist/search", json={"text": text})
    assert {entry["accession_number"] for entry in answer.json()["entries"]} == {f"ACC{one}" for one in numbers}


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": 1}, {"text": "a", "more": 1}, [], {"text": "a\0"}], ids=str
)
def test_a_search_for_nothing_is_refused(client: TestClient, body: object) -> None:
    assert code_of(client.post("/v1/worklist/search", json=body)) == (422, "request_invalid")


def test_a_lesion_s_id_finds_its_study(client: TestClient, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(lesions=(lesion("left-1"),)), scored("left-1"))
    assert len(ids_of(client.post("/v1/worklist/search", json={"text": "left-1"}))) == 1
