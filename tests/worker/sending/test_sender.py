"""Results to a PACS that is down, comes up, refuses, or goes away in the middle: nothing lost, nothing twice."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from tests.db.samples import claimed, finish_one, register, result, scored
from tests.dicomweb_server import serving
from tests.waiting import pace, patience, until
from tests.worker.reporting.samples import LIMITS
from tests.worker.sending.hospital import (
    FAILED,
    OUT_OF_RESOURCES,
    REFUSED,
    SENT,
    SUCCESS,
    WAITING,
    Archive,
    deliveries,
    end_study,
    running,
    settle,
)
from worker.errors import Code, DlrError
from worker.imaging.decoder_pool import DecoderPool
from worker.reporting.documents import Camera
from worker.reporting.frames import frame_reader
from worker.sending.dicom_node import DUPLICATE, checked
from worker.sending.from_settings import destinations
from worker.sending.sender import Sender
from worker.settings import Settings

pytestmark = pytest.mark.slow

Sessions = sessionmaker[Session]
Made = Callable[..., Sender]


@pytest.fixture
def decoders() -> Iterator[DecoderPool]:
    pool = DecoderPool(LIMITS, 1, 60.0)
    yield pool
    pool.close()


@pytest.fixture
def sender(sessions: Sessions, root: Path, port: int, decoders: DecoderPool) -> Made:
    """Give a sender to the PACS at the port, switched on."""

    def made(lease_s: float = 60, **settings: Any) -> Sender:
        said = {
            "storage_root": root,
            "send_pacs": f"PACS@127.0.0.1:{port}",
            "send_timeout_s": min(pace(10), 50),
            **settings,
        }
        (one,) = destinations(Settings(**said), Camera(frame_reader(decoders)))
        sender = Sender(one, sessions, 0.1, lease_s, lambda work: work())
        sender.switch_on()
        return sender

    return made


@pytest.fixture
def pacs(port: int) -> Iterator[Archive]:
    with running(Archive(port)) as archive:
        yield archive


# Where it does not matter what a report says, it is of a study that was not scored: those are the shortest.


def states(sessions: Sessions) -> list[str]:
    return [row["state"] for row in deliveries(sessions)]


def test_a_result_is_stored_once_as_its_report(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = sender()
    study_id = end_study(sessions, root)
    done = sending.work()
    assert (done.sent, done.failed, done.away) == (1, 0, None)
    assert sending.work().is_idle
    ((uid, report),) = pacs.kept.items()
    assert (report.SOPInstanceUID, report.Modality) == (uid, "SR")
    (row,) = deliveries(sessions)
    assert (row["state"], row["study_id"], row["sop_instance_uid"], row["attempts"]) == (SENT, study_id, uid, 1)
    assert row["sent_at"] is not None


def test_many_results_go_through_one_association(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = sender(send_ae_title="WORKER")
    for number in range(3):
        end_study(sessions, root, number, fails=True)
    assert sending.work().sent == 3
    assert pacs.associations == ["WORKER"]


def test_a_failed_study_is_reported_as_not_scored(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = sender()
    end_study(sessions, root, fails=True)
    assert sending.work().sent == 1
    assert "age_missing" in str(next(iter(pacs.kept.values())))


def test_pictures_go_with_the_report_where_they_are_wanted(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender(send_pictures=True)
    end_study(sessions, root, 1)
    end_study(sessions, root, 2, fails=True)
    assert sending.work().sent == 2
    assert sorted(one.Modality for one in pacs.kept.values()) == ["OT", "SR", "SR"]
    (first, _) = deliveries(sessions)
    assert pacs.kept[first["sop_instance_uid"]].Modality == "SR"


def test_a_pacs_that_is_away_has_everything_once_it_is_back(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender()
    for number in range(3):
        end_study(sessions, root, number, fails=True)
    for attempt in (1, 2):
        done = sending.work()
        assert done.away is not None
        assert done.sent == 0
        assert sorted(row["attempts"] for row in deliveries(sessions)) == [0, 0, attempt]
        settle(sessions)
    tried = next(row for row in deliveries(sessions) if row["attempts"])
    assert (tried["state"], tried["error_code"]) == (WAITING, Code.DESTINATION_UNAVAILABLE)
    with running(Archive(port)) as pacs:
        assert sending.work().sent == 3
        assert len(pacs.kept) == 3
    assert states(sessions) == [SENT] * 3
    assert {row["error_code"] for row in deliveries(sessions)} == {None}


@pytest.mark.parametrize("why", ["title", "caller", "class"])
def test_a_pacs_that_does_not_take_us_is_asked_again(
    sender: Made, sessions: Sessions, root: Path, port: int, why: str
) -> None:
    sending = sender()
    end_study(sessions, root, fails=True)
    unwilling: dict[str, Any] = {
        "title": {"ae_title": "OTHER"},
        "caller": {"callers": ("SOMEBODY",)},
        "class": {"sop_classes": ()},
    }[why]
    with running(Archive(port, **unwilling)):
        assert sending.work().away is not None
    (row,) = deliveries(sessions)
    assert (row["state"], row["error_code"]) == (WAITING, Code.DESTINATION_UNAVAILABLE)
    settle(sessions)
    with running(Archive(port)):
        assert sending.work().sent == 1


def test_what_is_refused_for_good_is_failed_and_stops_nobody(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    for number in range(3):
        end_study(sessions, root, number, fails=True)
    pacs.answer = lambda _: REFUSED if len(pacs.asked) == 2 else SUCCESS
    done = sending.work()
    assert (done.sent, done.failed) == (2, 1)
    assert states(sessions) == [SENT, FAILED, SENT]
    row = deliveries(sessions)[1]
    assert (row["error_code"], f"0x{REFUSED:04X}" in row["error_reason"]) == (Code.DESTINATION_REFUSED, True)


def test_a_warning_and_a_duplicate_are_stored(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = sender()
    for number, status in enumerate((0xB000, DUPLICATE)):
        end_study(sessions, root, number, fails=True)
        pacs.answer = lambda _, status=status: status  # type: ignore[misc]
        assert sending.work().sent == 1


@pytest.mark.parametrize(
    ("statuses", "means"),
    [
        ((SUCCESS, DUPLICATE, 0xB000, 0xB006, 0xBFFF, 0x0001, 0x0107, 0x0116), None),
        ((OUT_OF_RESOURCES, 0xA7FF, 0x0110, 0x0118, 0x0122, 0x0124, 0x0213), Code.DESTINATION_UNAVAILABLE),
        ((REFUSED, 0xC000, 0x0117), Code.DESTINATION_REFUSED),
    ],
)
def test_a_status_is_stored_for_now_or_for_good(statuses: Sequence[int], means: Code | None) -> None:
    for status in statuses:
        answer = Dataset()
        answer.Status = status
        with nullcontext() if means is None else pytest.raises(DlrError) as raised:
            checked("C-STORE", answer)
        assert means is None or raised.value.code is means, f"0x{status:04X}"  # type: ignore[union-attr]


def test_a_pacs_without_room_is_asked_again_and_those_behind_wait_their_turn(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    for number in range(2):
        end_study(sessions, root, number, fails=True)
    pacs.answer = lambda _: OUT_OF_RESOURCES
    assert sending.work().away is not None
    assert states(sessions) == [WAITING, WAITING]
    pacs.answer = lambda _: SUCCESS
    assert sending.work().sent == 1, "one waits for its next attempt"
    settle(sessions)
    assert sending.work().sent == 1
    assert len(pacs.kept) == 2


def test_a_pacs_that_goes_away_in_the_middle_has_each_once(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    sending = sender()
    for number in range(5):
        end_study(sessions, root, number, fails=True)
    dying = Archive(port)

    def die(uid: str) -> int:
        if len(dying.asked) == 3:
            dying.kept[uid] = dying.kept[dying.asked[0]]  # stored, and never answered
            for association in dying._server.active_associations:
                association.abort()
        return SUCCESS

    dying.answer = die
    with running(dying):
        assert sending.work().away is not None
    assert sorted(states(sessions)) == [SENT, SENT, WAITING, WAITING, WAITING]
    settle(sessions)
    with running(Archive(port, kept=dying.kept)) as pacs:
        assert sending.work().sent == 3
        assert len(pacs.kept) == 5
    assert {row["sop_instance_uid"] for row in deliveries(sessions)} == set(pacs.kept)


def test_a_pacs_that_hangs_is_not_waited_for_without_end(
    sender: Made, sessions: Sessions, root: Path, port: int
) -> None:
    end = threading.Event()
    sending = sender(send_timeout_s=pace(0.5))
    end_study(sessions, root, fails=True)

    def hang(_uid: str) -> int:
        end.wait()
        return SUCCESS

    with running(Archive(port, answer=hang)):
        try:
            done = sending.work()
        finally:
            end.set()
    assert done.away is not None
    assert "no answer" in done.away.reason


def test_two_senders_at_once_share_the_work(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = [sender(), sender()]
    for number in range(6):
        end_study(sessions, root, number, fails=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: [one.work() for _ in range(3)], sending))
    assert states(sessions) == [SENT] * 6
    assert sorted(pacs.asked) == sorted(pacs.kept)
    assert len(pacs.kept) == 6


def test_a_sender_that_dies_before_it_wrote_it_down_sends_the_same_instance_again(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    end = threading.Event()
    sending = sender(lease_s=0.2)
    end_study(sessions, root, fails=True)

    class Killed(BaseException):
        """As if the process were gone: nothing of ours catches it."""

    def kill(_uid: str) -> int:
        end.set()
        return SUCCESS

    pacs.answer = kill
    original = sending.sessions.begin
    try:
        sending.sessions.begin = lambda: (_ for _ in ()).throw(Killed) if end.is_set() else original()  # type: ignore[method-assign, assignment]
        with pytest.raises(Killed):
            sending.work()
    finally:
        sending.sessions.begin = original  # type: ignore[method-assign]
    assert states(sessions) == [WAITING]
    settle(sessions)
    until(lambda: sending.work().sent == 1)
    assert len(pacs.asked) == 2
    assert len(pacs.kept) == 1


def test_a_result_that_changed_is_sent_as_another_instance(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    study_id = end_study(sessions, root, fails=True)
    sending.work()
    with sessions.begin() as session:
        register(session, "2.0")
        ledger.requeue(session, study_id)
        finish_one(session, result(claimed(session, study_id), scored(version="2.0")))
    assert sending.work().sent == 1
    first, second = pacs.kept.values()
    (predecessor,) = second.PredecessorDocumentsSequence
    referred = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert referred == first.SOPInstanceUID


def test_a_study_whose_files_are_broken_fails_with_their_code(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    end_study(sessions, root)
    (root / "1.dcm").write_bytes(b"no image")
    assert sending.work().failed == 1
    (row,) = deliveries(sessions)
    assert (row["state"], row["error_code"]) == (FAILED, Code.FILE_NOT_DICOM)


def test_a_study_whose_images_are_on_a_dicomweb_server_is_reported_too(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    end_study(sessions, elsewhere, images={"kind": "dicomweb", "server": "pacs"})
    with serving(elsewhere) as peer:
        sending = sender(dicomweb_servers={"pacs": {"url": peer.url}})
        assert sending.work().sent == 1
    (report,) = pacs.kept.values()
    assert report.PatientID == "P-1"


def test_the_wait_doubles_up_to_some_minutes(sender: Made) -> None:
    sending = sender()
    waits = [sending._wait_s(failures) for failures in range(1, 60)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 300
    assert waits == sorted(waits)


def test_it_runs_until_it_is_stopped(sender: Made, sessions: Sessions, root: Path, pacs: Archive) -> None:
    sending = sender()
    thread = threading.Thread(target=sending.run)
    thread.start()
    try:
        end_study(sessions, root, fails=True)
        until(lambda: pacs.kept)
    finally:
        sending.stopped.set()
        thread.join(patience(30))
    assert not thread.is_alive()
    assert states(sessions) == [SENT]


def test_what_a_sender_has_taken_when_it_is_stopped_is_given_back(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    for number in range(3):
        end_study(sessions, root, number, fails=True)
    pacs.answer = lambda _: sending.stopped.set() or SUCCESS  # type: ignore[func-returns-value]
    assert sending.work().sent == 1
    assert [(row["state"], row["attempts"]) for row in deliveries(sessions)] == [(SENT, 1), (WAITING, 0), (WAITING, 0)]
    assert sender().work().sent == 2


def test_nothing_that_is_kept_of_a_delivery_names_anybody(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "worker")
    sending = sender()
    end_study(sessions, root, 1)
    end_study(sessions, root, 2)
    pacs.answer = lambda _: REFUSED if len(pacs.asked) == 1 else OUT_OF_RESOURCES
    sending.work()
    kept = str([{**row, "sop_instance_uid": None} for row in deliveries(sessions)]) + caplog.text
    for secret in ("Phantom", "P-1", "1.2.826", "A1"):
        assert secret not in kept
    assert "destination_refused" in kept
    assert "destination_unavailable" in kept


def test_a_study_whose_server_the_sender_does_not_know_waits_and_holds_nobody_up(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with serving(elsewhere) as peer:
        end_study(sessions, elsewhere, 1, images={"kind": "dicomweb", "server": "pacs"})
        sending = sender()
        end_study(sessions, root, 2, fails=True)
        done = sending.work()
        assert (done.sent, done.failed, done.held_up, done.away) == (1, 0, 1, None)
        (held, sent) = deliveries(sessions)
        assert (held["state"], held["error_code"], held["attempts"]) == (WAITING, Code.DICOMWEB_SERVER_UNKNOWN, 1)
        assert sent["state"] == SENT
        settle(sessions)
        assert sender(dicomweb_servers={"pacs": {"url": peer.url}}).work().sent == 1
    assert states(sessions) == [SENT, SENT]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, Code.DICOMWEB_UNAVAILABLE),
        (403, Code.DICOMWEB_UNAVAILABLE),
        (404, Code.SOP_INSTANCE_NOT_FOUND),
        (406, Code.DICOMWEB_FAILED),
        (409, Code.DICOMWEB_FAILED),
        (415, Code.DICOMWEB_FAILED),
        (429, Code.DICOMWEB_UNAVAILABLE),
        (503, Code.DICOMWEB_UNAVAILABLE),
        (None, Code.DICOMWEB_UNAVAILABLE),
    ],
)
def test_whatever_a_server_of_images_answers_the_result_waits(
    sender: Made, sessions: Sessions, tmp_path: Path, pacs: Archive, status: int | None, code: Code
) -> None:
    elsewhere = tmp_path / "elsewhere"
    end_study(sessions, elsewhere, images={"kind": "dicomweb", "server": "pacs"})
    with serving(elsewhere) as peer:
        peer.status = status
        url = peer.url if status is not None else "http://no-such-host.invalid/dicom-web"
        sending = sender(dicomweb_servers={"pacs": {"url": url}})
        assert sending.work().held_up == 1
        (row,) = deliveries(sessions)
        assert (row["state"], row["error_code"]) == (WAITING, code)


def test_a_server_of_images_that_is_away_is_asked_once_and_not_for_each_study(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with serving(elsewhere) as peer:
        peer.status = 503
        sending = sender(dicomweb_servers={"pacs": {"url": peer.url}})
        for number in range(3):
            end_study(sessions, elsewhere, number, images={"kind": "dicomweb", "server": "pacs"})
        end_study(sessions, root, 9, fails=True)
        done = sending.work()
        assert (done.sent, done.held_up, len(peer.asked)) == (1, 3, 1)
        assert {row["error_code"] for row in deliveries(sessions)} == {None, Code.DICOMWEB_UNAVAILABLE}
        peer.status = 200
        settle(sessions)
        assert sender(dicomweb_servers={"pacs": {"url": peer.url}}).work().sent == 3


@pytest.mark.parametrize(
    ("spoil", "state", "code"),
    [
        (lambda file: file.unlink(), WAITING, Code.FILE_NOT_FOUND),
        (lambda file: file.write_bytes(b"no image"), FAILED, Code.FILE_NOT_DICOM),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), FAILED, Code.FILE_TRUNCATED),
        (
            lambda file: file.parent.rename(file.parent.with_name("away")),
            WAITING,
            Code.STORAGE_UNAVAILABLE,
        ),
    ],
)
def test_a_file_that_may_come_back_is_waited_for_and_one_that_is_broken_is_not(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive, spoil: Callable[[Path], Any], state: str, code: Code
) -> None:
    sending = sender()
    end_study(sessions, root, fails=True)
    spoil(root / "1.dcm")
    done = sending.work()
    (row,) = deliveries(sessions)
    assert (row["state"], row["error_code"], done.away) == (state, code, None)


def test_what_was_called_stat_is_sent_first_then_urgent_then_what_waits_longest(
    sender: Made, sessions: Sessions, root: Path, pacs: Archive
) -> None:
    sending = sender()
    ids = [end_study(sessions, root, number, fails=True) for number in range(5)]
    with sessions.begin() as session:
        for number, priority in ((2, "urgent"), (3, "stat"), (4, "stat")):
            session.execute(
                text("UPDATE study SET priority = CAST(:priority AS priority) WHERE id = :id"),
                {"priority": priority, "id": ids[number]},
            )
    assert sending.work().sent == 5
    uids = {row["sop_instance_uid"]: ids.index(row["study_id"]) for row in deliveries(sessions)}
    assert [uids[uid] for uid in pacs.kept] == [3, 4, 2, 0, 1]
