"""A Unified Procedure Step: the request to read a study that has its result (PS3.4, table CC.2.5-3, N-CREATE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from pydicom.valuerep import DT

from worker.clinical.categories import Priority
from worker.clinical.reading_order.outcome_class import WorklistClass
from worker.clinical.reading_order.place import step_priority
from worker.clinical.reading_order.policy import StepPriority
from worker.reporting.conforming import require_conforming
from worker.reporting.dicom_header import conforming, left_out
from worker.reporting.identifiers import instance_uid, series_uid
from worker.reporting.lesion_content import summary_of
from worker.reporting.result import Ending, StudyResult
from worker.reporting.source_study import Source
from worker.reporting.structured_report import KIND as SR

KIND: Final = "ups"
UPS_PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"
"""The SOP Class of every work item (PS3.4, CC.3.1)."""

LABELS: Final[Mapping[WorklistClass, str]] = {
    WorklistClass.UPGRADED: "Read breast ultrasound: above 4A is recommended",
    WorklistClass.NEEDS_ATTENTION: "Read breast ultrasound: not every lesion was scored",
    WorklistClass.MAINTAINED: "Read breast ultrasound: keeping 4A is recommended",
    WorklistClass.NOT_APPLICABLE: "Read breast ultrasound: lesions other than 4A",
    WorklistClass.DOWNGRADED: "Read breast ultrasound: 3 is recommended",
}
"""Procedure Step Label (0074,1204), at most 64 characters."""

_EMPTY: Final = (
    "TransactionUID",
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
_EMPTY_OF_REQUEST: Final = (
    "IssuerOfAccessionNumberSequence",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)
"""Of type 2: there, and empty."""

_OF_PATIENT: Final = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")


@dataclass(frozen=True, slots=True)
class Performer:
    """Who is to do the work: a code (value and scheme), a name and an organization."""

    value: str
    scheme: str
    name: str
    organization: str

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read ``value^scheme^name^organization``, as the settings have it."""
        return cls(*text.split("^"))


@dataclass(frozen=True, slots=True)
class Worklist:
    """What is the same in each work item.

    Attributes:
        label: Worklist Label.
        retrieve_ae_title: from whom the images are retrieved.
        with_report: whether our report is stored there too.
        performer: who is to read; ``None``: anybody.
    """

    label: str
    retrieve_ae_title: str
    with_report: bool
    performer: Performer | None = None


def work_item_uid(ending: Ending) -> str:
    """Return the SOP Instance UID of a result's work item."""
    return instance_uid(ending, KIND)


def work_item(result: StudyResult, source: Source, worklist: Worklist, replaces: Ending | None = None) -> Dataset:
    """Make the work item of a result: a step that is scheduled for the time of the result, and ready.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files.
        worklist: what is the same in each.
        replaces: the result whose work item this one takes the place of.

    Returns:
        The attribute list of an N-CREATE; text in UTF-8. It has no SOP Instance UID (see `work_item_uid`).

    Raises:
        StudyRefused: ``document_refused``; a value would not conform.
    """
    item, subject = Dataset(), source.subject
    item.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _EMPTY:
        setattr(item, keyword, [] if keyword.endswith("Sequence") else "")
    _schedule(item, result, source, worklist)
    item.InputInformationSequence = _inputs(result, source, worklist)
    item.StudyInstanceUID = subject.study_instance_uid
    held = conforming(subject, result)
    for keyword in _OF_PATIENT:
        setattr(item, keyword, held[keyword])
    request = Dataset()
    for keyword in _EMPTY_OF_REQUEST:
        setattr(request, keyword, [] if keyword.endswith("Sequence") else "")
    request.StudyInstanceUID = subject.study_instance_uid
    request.AccessionNumber = held["AccessionNumber"]
    item.ReferencedRequestSequence = [request]
    if replaces is not None:
        item.ReplacedProcedureStepSequence = [_reference(UPS_PUSH, work_item_uid(replaces))]
    item.ProcedureStepState = "SCHEDULED"
    require_conforming(item)
    return item


def _schedule(item: Dataset, result: StudyResult, source: Source, worklist: Worklist) -> None:
    kind = WorklistClass[str(result.worklist_class).upper()]
    tier = StepPriority.MEDIUM if result.place is None else StepPriority(result.place.step_priority)
    item.ScheduledProcedureStepPriority = step_priority(tier, Priority(result.priority)).value
    item.ProcedureStepLabel, item.WorklistLabel = LABELS[kind], worklist.label
    item.ScheduledProcedureStepStartDateTime = DT(source.subject.local(result.endings[-1].at))
    # CID 9231.
    item.ScheduledWorkitemCodeSequence = [coded("110005", "DCM", "Interpretation")]
    comments = (summary_of(result), *left_out(source.subject, result))
    item.CommentsOnTheScheduledProcedureStep = "\r\n".join(comments)
    item.InputReadinessState = "READY"
    if worklist.performer is not None:
        performer = worklist.performer
        who = Dataset()
        who.HumanPerformerCodeSequence = [coded(performer.value, performer.scheme, performer.name)]
        who.HumanPerformerName, who.HumanPerformerOrganization = performer.name, performer.organization
        item.ScheduledHumanPerformersSequence = [who]


def _inputs(result: StudyResult, source: Source, worklist: Worklist) -> list[Dataset]:
    """Name what is to be read: the images of the lesions, a series at a time, and our report on them.

    An image that says no series cannot be referred to; a report on it is refused, so there is none to name.
    """
    study, retrieve_from = source.subject.study_instance_uid, worklist.retrieve_ae_title
    said = [image for image in source.images.values() if image.series_instance_uid]
    images = sorted(said, key=lambda image: (image.series_instance_uid, image.sop_instance_uid))
    inputs = [
        referenced_instances(
            study, series, [(image.sop_class_uid, image.sop_instance_uid) for image in of_series], retrieve_from
        )
        for series, of_series in groupby(images, key=lambda image: image.series_instance_uid)
    ]
    if worklist.with_report and len(said) == len(source.images):
        ending = result.endings[-1]
        report = (str(Comprehensive3DSRStorage), instance_uid(ending, SR))
        inputs.append(referenced_instances(study, series_uid(ending, SR), [report], retrieve_from))
    return inputs


def referenced_instances(
    study: str, series: str, instances: Sequence[tuple[str, str]], retrieve_ae_title: str
) -> Dataset:
    """Make an item of the Referenced Instances and Access Macro (PS3.3, table 10-3b).

    Args:
        study: their Study Instance UID.
        series: their Series Instance UID.
        instances: the SOP Class and SOP Instance UID of each.
        retrieve_ae_title: from whom they are retrieved.
    """
    item, retrieval = Dataset(), Dataset()
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID, item.SeriesInstanceUID = study, series
    item.ReferencedSOPSequence = [_reference(*instance) for instance in instances]
    retrieval.RetrieveAETitle = retrieve_ae_title
    item.DICOMRetrievalSequence = [retrieval]
    return item


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, sop_instance
    return reference


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
