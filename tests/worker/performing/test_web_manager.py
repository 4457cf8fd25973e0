"""UPS-RS (PS3.18, 11): what a manager's answers mean; a small server of our own, in the standard's form and dcm4chee's.

No server with a Worklist Service is among the packages that tests may install.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom import Dataset
from sqlalchemy.orm import Session, sessionmaker

from tests.worker.performing.test_performer import kept_before_a_crash, performer_of, reason
from tests.worker.performing.ups_manager import STATION, UpsManager, work_item
from worker.errors import DlrError, SetupRefused, StudyRefused, Unavailable
from worker.performing.claims import Claims
from worker.performing.from_settings import manager_of
from worker.performing.manager import Answer, StepState, Worklist
from worker.performing.performed import CLAIMED, progress
from worker.performing.scheduled import Coded, Ours, uid_of
from worker.performing.web_manager import PAGE
from worker.settings import Settings

OURS = Ours(stations=[Coded(*STATION)])
OUR_UID, ANOTHER_UID = "2.25.1", "2.25.2"

STATUSES = {0x0000: 200, 0xB304: 200, 0xB306: 200, 0xC301: 400, 0xC307: 404}
WARNINGS = {0xC301: "The Transaction UID is incorrect.", 0xC310: "The target URI did not reference a claimed Workitem."}


@dataclass
class WebPeer:
    """The Worklist Service over a manager's items.

    Attributes:
        answer: of whatever is asked, instead.
        of_dcm4chee: the Transaction UID of an update is read in its payload, and who asks for a state in the path.
    """

    manager: UpsManager
    of_dcm4chee: bool = False
    answer: tuple[int, bytes] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    signed_in: set[str | None] = field(default_factory=set)
    url: str = ""

    def searched(self, query: dict[str, list[str]]) -> list[Dataset]:
        [station] = query.get("ScheduledStationNameCodeSequence.CodeValue", [None])
        found = [
            item
            for item in self.manager.items.values()
            if query.get("ProcedureStepState", [item.ProcedureStepState]) == [item.ProcedureStepState]
            and station in (None, *(code.CodeValue for code in item.ScheduledStationNameCodeSequence))
        ]
        first = int(query.get("offset", ["0"])[0])
        return found[first : first + int(query["limit"][0])]

    def done(self, method: str, path: list[str], query: dict[str, list[str]], said: Dataset) -> int | None:
        """Return the status of PS3.4 that came of it; ``None``: there is no such route."""
        match method, path:
            case "POST", [_, uid]:
                if self.of_dcm4chee:
                    return self.manager.was_set(uid, said)
                if "TransactionUID" in said:
                    return 0xC301
                said.TransactionUID = query["transaction-uid"][0]
                return self.manager.was_set(uid, said)
            case "PUT", [_, uid, "state", *requester] if bool(requester) == self.of_dcm4chee:
                return self.manager.changed(uid, said.ProcedureStepState, said.TransactionUID)
        return None


def handler_of(peer: WebPeer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, query = self._where()
            if path == ["workitems"]:
                return self._say(200, [item.to_json_dict() for item in peer.searched(query)])
            item = peer.manager.items.get(path[1])
            return self._say(404) if item is None else self._say(200, [item.to_json_dict()])

        def do_POST(self) -> None:
            path, query = self._where()
            assert self.headers["Content-Type"] == "application/dicom+json"
            [said] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = peer.done(self.command, path, query, Dataset.from_json(said))
            if status is None:
                return self._say(404)
            return self._say(STATUSES.get(status, 409), warning=WARNINGS.get(status))

        do_PUT = do_POST  # noqa: N815  the name that http.server calls

        def _where(self) -> tuple[list[str], dict[str, list[str]]]:
            address = urlsplit(self.path)
            peer.asked.append((self.command, address.path))
            peer.signed_in.add(self.headers["Authorization"])
            return address.path.removeprefix("/web/").split("/"), parse_qs(address.query)

        def _say(self, status: int, body: Any = None, warning: str | None = None) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            if peer.answer is not None:
                status, content = peer.answer
            self.send_response(status)
            if warning is not None:
                self.send_header("Warning", f"299 ours: {warning}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def serving(peer: WebPeer) -> Iterator[WebPeer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(peer))
    thread = Thread(target=server.serve_forever)
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_port}/web"
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=[False, True], ids=["standard", "dcm4chee"])
def peer(request: pytest.FixtureRequest) -> Iterator[WebPeer]:
    with serving(WebPeer(UpsManager(0), of_dcm4chee=request.param)) as peer:
        yield peer


def settings_of(url: str, **changes: Any) -> Settings:
    servers = {"ris": {"url": url, "token": "t0ken"}}
    return Settings(**{"dicomweb_servers": servers, "perform_dicomweb": "ris", "perform_timeout_s": 5.0, **changes})


@contextmanager
def opened(peer: WebPeer) -> Iterator[Worklist]:
    with manager_of(settings_of(peer.url)).opened() as worklist:
        yield worklist


def ended(worklist: Worklist, peer: WebPeer, uid: str) -> Answer:
    """Say all that a final state needs, and ask for it."""
    peer.manager.items[uid].ProcedureStepProgressInformationSequence = [
        progress(CLAIMED).ProcedureStepProgressInformationSequence[0]
    ]
    [said] = peer.manager.items[uid].ProcedureStepProgressInformationSequence
    said.ProcedureStepCancellationDateTime = "20261130"
    said.ProcedureStepDiscontinuationReasonCodeSequence = [Dataset()]
    said.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue = "110513"
    return worklist.change(uid, OUR_UID, StepState.CANCELED)


def test_an_item_is_found_claimed_told_of_and_ended_and_ended_again_is_once(peer: WebPeer) -> None:
    ours = peer.manager.add(work_item())
    peer.manager.add(work_item(station=("CT1", "99HOSPITAL", "A scanner")))
    with opened(peer) as worklist:
        [item] = worklist.scheduled(OURS)
        assert (uid_of(item), OURS.includes(item)) == (ours, True)
        assert worklist.change(ours, OUR_UID, StepState.IN_PROGRESS) is Answer.DONE
        assert worklist.update(ours, OUR_UID, progress(CLAIMED)) is Answer.DONE
        assert ended(worklist, peer, ours) is Answer.DONE
        assert worklist.change(ours, OUR_UID, StepState.CANCELED) is Answer.DONE
        assert worklist.scheduled(OURS) == []
    assert (peer.manager.state(ours), [uid for uid, _ in peer.manager.told]) == ("CANCELED", [ours])
    assert peer.signed_in == {"Bearer t0ken"}


def test_each_refusal_says_what_the_item_is(peer: WebPeer) -> None:
    claimed, done, new = (peer.manager.add(work_item()) for _ in range(3))
    peer.manager.changed(claimed, "IN PROGRESS", ANOTHER_UID)
    peer.manager.items[done].ProcedureStepState = "COMPLETED"
    with opened(peer) as worklist:
        claims = [worklist.change(uid, OUR_UID, StepState.IN_PROGRESS) for uid in (claimed, done, "1.2.3")]
        assert claims == [Answer.IN_PROGRESS, Answer.ENDED, Answer.UNKNOWN]
        told = [worklist.update(uid, OUR_UID, progress(CLAIMED)) for uid in (claimed, done, "1.2.3", new)]
        assert told == [Answer.NOT_OURS, Answer.ENDED, Answer.UNKNOWN, Answer.NOT_IN_PROGRESS]
        ends = [worklist.change(uid, OUR_UID, StepState.CANCELED) for uid in (claimed, done, "1.2.3", new)]
        assert ends == [Answer.NOT_OURS, Answer.ENDED, Answer.UNKNOWN, Answer.NOT_IN_PROGRESS]
    assert peer.manager.transactions == {claimed: ANOTHER_UID}


def test_a_final_state_whose_needs_are_not_met_is_refused_for_good(peer: WebPeer) -> None:
    uid = peer.manager.add(work_item())
    with opened(peer) as worklist:
        worklist.change(uid, OUR_UID, StepState.IN_PROGRESS)
        with pytest.raises(StudyRefused, match="destination_refused"):
            worklist.change(uid, OUR_UID, StepState.COMPLETED)


@pytest.mark.parametrize(
    "answer",
    [(404, b""), (503, b""), (401, b""), (200, b"<html>sign in</html>"), (302, b"")],
    ids=["no such service", "busy", "not signed in", "HTML", "elsewhere"],
)
def test_a_server_that_has_no_worklist_to_give_is_waited_for(answer: tuple[int, bytes]) -> None:
    with serving(WebPeer(UpsManager(0), answer=answer)) as peer:
        for ask in (manager_of(settings_of(peer.url)).test, opened(peer).__enter__):
            with pytest.raises(Unavailable, match="destination_unavailable"):
                ask()


def test_a_server_that_fails_in_the_middle_is_waited_for_and_nothing_is_let_go() -> None:
    with serving(WebPeer(UpsManager(0))) as peer, opened(peer) as worklist:
        peer.answer = (500, b"")
        for ask in (
            lambda: worklist.change("1.2.3", OUR_UID, StepState.CANCELED),
            lambda: worklist.update("1.2.3", OUR_UID, progress(CLAIMED)),
            lambda: worklist.scheduled(OURS),
        ):
            with pytest.raises(Unavailable, match="destination_unavailable"):
                ask()


@pytest.mark.parametrize("answer", [b"null", b"[1]", b'[{"00080018": 1}]', b'{"x": [{}]}', b"[[]]"], ids=range(5))
def test_json_of_another_model_is_no_work_item(answer: bytes) -> None:
    with serving(WebPeer(UpsManager(0))) as peer, opened(peer) as worklist:
        peer.answer = (200, answer)
        assert not any(map(OURS.includes, worklist.scheduled(OURS)))


def test_a_worklist_of_many_items_is_read_page_by_page() -> None:
    with serving(WebPeer(UpsManager(0))) as peer:
        for _ in range(PAGE + 1):
            peer.manager.add(work_item())
        with opened(peer) as worklist:
            assert {uid_of(item) for item in worklist.scheduled(OURS)} == peer.manager.items.keys()


def test_a_performer_cancels_by_dicomweb_what_names_no_study(
    sessions: sessionmaker[Session], tmp_path: Path, peer: WebPeer
) -> None:
    uid = peer.manager.add(work_item(()))
    manager = manager_of(settings_of(peer.url))
    with Claims.held(tmp_path / "storage", manager.where) as claims:
        performer = performer_of(manager, claims, sessions, tmp_path / "storage", 1)
        performer.work()
        performer.work()
        assert (peer.manager.state(uid), reason(peer.manager, uid), claims.all()) == (
            "CANCELED",
            "work_item_invalid",
            [],
        )


def test_after_a_crash_a_claim_is_held_if_it_was_ours_and_dropped_if_it_was_another_s(
    sessions: sessionmaker[Session], tmp_path: Path, peer: WebPeer
) -> None:
    ours, others, never = (peer.manager.add(work_item(())) for _ in range(3))
    manager = manager_of(settings_of(peer.url))
    with Claims.held(tmp_path / "storage", manager.where) as claims:
        performer = performer_of(manager, claims, sessions, tmp_path / "storage", 1)
        for uid in (ours, others, never):
            claim = kept_before_a_crash(performer, peer.manager.items[uid], uid)
            if uid != never:
                peer.manager.changed(uid, "IN PROGRESS", claim.transaction_uid if uid == ours else ANOTHER_UID)
        performer.work()
        assert {claim.uid for claim in claims.all()} == {ours, never}
        performer.work()
    assert [peer.manager.state(uid) for uid in (ours, others, never)] == ["CANCELED", "IN PROGRESS", "CANCELED"]


@pytest.mark.parametrize(
    "changes",
    [{"perform_dicomweb": None}, {"perform_manager": "RIS@ris:104"}, {"perform_dicomweb": "pacs"}],
    ids=["none", "two", "unknown"],
)
def test_one_manager_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(SetupRefused, match="setting_invalid"):
        manager_of(settings_of("http://127.0.0.1:9/web", **changes))


def test_whom_nobody_answers_is_away() -> None:
    with pytest.raises(DlrError, match="destination_unavailable"):
        manager_of(settings_of("http://127.0.0.1:9/web")).test()
