"""Which work items are ours, and the job that one asks for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE

from tests.worker.performing.ups_manager import STATION, WORKITEM, coded, reference, work_item
from worker.contract import parse_pushed
from worker.errors import Code, JobRefused
from worker.performing.scheduled import Coded, Ours, job_of, workitem_of

IMAGES = {"kind": "pacs", "server": "pacs"}
OURS = Coded(*STATION)
AI = Coded("AI", "99X", "AI")
OTHER = ("CT1", "99HOSPITAL", "A scanner")


def requests(*pairs: tuple[str, str]) -> list[Dataset]:
    return [reference(StudyInstanceUID=study, AccessionNumber=accession) for study, accession in pairs]


@pytest.mark.parametrize(
    ("item", "study", "accession"),
    [
        (work_item(("1.2.3",)), "1.2.3", None),
        (work_item(("1.2.3", "1.2.3"), "A1"), "1.2.3", "A1"),
        (work_item((), "A1"), None, "A1"),
        (work_item((), StudyInstanceUID="1.2.4"), "1.2.4", None),
        (work_item((), ReferencedRequestSequence=requests(("1.2.5", "A5"))), "1.2.5", "A5"),
        (work_item(("1.2.3", "1.2.9"), ReferencedRequestSequence=requests(("1.2.3", "A3"))), "1.2.3", "A3"),
        (work_item(("1.2.3",), ReferencedRequestSequence=requests(("1.2.3", "A3"), ("1.2.9", "A9"))), "1.2.3", "A3"),
        (work_item(("1.2.3",), ReferencedRequestSequence=requests(("", "A3"), ("", "A9"))), "1.2.3", None),
    ],
    ids=range(8),
)
def test_an_item_is_a_job_for_its_study_whose_lesions_are_read_there(
    item: Dataset, study: str | None, accession: str | None
) -> None:
    job = job_of(item, IMAGES)
    assert (job.get("study_instance_uid"), job.get("accession_number")) == (study, accession)
    assert job["images"] == IMAGES
    assert "lesions" not in job
    parse_pushed(job)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (work_item(()), "names no study"),
        (work_item(("1.2.3", "1.2.4")), "several studies"),
        (work_item(("1.2.3", "1.2.4"), StudyInstanceUID="1.2.5"), "several studies"),
        (work_item((), ReferencedRequestSequence=requests(("", "A1"), ("", "A2"))), "several Accession Numbers"),
        (work_item((), "A" * 300), "accession_number"),
    ],
    ids=range(5),
)
def test_an_item_that_does_not_name_one_study_is_no_job(item: Dataset, why: str) -> None:
    with pytest.raises(JobRefused, match="work_item_invalid") as refused:
        job_of(item, IMAGES)
    assert why in refused.value.reason


@pytest.mark.parametrize(
    ("said", "priority"), [("HIGH", "urgent"), ("MEDIUM", "routine"), ("LOW", "routine"), ("", "routine")]
)
def test_a_high_item_is_urgent(said: str, priority: str) -> None:
    assert job_of(work_item(ScheduledProcedureStepPriority=said), IMAGES)["priority"] == priority


@pytest.mark.parametrize(
    ("item", "ours", "is_ours"),
    [
        (work_item(), Ours(stations=[OURS]), True),
        (work_item(station=OTHER), Ours(stations=[OURS]), False),
        (work_item(station=None), Ours(stations=[OURS]), False),
        (work_item(station=("DLR1", "99OTHER", "Of another scheme")), Ours(stations=[OURS]), False),
        (work_item(ScheduledStationNameCodeSequence=[coded(*OTHER), coded(*STATION)]), Ours(stations=[OURS]), True),
        (work_item(), Ours(stations=[OURS], workitems=[Coded(*WORKITEM)]), True),
        (work_item(), Ours(stations=[OURS], workitems=[Coded("1", "99X", "")]), False),
        (work_item(), Ours(stations=[OURS], classes=[AI]), False),
        (work_item(ScheduledStationClassCodeSequence=[coded("AI", "99X", "AI")]), Ours(classes=[AI]), True),
        (work_item(InputReadinessState="INCOMPLETE"), Ours(stations=[OURS]), False),
        (work_item(ProcedureStepState="IN PROGRESS"), Ours(stations=[OURS]), False),
    ],
    ids=range(11),
)
def test_an_item_is_ours_by_a_code_of_each_kind_that_is_set_and_while_it_is_scheduled_and_ready(
    item: Dataset, ours: Ours, is_ours: bool
) -> None:
    assert ours.includes(item) is is_ours


def test_a_manager_is_asked_by_the_one_code_of_a_kind_and_by_none_of_several() -> None:
    asked = Ours(stations=[OURS], workitems=[Coded(*WORKITEM), OURS]).query()
    assert (asked.ProcedureStepState, asked.InputReadinessState) == ("SCHEDULED", "READY")
    assert asked.ScheduledStationNameCodeSequence[0].CodeValue == STATION[0]
    assert asked.ScheduledWorkitemCodeSequence[0].CodeValue == ""


def test_the_kind_of_work_is_what_the_item_says() -> None:
    assert workitem_of(work_item()) == Coded(*WORKITEM)
    assert workitem_of(work_item(ScheduledWorkitemCodeSequence=[])) is None


VALUES: Any = st.one_of(st.none(), st.text(max_size=80), st.lists(st.text(max_size=8), max_size=3))


@given(VALUES, VALUES, st.lists(VALUES, max_size=3))
def test_whatever_an_item_has_it_is_a_job_or_refused(study: Any, accession: Any, inputs: list[Any]) -> None:
    item = _with("StudyInstanceUID", "UI", study)
    item.InputInformationSequence = [_with("StudyInstanceUID", "UI", one) for one in inputs]
    item.ReferencedRequestSequence = [_with("AccessionNumber", "SH", accession)]
    try:
        job = job_of(item, IMAGES)
    except JobRefused as refused:
        told = refused
    else:
        parse_pushed(job)
        return
    assert told.code is Code.WORK_ITEM_INVALID


def _with(keyword: str, vr: str, value: Any) -> Dataset:
    item = Dataset()
    item.add(DataElement(keyword, vr, value, validation_mode=IGNORE))
    return item
