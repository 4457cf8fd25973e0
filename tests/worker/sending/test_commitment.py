"""Storage commitment: a delivery is done once the PACS says that it keeps what it was sent, however it says so."""

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import Verification
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.writes import outbox
from db.writes.commitments import Standing
from tests.pacs_servers import PacsPeer, needs, orthanc
from tests.waiting import pace, until
from tests.worker.reporting.samples import LIMITS
from tests.worker.sending.hospital import FAILED, SENT, WAITING, Archive, deliveries, end_study, running, settle
from worker.errors import Code, DlrError, StudyRefused, Unavailable
from worker.intake.accept_study import Intake
from worker.intake.commitment_report import INVALID_ARGUMENT, PUSH_MODEL, SUCCESS
from worker.intake.inbox import Inbox
from worker.intake.receiver import Receiver, listening
from worker.intake.receiver_config import ReceiverConfig
from worker.network.port import free_port
from worker.sending.commitment import WELL_KNOWN_INSTANCE, settled
from worker.sending.destination import Awaited, Deferred
from worker.sending.from_settings import routes
from worker.sending.sender import Sender
from worker.settings import Settings

pytestmark = pytest.mark.slow

Sessions = sessionmaker[Session]
Made = Callable[..., Sender]

NO_SUCH_INSTANCE, CONFLICT, NOT_SUPPORTED = 0x0112, 0x0119, 0x0122
STORED = (Comprehensive3DSRStorage, EncapsulatedPDFStorage)


@dataclass
class Pacs:
    """A PACS that commits itself, and reports as a test has it.

    Attributes:
        reports_to: who is called for the report; ``None``: it is sent on the association of the request.
        says_role: it proposes its role (SCP) where it calls.
        refuses: instances that it does not keep, by their order, with the Failure Reason.
        leaves_out: so many of the last instances are not in its report.
        is_silent: it reports nothing.
        is_rude: it ends the association instead of an answer.
    """

    port: int
    reports_to: tuple[str, int] | None = None
    says_role: bool = True
    refuses: Mapping[int, int] = field(default_factory=dict)
    leaves_out: int = 0
    is_silent: bool = False
    is_rude: bool = False
    kept: list[str] = field(default_factory=list)
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _said: list[threading.Thread] = field(default_factory=list)

    def store(self, event: Any) -> int:
        self.kept.append(str(event.request.AffectedSOPInstanceUID))
        return SUCCESS

    def take(self, event: Any) -> tuple[int, None]:
        assert event.action_type == 1
        assert event.request.RequestedSOPInstanceUID == WELL_KNOWN_INSTANCE
        self.asked.append(event.action_information)
        if self.is_rude:
            event.assoc.abort()
        elif not self.is_silent:
            self._said.append(threading.Thread(target=self.report, args=(self.asked[-1], event.assoc)))
            self._said[-1].start()
        return SUCCESS, None

    def report(self, request: Dataset, association: Any = None) -> int:
        """Report on a request; return what was answered."""
        items = list(request.ReferencedSOPSequence)
        told = Dataset()
        told.TransactionUID = request.TransactionUID
        named = items[: len(items) - self.leaves_out]
        told.ReferencedSOPSequence = [one for number, one in enumerate(named) if number not in self.refuses]
        failed = [one for number, one in enumerate(named) if number in self.refuses]
        for one, reason in zip(failed, self.refuses.values(), strict=True):
            one.FailureReason = reason
        if failed:
            told.FailedSOPSequence = failed
        if self.reports_to is None:
            return self._send(association, told, failed)
        with self._calling() as ours:
            return self._send(ours, told, failed)

    @contextmanager
    def _calling(self) -> Iterator[Any]:
        assert self.reports_to is not None
        entity = AE(ae_title="PACS")
        entity.add_requested_context(PUSH_MODEL)
        role = [build_role(PUSH_MODEL, scp_role=True)] if self.says_role else []
        association = entity.associate("127.0.0.1", self.reports_to[1], ae_title=self.reports_to[0], ext_neg=role)
        assert association.is_established
        assert association.accepted_contexts
        yield association
        association.release()

    def _send(self, association: Any, told: Dataset, failed: Sequence[Dataset]) -> int:
        answer, _ = association.send_n_event_report(told, 2 if failed else 1, PUSH_MODEL, WELL_KNOWN_INSTANCE)
        self.answers.append(answer.Status)
        return int(answer.Status)

    def done(self) -> None:
        for thread in self._said:
            thread.join()


@contextmanager
def listens(pacs: Pacs) -> Iterator[Pacs]:
    entity = AE(ae_title="PACS")
    for sop_class in (Verification, *STORED, PUSH_MODEL):
        entity.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_C_STORE, pacs.store), (evt.EVT_N_ACTION, pacs.take)]
    server: Any = entity.start_server(("127.0.0.1", pacs.port), block=False, evt_handlers=handlers)
    try:
        yield pacs
    finally:
        pacs.done()
        server.shutdown()


@pytest.fixture
def receiver(sessions: Sessions, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """`dlr receive`: its AE title and port."""
    root = tmp_path / "received"
    with Inbox.held(root) as inbox:
        received = Receiver(inbox, Intake(sessions, root, lambda *_: None), LIMITS, 30.0, lambda work: work())
        with listening(received, ReceiverConfig("127.0.0.1", 0, "DLR", ("PACS", "ORTHANC"), 4)) as (_, port):
            yield "DLR", port


@pytest.fixture
def sender(sessions: Sessions, root: Path, port: int, tmp_path: Path) -> Made:
    """Give a sender to the PACS at the port, which is asked to commit itself."""

    def made(more: str = "", address: str = f"PACS@127.0.0.1:{port}", commitment: bool = True) -> Sender:
        file = tmp_path / "destinations.toml"
        asks = "commitment = true" if commitment else ""
        file.write_text(
            f'[destination.archive]\nkind = "dimse"\naddress = "{address}"\n{asks}\n{more}\n'
            "[destination.archive.results]\ndemo = true\n"
        )
        [route] = routes(Settings(storage_root=root, send_destinations=file, send_timeout_s=min(pace(10), 50)))
        sender = Sender(route.destination, sessions, 0.1, 600, lambda work: work(), terms=route.terms)
        sender.switch_on()
        return sender

    return made


def only(sessions: Sessions) -> dict[str, Any]:
    [row] = deliveries(sessions)
    return row


def long_ago(sessions: Sessions) -> None:
    """Let every request have been made two hours ago, and every delivery be due."""
    with sessions.begin() as session:
        session.execute(text("UPDATE storage_commitment SET asked_at = asked_at - interval '2 h'"))
    settle(sessions)


def test_a_report_on_the_association_of_the_request_ends_the_delivery(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender('documents = ["sr", "pdf"]')
    end_study(sessions, root, fails=True)
    with listens(Pacs(port)) as pacs:
        done = sending.work()
    assert (done.sent, done.held_up) == (1, 0)
    [request] = pacs.asked
    assert [str(one.ReferencedSOPInstanceUID) for one in request.ReferencedSOPSequence] == pacs.kept
    assert [one.ReferencedSOPClassUID for one in request.ReferencedSOPSequence] == list(STORED)
    assert pacs.answers == [SUCCESS]
    assert (only(sessions)["state"], only(sessions)["sop_instance_uid"]) == (SENT, pacs.kept[0])


@pytest.mark.parametrize("says_role", [True, False], ids=["with its role", "without"])
def test_a_report_on_another_association_comes_to_the_receiver_and_ends_it(
    sender: Made, sessions: Sessions, root: Path, port: int, receiver: tuple[str, int], says_role: bool
) -> None:
    sending = sender("commitment_hold_s = 0")
    end_study(sessions, root, fails=True)
    with listens(Pacs(port, receiver, says_role, is_silent=True)) as pacs:
        assert sending.work().held_up == 1
        row = only(sessions)
        assert (row["state"], row["error_code"]) == (WAITING, Code.COMMITMENT_AWAITED)
        assert row["next_at"] - row["created_at"] > timedelta(minutes=55)
        settle(sessions)
        assert sending.work().held_up == 1, "as `dlr send retry` would have it"
        assert len(pacs.kept) == len(pacs.asked) == 1, "it was not sent or asked again"
        assert pacs.report(pacs.asked[0]) == SUCCESS
        assert only(sessions)["state"] == SENT
        assert (only(sessions)["error_code"], only(sessions)["sop_instance_uid"]) == (None, pacs.kept[0])
        assert pacs.report(pacs.asked[0]) == SUCCESS, "said twice, as where our answer was lost"


def test_what_is_not_kept_is_sent_and_asked_again_and_failed_after_so_many_times(
    sender: Made, sessions: Sessions, root: Path, port: int, receiver: tuple[str, int]
) -> None:
    sending = sender("retry = {most_deferrals = 2}")
    end_study(sessions, root, fails=True)
    with listens(Pacs(port, receiver, refuses={0: NO_SUCH_INSTANCE})) as pacs:
        assert sending.work().held_up == 1
        row = only(sessions)
        assert (row["state"], row["error_code"], row["deferrals"]) == (WAITING, Code.COMMITMENT_FAILED, 1)
        assert row["error_reason"] == "the PACS does not keep what it was sent: 0x0112 (no such object instance)"
        settle(sessions)
        assert sending.work().failed == 1
        assert len(pacs.asked) == 2
        assert (only(sessions)["state"], only(sessions)["error_code"]) == (FAILED, Code.COMMITMENT_FAILED)
        with sessions.begin() as session:
            outbox.retry(session)
        pacs.refuses = {}
        assert sending.work().sent == 1, "once somebody mended it"
    assert len({str(one.TransactionUID) for one in pacs.asked}) == 3


def test_a_report_that_comes_while_nobody_holds_the_association_lets_the_delivery_be_tried_at_once(
    sender: Made, sessions: Sessions, root: Path, port: int, receiver: tuple[str, int]
) -> None:
    sending = sender('documents = ["sr", "pdf"]\ncommitment_hold_s = 0')
    end_study(sessions, root, fails=True)
    with listens(Pacs(port, receiver, leaves_out=1, is_silent=True)) as pacs:
        assert sending.work().held_up == 1
        assert sending.work().is_idle
        assert pacs.report(pacs.asked[0]) == SUCCESS
        assert sending.work().held_up == 1
    assert only(sessions)["error_code"] == Code.COMMITMENT_FAILED
    assert "leaves out 1 of 2 instances" in only(sessions)["error_reason"]


def test_a_report_that_never_comes_is_asked_for_again_and_then_a_failure(
    sender: Made, sessions: Sessions, root: Path, port: int, receiver: tuple[str, int]
) -> None:
    sending = sender("commitment_hold_s = 0\nretry = {most_deferrals = 2}")
    end_study(sessions, root, fails=True)
    with listens(Pacs(port, receiver, is_silent=True)) as pacs:
        sending.work()
        long_ago(sessions)
        assert sending.work().held_up == 1
        row = only(sessions)
        assert (row["state"], row["error_code"]) == (WAITING, Code.COMMITMENT_MISSING)
        settle(sessions)
        sending.work()
        assert len(pacs.asked) == 2
        long_ago(sessions)
        assert sending.work().failed == 1
        assert (only(sessions)["state"], only(sessions)["error_code"]) == (FAILED, Code.COMMITMENT_MISSING)
        with sessions.begin() as session:
            outbox.retry(session)
        assert pacs.report(pacs.asked[0]) == SUCCESS
        assert only(sessions)["state"] == SENT, "a late report counts"


def test_a_request_that_nobody_answered_is_made_again_at_once(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender()
    end_study(sessions, root, fails=True)
    with listens(Pacs(port, is_rude=True)) as pacs:
        assert sending.work().away is not None
        pacs.is_rude = False
        settle(sessions)
        assert sending.work().sent == 1
        assert len(pacs.asked) == 2


def test_a_report_that_nobody_asked_for_or_that_cannot_be_read_is_refused(
    sessions: Sessions, port: int, receiver: tuple[str, int]
) -> None:
    request = Dataset()
    request.TransactionUID = "2.25.1"
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    request.ReferencedSOPSequence = [item]
    pacs = Pacs(port, receiver)
    assert pacs.report(request) == INVALID_ARGUMENT
    item.ReferencedSOPInstanceUID = ""
    assert pacs.report(request) == INVALID_ARGUMENT


def test_a_pacs_without_the_service_is_told_by_a_test_and_keeps_results_waiting(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender()
    end_study(sessions, root, fails=True)
    with running(Archive(port)):
        with pytest.raises(Unavailable) as away:
            sending.destination.test()
        assert away.value.reason == "not accepted there: Storage Commitment Push Model SOP Class"
        assert sending.work().away is not None
        assert only(sessions)["state"] == WAITING
    with listens(Pacs(port)):
        assert "Storage Commitment" in sending.destination.test()


def test_what_was_asked_about_is_forgotten_with_its_study(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender()
    study_id = end_study(sessions, root, fails=True)
    with listens(Pacs(port)):
        sending.work()
    with sessions.begin() as session:
        outbox.forget(session, [study_id])
        assert session.scalar(text("SELECT sop_instance_uids FROM storage_commitment")) == []


def standing(**said: Any) -> Standing:
    said = {"is_awaited": True, "is_reported": True, "failure_reasons": (), "left_out": 0, "waited_s": 10.0, **said}
    return Standing(sop_instance_uids=("1.2.3", "1.2.4"), **said)


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (None, None),
        (standing(), "1.2.3"),
        (standing(is_awaited=False), "1.2.3"),
        (standing(is_reported=False, is_awaited=False), None),
        (standing(left_out=1, is_awaited=False), None),
    ],
    ids=["nothing was asked", "kept", "kept, by a late report", "not awaited any more", "failed, and not awaited"],
)
def test_what_is_kept_is_done_and_what_nobody_waits_for_is_asked(found: Standing | None, first: str | None) -> None:
    assert settled(found, 60) == first


@pytest.mark.parametrize(
    ("found", "said", "code"),
    [
        (standing(is_reported=False), Awaited, Code.COMMITMENT_AWAITED),
        (standing(is_reported=False, waited_s=60.0), Deferred, Code.COMMITMENT_MISSING),
        (standing(left_out=1), Deferred, Code.COMMITMENT_FAILED),
        (standing(failure_reasons=(NO_SUCH_INSTANCE,)), Deferred, Code.COMMITMENT_FAILED),
        (standing(failure_reasons=(NO_SUCH_INSTANCE, NOT_SUPPORTED)), StudyRefused, Code.COMMITMENT_FAILED),
        (standing(failure_reasons=(CONFLICT,)), StudyRefused, Code.COMMITMENT_FAILED),
    ],
    ids=["not reported", "not in time", "left out", "no such instance", "not supported", "conflict"],
)
def test_what_is_not_kept_is_waited_for_asked_again_or_failed(
    found: Standing, said: type[DlrError], code: Code
) -> None:
    with pytest.raises(said) as raised:
        settled(found, 60)
    assert raised.value.code is code


def in_orthanc(peer: PacsPeer) -> int:
    import json
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{peer.http_port}/instances", timeout=20) as answer:
        return len(json.load(answer))


def test_orthanc_keeps_what_it_was_sent_and_says_so_on_an_association_of_its_own(
    sender: Made, sessions: Sessions, root: Path, receiver: tuple[str, int], tmp_path: Path
) -> None:
    with orthanc(tmp_path / "orthanc", move_to=receiver) as peer:
        sending = sender('documents = ["sr", "pdf"]', f"ORTHANC@127.0.0.1:{peer.port}")
        assert "Storage Commitment" in sending.destination.test()
        end_study(sessions, root, fails=True)
        assert sending.work().away is None
        until(lambda: only(sessions)["state"] == SENT, 30)
        assert in_orthanc(peer) == 2
        plain = sender("", f"ORTHANC@127.0.0.1:{peer.port}", commitment=False)
        end_study(sessions, root, 2, fails=True)
        assert plain.work().sent == 1
        assert in_orthanc(peer) == 3
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM storage_commitment WHERE reported_at IS NOT NULL")) == 1


@pytest.mark.long
def test_storescp_takes_results_and_has_no_storage_commitment(
    sender: Made, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    import shutil

    storescp = shutil.which("storescp")
    needs(storescp)
    folder, port = tmp_path / "stored", free_port(tmp_path / "storescp")
    folder.mkdir()
    command = [str(storescp), "--aetitle", "STORESCP", "--output-directory", str(folder), "+xa", str(port)]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"STORESCP@127.0.0.1:{port}"
        until(PacsPeer("STORESCP", port).answers, 30)
        plain = sender('documents = ["sr", "pdf"]', address, commitment=False)
        end_study(sessions, root, fails=True)
        assert plain.work().sent == 1
        assert {dcmread(file).SOPClassUID for file in folder.iterdir()} == set(STORED)
        with pytest.raises(Unavailable, match="destination_unavailable"):
            sender("", address).destination.test()
    finally:
        program.terminate()
        program.wait(20)
