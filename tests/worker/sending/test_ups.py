"""Work items: what a UPS manager is given is what PS3.4's table CC.2.5-3 asks of an N-CREATE."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from tests.db.samples import claimed, finish_one
from tests.db.samples import result as result_of
from tests.db.samples import scored as lesion_scored
from tests.waiting import pace
from tests.worker.reporting.samples import failed, mixed, scored, source_of, study, write_image
from tests.worker.sending.hospital import FAILED, SENT, Archive, deliveries, end_study, running, settle
from worker.clinical.reading_order.outcome_class import WorklistClass
from worker.errors import Code
from worker.reporting.identifiers import instance_uid
from worker.sending.from_settings import destinations
from worker.sending.sender import Sender
from worker.sending.work_item import LABELS, Performer, Worklist, work_item, work_item_uid
from worker.settings import Settings

WORKLIST = Worklist("Breast ultrasound", "PACS", with_report=True)

# Of the column "Req. Type N-CREATE (SCU)": 1 has a value, 2 is there, "empty" is there and has none.
CREATE = {
    "TransactionUID": "empty",
    "ScheduledProcedureStepPriority": "1",
    "ProcedureStepLabel": "1",
    "WorklistLabel": "2",
    "ScheduledProcessingParametersSequence": "2",
    "ScheduledStationNameCodeSequence": "2",
    "ScheduledStationClassCodeSequence": "2",
    "ScheduledStationGeographicLocationCodeSequence": "2",
    "ScheduledProcedureStepStartDateTime": "1",
    "ScheduledWorkitemCodeSequence": "2",
    "CommentsOnTheScheduledProcedureStep": "2",
    "InputReadinessState": "1",
    "InputInformationSequence": "2",
    "StudyInstanceUID": "1",
    "PatientName": "2",
    "PatientID": "1",
    "IssuerOfPatientID": "2",
    "IssuerOfPatientIDQualifiersSequence": "2",
    "OtherPatientIDsSequence": "2",
    "PatientBirthDate": "2",
    "PatientSex": "2",
    "AdmissionID": "2",
    "IssuerOfAdmissionIDSequence": "2",
    "AdmittingDiagnosesDescription": "2",
    "AdmittingDiagnosesCodeSequence": "2",
    "ReferencedRequestSequence": "2",
    "ProcedureStepState": "1",
    "ProcedureStepProgressInformationSequence": "empty",
    "UnifiedProcedureStepPerformedProcedureSequence": "empty",
}
REQUEST = {
    "StudyInstanceUID": "1",
    "AccessionNumber": "2",
    "IssuerOfAccessionNumberSequence": "2",
    "OrderPlacerIdentifierSequence": "2",
    "OrderFillerIdentifierSequence": "2",
    "RequestedProcedureID": "2",
    "RequestedProcedureDescription": "2",
    "RequestedProcedureCodeSequence": "2",
}
INPUT = {"TypeOfInstances": "1", "StudyInstanceUID": "1", "SeriesInstanceUID": "1", "ReferencedSOPSequence": "1",
         "DICOMRetrievalSequence": "1"}  # fmt: skip
CODE = {"CodeValue": "1", "CodingSchemeDesignator": "1", "CodeMeaning": "1"}
PERFORMER = {"HumanPerformerCodeSequence": "1", "HumanPerformerName": "1", "HumanPerformerOrganization": "1"}
SEQUENCES = {
    "ReferencedRequestSequence": REQUEST,
    "InputInformationSequence": INPUT,
    "ScheduledWorkitemCodeSequence": CODE,
    "ScheduledHumanPerformersSequence": PERFORMER,
}
NOT_ALLOWED = ("SOPInstanceUID", "ScheduledProcedureStepModificationDateTime", "ProcedureStepCancellationDateTime")


def faults_of(item: Dataset) -> list[str]:
    """What a strict manager would refuse."""
    faults = _faults(item, CREATE)
    for keyword, rules in SEQUENCES.items():
        faults += [fault for part in item.get(keyword, []) for fault in _faults(part, rules)]
    faults += [f"{keyword} is not allowed" for keyword in NOT_ALLOWED if keyword in item]
    if item.get("ProcedureStepState") != "SCHEDULED":
        faults.append("ProcedureStepState")
    return faults


def _faults(part: Dataset, rules: dict[str, str]) -> list[str]:
    faults = []
    for keyword, rule in rules.items():
        value = part.get(keyword)
        is_empty = value is None or len(str(value)) == 0 or (dictionary_VR(keyword) == "SQ" and len(value) == 0)
        if keyword not in part or (rule == "1" and is_empty) or (rule == "empty" and not is_empty):
            faults.append(f"{keyword}: {rule}")
    return faults


def test_the_table_of_this_test_names_attributes_that_there_are() -> None:
    for keyword in (*CREATE, *REQUEST, *INPUT, *CODE, *PERFORMER, *NOT_ALLOWED):
        tag = tag_for_keyword(keyword)
        assert tag is not None
        assert keyword_for_tag(tag) == keyword


@pytest.mark.parametrize("performer", [None, Performer("123", "99HOSPITAL", "Breast^Reader", "Clinic")])
def test_an_item_has_what_the_table_asks_for(tmp_path: Path, performer: Performer | None) -> None:
    result = mixed(tmp_path)
    worklist = Worklist("Breast ultrasound", "PACS", with_report=True, performer=performer)
    assert faults_of(work_item(result, source_of(result, tmp_path), worklist)) == []


def test_an_item_says_whose_study_it_is_and_what_is_to_be_read(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    item = work_item(result, source_of(result, tmp_path), WORKLIST)
    assert (item.PatientName, item.PatientID, item.PatientBirthDate) == ("Phantom^One", "P-1", "19790405")
    assert item.ReferencedRequestSequence[0].AccessionNumber == "A1"
    *images, report = item.InputInformationSequence
    referred = {one.ReferencedSOPInstanceUID for part in images for one in part.ReferencedSOPSequence}
    assert referred == {lesion.sop_instance_uid for lesion in result.lesions}
    assert report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == instance_uid(result.endings[-1], "sr")
    assert {part.DICOMRetrievalSequence[0].RetrieveAETitle for part in item.InputInformationSequence} == {"PACS"}
    assert item.WorklistLabel == "Breast ultrasound"
    assert "not a diagnosis" in item.CommentsOnTheScheduledProcedureStep
    assert "not for clinical use" in item.CommentsOnTheScheduledProcedureStep
    without = work_item(result, source_of(result, tmp_path), Worklist("x", "PACS", with_report=False))
    assert len(without.InputInformationSequence) == len(images)


def test_an_image_that_says_no_series_is_not_referred_to(tmp_path: Path) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm")))
    image = dcmread(tmp_path / "a.dcm")
    del image.SeriesInstanceUID
    image.save_as(tmp_path / "a.dcm")
    item = work_item(result, source_of(result, tmp_path), WORKLIST)
    assert len(item.InputInformationSequence) == 0
    assert faults_of(item) == []


PRIORITIES = [
    # lesions (high risk, malignant) or none for one that failed, priority of the sender, class, priority of the step
    ([(0.9, 0.9)], "routine", "UPGRADED", "HIGH"),
    ([(0.9, 0.9), (0.1, 0.1)], "routine", "UPGRADED", "HIGH"),
    ([None], "routine", "NEEDS_ATTENTION", "MEDIUM"),
    ([(0.1, 0.1), None], "routine", "NEEDS_ATTENTION", "MEDIUM"),
    ([(0.9, 0.1)], "routine", "MAINTAINED", "MEDIUM"),
    ([(0.1, 0.1)], "routine", "DOWNGRADED", "LOW"),
    ([(0.1, 0.1)], "urgent", "DOWNGRADED", "HIGH"),
    ([(0.9, 0.1)], "stat", "MAINTAINED", "HIGH"),
    ([None], "stat", "NEEDS_ATTENTION", "HIGH"),
]


@pytest.mark.parametrize(("lesions", "priority", "kind", "expected"), PRIORITIES)
def test_the_priority_follows_from_the_class_and_the_senders(
    tmp_path: Path, lesions: list[tuple[float, float] | None], priority: str, kind: str, expected: str
) -> None:
    sop = write_image(tmp_path / "a.dcm")
    made = [scored(sop, n, *one) if one else failed(sop, n) for n, one in enumerate(lesions, start=1)]
    result = study(*made, priority=priority)
    item = work_item(result, source_of(result, tmp_path), WORKLIST)
    assert result.worklist_class == kind.lower()
    assert item.ScheduledProcedureStepPriority == expected
    assert item.ProcedureStepLabel == LABELS[WorklistClass[kind]]


def test_each_class_has_a_label_that_fits() -> None:
    assert set(LABELS) == set(WorklistClass)
    assert max(map(len, LABELS.values())) <= 64


Made = Callable[..., Sender]


@pytest.fixture
def sender(sessions: sessionmaker[Session], root: Path, port: int) -> Made:
    def made(**settings: Any) -> Sender:
        said = {"send_ups": f"PACS@127.0.0.1:{port}", "send_retrieve_ae_title": "PACS", **settings}
        (one,) = destinations(Settings(storage_root=root, send_timeout_s=min(pace(10), 50), **said))
        assert one.name == "ups"
        sender = Sender(one, sessions, 0.1, 60, lambda work: work())
        sender.switch_on()
        return sender

    return made


@pytest.fixture
def manager(port: int) -> Iterator[Archive]:
    with running(Archive(port)) as archive:
        yield archive


def test_a_manager_gets_a_valid_item_once_and_a_duplicate_counts_as_sent(
    sender: Made, sessions: sessionmaker[Session], root: Path, manager: Archive
) -> None:
    sending = sender(send_performer="123^99HOSPITAL^Breast^Clinic")
    end_study(sessions, root)
    assert sending.work().sent == 1
    ((uid, item),) = manager.kept.items()
    assert faults_of(item) == []
    assert item.ScheduledHumanPerformersSequence[0].HumanPerformerName == "Breast"
    assert deliveries(sessions)[0]["sop_instance_uid"] == uid
    with sessions.begin() as session:  # as if it had not been written down
        session.connection().exec_driver_sql("UPDATE delivery SET state = 'waiting', sent_at = NULL, next_at = now()")
    assert sending.work().sent == 1
    assert manager.asked == [uid, uid]
    assert list(manager.kept) == [uid]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_result_that_changed_replaces_its_work_item(
    sender: Made, sessions: sessionmaker[Session], root: Path, manager: Archive, is_known: bool
) -> None:
    sending = sender()
    study_id = end_study(sessions, root, fails=True)
    sending.work()
    (former,) = manager.kept
    if not is_known:
        manager.kept.clear()
    with sessions.begin() as session:
        ledger.requeue(session, study_id)
        finish_one(session, result_of(claimed(session, study_id), lesion_scored()))
    assert sending.work().sent == 1
    newer = deliveries(sessions)[1]["sop_instance_uid"]
    replaced = manager.kept[newer].ReplacedProcedureStepSequence[0]
    assert replaced.ReferencedSOPInstanceUID == former
    assert {uid: item.ProcedureStepState for uid, item in manager.kept.items()} == {
        **({former: "CANCELED"} if is_known else {}),
        newer: "SCHEDULED",
    }


def test_a_manager_that_refuses_an_item_or_is_away(
    sender: Made, sessions: sessionmaker[Session], root: Path, port: int
) -> None:
    sending = sender()
    end_study(sessions, root)
    assert sending.work().away is not None
    settle(sessions)
    with running(Archive(port, answer=lambda _: 0xC309)):
        assert sending.work().failed == 1
    (row,) = deliveries(sessions)
    assert (row["state"], row["error_code"]) == (FAILED, Code.DESTINATION_REFUSED)


def test_an_item_that_was_created_with_modifications_is_sent(
    sender: Made, sessions: sessionmaker[Session], root: Path, port: int
) -> None:
    sending = sender()
    end_study(sessions, root)
    with running(Archive(port, answer=lambda _: 0xB300)):
        assert sending.work().sent == 1
    assert deliveries(sessions)[0]["state"] == SENT


def test_the_uid_is_the_results(tmp_path: Path) -> None:
    (ending,) = mixed(tmp_path).endings
    assert work_item_uid(ending) == work_item_uid(mixed(tmp_path).endings[0])
    assert work_item_uid(ending).startswith("2.25.")
