"""As which role of the database each route asks: the least that can answer it, and whether it may write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker
from starlette.routing import Route
from starlette.testclient import TestClient

from db.schema.roles import WEB, WRITER
from tests.db.samples import claimed, finish_one, result, scored
from tests.worker.api.conftest import push
from tests.worker.api.test_findings import RESULT, VERDICT
from tests.worker.api.test_jobs import a_job
from tests.worker.api.test_requests import ASKED
from tests.worker.api.test_tokens import OPEN, SCOPE_OF
from tests.worker.api.test_uploads import Made, made, send
from worker.api.application import ROUTERS, make_application
from worker.api.service import Service

READS, WRITES = "may only read", "may write"

AS_WEB, AS_WRITER = {(WEB, WRITES)}, {(WRITER, WRITES)}
ASKS_AS = {
    ("post", "/v1/jobs"): AS_WRITER,
    ("get", "/v1/requests/{request_id}"): set(),
    ("post", "/v1/studies"): AS_WRITER,
    ("get", "/v1/studies/{study_id}"): AS_WEB,
    ("get", "/v1/worklist"): AS_WEB,
    ("post", "/v1/worklist/search"): AS_WEB,
    ("get", "/v1/studies/{study_id}/documents/{kind}"): {(WRITER, READS)} | AS_WEB,  # the latter notes who had it
    ("post", "/v1/studies/{study_id}/verdicts"): AS_WRITER,
    ("post", "/v1/pathology"): AS_WRITER,
    ("get", "/healthz"): set(),
    ("get", "/readyz"): AS_WEB | AS_WRITER,
}
"""Each route, and the roles and transactions in which it asks; what `dlr_web` may do is tested with the page."""


def requests(client: TestClient, study_id: UUID, sent: Made) -> dict[tuple[str, str], Callable[[], Any]]:
    """A request for each route that is answered well."""
    place = f"/v1/studies/{study_id}"
    return {
        ("post", "/v1/jobs"): lambda: push(client, a_job()),
        ("get", "/v1/requests/{request_id}"): lambda: client.get(push(client, ASKED).json()["status_url"]),
        ("post", "/v1/studies"): lambda: send(client, [sent.image, sent.report]),
        ("get", "/v1/studies/{study_id}"): lambda: client.get(place),
        ("get", "/v1/worklist"): lambda: client.get("/v1/worklist"),
        ("post", "/v1/worklist/search"): lambda: client.post("/v1/worklist/search", json={"text": "ACC4711"}),
        ("get", "/v1/studies/{study_id}/documents/{kind}"): lambda: client.get(f"{place}/documents/sr"),
        ("post", "/v1/studies/{study_id}/verdicts"): lambda: client.post(
            f"{place}/verdicts", json={"verdicts": [VERDICT]}
        ),
        ("post", "/v1/pathology"): lambda: client.post(
            "/v1/pathology", json={"results": [RESULT | {"study": "ACC4711"}]}
        ),
        ("get", "/healthz"): lambda: client.get("/healthz"),
        ("get", "/readyz"): lambda: client.get("/readyz"),
    }


@contextmanager
def heard(service: Service) -> Iterator[set[tuple[str, str]]]:
    """Give the roles and the kinds of transactions in which PostgreSQL is asked meanwhile."""
    found: set[tuple[str, str]] = set()

    def look(connection: Any, *_: Any) -> None:
        with connection.connection.cursor() as cursor:
            cursor.execute("SELECT current_user, current_setting('transaction_read_only')")
            role, reads = cursor.fetchone()
            found.add((role, READS if reads == "on" else WRITES))

    engines = [sessions.kw["bind"] for sessions in (service.writing, service.reading)]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", look)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", look)


def test_each_route_asks_as_the_least_role_that_can_answer(
    client: TestClient, service: Service, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    sent = made(tmp_path / "sent")
    study_id = UUID(send(client, [sent.image, sent.report]).json()["study_id"])
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, study_id), scored("L1")))
    asked: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for route, ask in requests(client, study_id, sent).items():
        with heard(service) as found:
            answer = ask()
        assert answer.status_code < 300, (route, answer.text)
        asked[route] = found
    assert asked == ASKS_AS


def test_each_address_that_is_answered_has_its_scope_and_its_roles_in_these_tables(service: Service) -> None:
    """The description itself needs no token: it says nothing of a study, and is checked in."""
    own = [route.path for route in make_application(service).routes if isinstance(route, Route)]
    assert own == ["/v1/openapi.json"]
    routes = [route for router in ROUTERS for route in router.routes]
    found = {
        (method.lower(), route.path) for route in routes if isinstance(route, Route) for method in route.methods or ()
    }
    assert found == set(ASKS_AS)
    assert set(ASKS_AS) == set(SCOPE_OF) | {("get", path) for path in OPEN}
