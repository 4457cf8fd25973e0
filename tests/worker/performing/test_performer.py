"""Work items of a manager that nobody here wrote the protocol of, claimed, scored and ended; the PACS is Orthanc."""

import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads.study_results import study_results
from db.writes import outbox
from tests.db.samples import claimed, finish_one, refused, result, scored
from tests.pacs_servers import PacsPeer
from tests.worker.imaging.dicom_files import LIMITS
from tests.worker.intake.test_accept_study import Queue
from tests.worker.intake.test_fetching import OTHER, STUDY
from tests.worker.performing.ups_manager import STATION, WORKITEM, UpsManager, work_item
from worker.errors import SetupRefused, Unavailable
from worker.image_access import Dicomweb, PacsNode
from worker.image_access import Pacs as PacsSettings
from worker.imaging.archive import Archives
from worker.intake.accept_study import Intake
from worker.intake.fetching import Fetcher
from worker.performing.claims import Claim, Claims, State
from worker.performing.dimse_manager import DimseManager
from worker.performing.from_settings import require_delivered_to
from worker.performing.manager import Manager
from worker.performing.outcome import Reports
from worker.performing.performer import Performer, Terms
from worker.performing.scheduled import Coded, Ours
from worker.reporting.identifiers import instance_uid
from worker.reporting.structured_report import KIND
from worker.sending.dicom_node import Caller, Node

pytestmark = pytest.mark.slow

OURS = Ours(stations=[Coded(*STATION)])


def dimse(manager: UpsManager) -> DimseManager:
    return DimseManager(Node(manager.ae_title, "127.0.0.1", manager.port), Caller("DLR", 5.0))


def performer_of(
    manager: Manager, claims: Claims, sessions: sessionmaker[Session], root: Path, port: int, **terms: Any
) -> Performer:
    nodes = {"pacs": PacsNode("ORTHANC", "127.0.0.1", port)}
    fetcher = Fetcher(Archives(Dicomweb({}, 1 << 28, 20), PacsSettings(nodes)), root, LIMITS)
    made = {"ours": OURS, "images": {"kind": "pacs", "server": "pacs"}, "station": Coded(*STATION), "most": 4}
    chosen = Terms(**{**made, "retry_wait_s": 0.0, **terms})
    return Performer(manager, claims, chosen, fetcher, Intake(sessions, root, Queue()), sessions)


@pytest.fixture
def claims(tmp_path: Path) -> Any:
    with Claims.held(tmp_path / "storage", "RIS") as claims:
        yield claims


@pytest.fixture
def performer(
    manager: UpsManager, claims: Claims, sessions: sessionmaker[Session], tmp_path: Path, pacs: PacsPeer
) -> Performer:
    return performer_of(dimse(manager), claims, sessions, tmp_path / "storage", pacs.port)


@pytest.fixture
def reporting(
    manager: UpsManager, claims: Claims, sessions: sessionmaker[Session], tmp_path: Path, pacs: PacsPeer
) -> Performer:
    """One whose reports go to a destination, from which they can be retrieved."""
    with sessions.begin() as session:
        outbox.switch_on(session, "archive")
    reports = Reports("archive", "ARCHIVE")
    return performer_of(dimse(manager), claims, sessions, tmp_path / "storage", pacs.port, reports=reports)


def studies(sessions: sessionmaker[Session]) -> list[dict[str, Any]]:
    with sessions() as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM study ORDER BY received_at")).mappings()]


def score(sessions: sessionmaker[Session], *, fails: bool = False) -> UUID:
    """Do what an inference worker does with the one study that is queued."""
    [study] = studies(sessions)
    with sessions.begin() as session:
        names = session.execute(text("SELECT lesion_id FROM lesion ORDER BY ordinal")).scalars().all()
        claim = claimed(session, study["id"])
        ends = [refused(name) if fails else scored(name) for name in names]
        finish_one(session, result(claim, *ends, **({"state": "failed"} if fails else {})))
    return UUID(str(study["id"]))


def test_an_item_of_ours_is_claimed_its_study_scored_and_the_item_completed(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session]
) -> None:
    uid = manager.add(work_item((STUDY,), "A-77", ScheduledProcedureStepPriority="HIGH"))
    other = manager.add(work_item((OTHER,), station=("CT1", "99HOSPITAL", "A scanner")))
    assert performer.work()
    [study] = studies(sessions)
    assert (study["study_instance_uid"], study["accession_number"], study["priority"], study["source"]) == (
        STUDY,
        "A-77",
        "urgent",
        "perform",
    )
    assert not performer.work()
    assert (manager.state(uid), manager.state(other)) == ("IN PROGRESS", "SCHEDULED")
    assert manager.told == [(uid, "0"), (uid, "50")]
    score(sessions)
    performer.work()
    assert (manager.state(uid), manager.told[-1]) == ("COMPLETED", (uid, "100"))
    [done] = manager.items[uid].UnifiedProcedureStepPerformedProcedureSequence
    assert done.PerformedStationNameCodeSequence[0].CodeValue == STATION[0]
    assert done.PerformedWorkitemCodeSequence[0].CodeValue == WORKITEM[0]
    assert claims.all() == []
    performer.work()
    assert len(studies(sessions)) == 1


@pytest.mark.parametrize("takes_reports", [True, False])
def test_with_a_destination_an_item_is_completed_once_its_report_can_be_retrieved_and_refers_to_it(
    manager: UpsManager, reporting: Performer, sessions: sessionmaker[Session], takes_reports: bool
) -> None:
    """And to none where pictures alone are stored there."""
    uid = manager.add(work_item((STUDY,)))
    reporting.work()
    score(sessions)
    reporting.work()
    assert manager.state(uid) == "IN PROGRESS", "its report is not stored yet"
    with sessions.begin() as session:
        outbox.make_deliveries(session, "archive", 10)
        [due] = outbox.take(session, "archive", 1, 60.0)
        [of_study] = study_results(session, STUDY)
        report = instance_uid(of_study.endings[-1], KIND)
        outbox.sent(session, due.delivery_id, report if takes_reports else "1.2.3")
    reporting.work()
    assert manager.state(uid) == "COMPLETED"
    outputs = manager.items[uid].UnifiedProcedureStepPerformedProcedureSequence[0].OutputInformationSequence
    assert [
        (
            output.StudyInstanceUID,
            output.DICOMRetrievalSequence[0].RetrieveAETitle,
            output.ReferencedSOPSequence[0].ReferencedSOPClassUID,
            output.ReferencedSOPSequence[0].ReferencedSOPInstanceUID,
        )
        for output in outputs
    ] == ([(STUDY, "ARCHIVE", Comprehensive3DSRStorage, report)] if takes_reports else [])


def test_a_destination_of_reports_that_nobody_delivers_to_is_refused(sessions: sessionmaker[Session]) -> None:
    with pytest.raises(SetupRefused, match="setting_invalid"):
        require_delivered_to("archive", sessions)
    with sessions.begin() as session:
        outbox.switch_on(session, "archive")
    require_delivered_to("archive", sessions)


def test_a_report_that_its_destination_refuses_cancels_the_item(
    manager: UpsManager, reporting: Performer, sessions: sessionmaker[Session]
) -> None:
    uid = manager.add(work_item((STUDY,)))
    reporting.work()
    score(sessions)
    with sessions.begin() as session:
        outbox.make_deliveries(session, "archive", 10)
        [due] = outbox.take(session, "archive", 1, 60.0)
        outbox.failed(session, due.delivery_id, "destination_refused", "no")
    reporting.work()
    assert (manager.state(uid), reason(manager, uid)) == ("CANCELED", "destination_refused")


def reason(manager: UpsManager, uid: str) -> str:
    [said] = manager.items[uid].ProcedureStepProgressInformationSequence
    return str(said.ReasonForCancellation).partition(":")[0]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (work_item((OTHER,)), "lesions_missing"),
        (work_item(("1.2.3.4",)), "study_not_on_server"),
        (work_item((), "TWICE"), "accession_ambiguous"),
        (work_item(()), "work_item_invalid"),
        (work_item(("1.2.3", "1.2.4")), "work_item_invalid"),
    ],
    ids=range(5),
)
def test_an_item_that_cannot_be_performed_is_canceled_with_the_reason_which_is_on_record_too(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session], item: Any, code: str
) -> None:
    uid = manager.add(item)
    performer.work()
    performer.work()
    assert (manager.state(uid), reason(manager, uid), claims.all()) == ("CANCELED", code, [])
    [record] = studies(sessions)
    assert (record["error_code"], record["source"], record["study_instance_uid"]) == (code, "perform", None)
    performer.work()
    assert len(manager.claims) == 1


def test_a_study_that_fails_cancels_its_item(
    manager: UpsManager, performer: Performer, sessions: sessionmaker[Session]
) -> None:
    uid = manager.add(work_item((STUDY,)))
    performer.work()
    score(sessions, fails=True)
    performer.work()
    assert (manager.state(uid), reason(manager, uid)) == ("CANCELED", "age_missing")


def test_an_item_that_another_performer_has_claimed_meanwhile_is_left_alone(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session]
) -> None:
    uid = manager.add(work_item((STUDY,)))
    worklist = performer.manager.opened
    with worklist() as mine:
        [found] = mine.scheduled(OURS)
    manager.changed(uid, "IN PROGRESS", "2.25.99")
    with worklist() as mine:
        assert not performer._claim(mine, found, uid)
    assert (claims.all(), manager.transactions[uid], manager.told, studies(sessions)) == ([], "2.25.99", [], [])


def test_a_claim_that_may_have_been_made_before_a_crash_is_held_if_it_was_ours_and_dropped_if_it_was_another_s(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session]
) -> None:
    mine, others, never = (manager.add(work_item((STUDY,))) for _ in range(3))
    for uid in (mine, others, never):
        claim = kept_before_a_crash(performer, manager.items[uid], uid)
        if uid is not never:
            manager.changed(uid, "IN PROGRESS", claim.transaction_uid if uid == mine else "2.25.99")
    performer.work()
    assert {claim.uid: claim.state for claim in claims.all()} == {mine: State.RECORDED, never: State.RECORDED}
    assert manager.transactions[others] == "2.25.99"
    assert [study["study_instance_uid"] for study in studies(sessions)] == [STUDY], "one study, on record once"
    score(sessions)
    performer.work()
    assert [manager.state(uid) for uid in (mine, others, never)] == ["COMPLETED", "IN PROGRESS", "COMPLETED"]


def kept_before_a_crash(performer: Performer, item: Any, uid: str) -> Claim:
    """A claim as it is on the disk when the process ends between that and the manager's answer."""
    kept: list[Claim] = []

    class Dies(Exception):
        pass

    class Worklist:
        def change(self, *_: Any) -> Any:
            kept.extend(claim for claim in performer.claims.all() if claim.uid == uid)
            raise Dies

    with pytest.raises(Dies):
        performer._claim(Worklist(), item, uid)  # type: ignore[arg-type]
    return kept[0]


def test_while_the_manager_is_away_what_is_held_stays_and_is_ended_once_it_is_back(
    manager: UpsManager, performer: Performer, claims: Claims
) -> None:
    uid = manager.add(work_item(()))
    performer.work()
    manager.stop()
    with pytest.raises(Unavailable, match="destination_unavailable"):
        performer.work()
    assert [claim.uid for claim in claims.all()] == [uid]
    manager.start()
    performer.work()
    assert (manager.state(uid), claims.all()) == ("CANCELED", [])


def test_while_the_pacs_is_away_an_item_is_held_and_is_no_refusal(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session], tmp_path: Path,
    pacs: PacsPeer,
) -> None:  # fmt: skip
    uid = manager.add(work_item((STUDY,)))
    away = performer_of(dimse(manager), claims, sessions, tmp_path / "storage", 1)
    assert not away.work()
    assert not away.work()
    assert ([claim.state for claim in claims.all()], studies(sessions)) == ([State.HELD], [])
    assert manager.state(uid) == "IN PROGRESS"
    assert performer.work()
    assert len(studies(sessions)) == 1


def test_an_item_that_the_manager_ended_or_forgot_is_let_go(
    manager: UpsManager, performer: Performer, claims: Claims
) -> None:
    ended, gone = (manager.add(work_item(())) for _ in range(2))
    performer.work()
    assert len(claims.all()) == 2
    manager.items[ended].ProcedureStepState = "COMPLETED"
    del manager.items[gone]
    performer.work()
    assert (claims.all(), manager.state(ended)) == ([], "COMPLETED")


def test_what_a_manager_does_not_let_end_is_canceled_and_else_given_up_and_asked_no_more(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session]
) -> None:
    manager.refuses["COMPLETED"] = 0xC304
    first = manager.add(work_item((STUDY,)))
    performer.work()
    score(sessions)
    performer.work()
    assert (manager.state(first), reason(manager, first), claims.all()) == ("CANCELED", "destination_refused", [])
    manager.refuses["CANCELED"] = 0xC304
    second = manager.add(work_item(()))
    performer.work()
    performer.work()
    told = len(manager.told)
    performer.work()
    assert [(claim.uid, claim.state) for claim in claims.all()] == [(second, State.GIVEN_UP)]
    assert len(manager.told) == told


def test_no_more_items_are_held_than_are_allowed(
    manager: UpsManager, claims: Claims, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    for _ in range(3):
        manager.add(work_item(()))
    one = performer_of(dimse(manager), claims, sessions, tmp_path / "storage", 1, most=1)
    for ended in range(4):
        one.work()
        states = [manager.state(uid) for uid in manager.items]
        assert (states.count("CANCELED"), states.count("IN PROGRESS")) == (ended, min(1, 3 - ended))


def test_a_manager_that_gives_items_of_others_too_is_not_believed(
    manager: UpsManager, performer: Performer, sessions: sessionmaker[Session]
) -> None:
    manager.matches = False
    uid = manager.add(work_item((STUDY,), station=("CT1", "99HOSPITAL", "A scanner")))
    assert not performer.work()
    assert (manager.state(uid), studies(sessions)) == ("SCHEDULED", [])


def test_an_item_that_its_manager_gives_twice_is_claimed_once_and_held(
    manager: UpsManager, performer: Performer, claims: Claims
) -> None:
    manager.times = 2
    uid = manager.add(work_item(()))
    performer.work()
    assert ([claim.uid for claim in claims.all()], len(manager.claims)) == ([uid], 1)


def test_a_performer_that_is_told_to_stop_leaves_what_it_holds_for_its_next_start(
    manager: UpsManager, performer: Performer, claims: Claims, sessions: sessionmaker[Session]
) -> None:
    manager.add(work_item((STUDY,)))
    stopped = threading.Event()
    stopped.set()
    assert not performer.work(stopped)
    assert ([claim.state for claim in claims.all()], studies(sessions)) == ([State.HELD], [])
