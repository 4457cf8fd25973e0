"""A study's result as a DICOM SR: a measurement group of TID 1500 (PS3.16) for each lesion.

A lesion of several images has a group for what is said of all of them, and one for each image, with its region. The
groups of a lesion are told by its Tracking Unique Identifier, which they share (PS3.16, TID 4108).

A number is written twice, as DICOM has it (PS3.3, C.18.1): Numeric Value, decimal text of at most 16 characters, to
which it is rounded, and Floating Point Value, the same float64 as in the database.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from pydicom.valuerep import DT

from worker import __version__
from worker.errors import Code, SetupRefused, StudyRefused
from worker.imaging.regions import lies_within
from worker.reporting import concepts
from worker.reporting.concepts import Concept
from worker.reporting.dicom_header import MAKER, SERIES_DESCRIPTION, class_of, left_out, patient_and_study
from worker.reporting.identifiers import DEVICE, instance_uid, number_of, series_uid, tracking_uid
from worker.reporting.lesion_content import (
    Choice,
    ContentItem,
    Note,
    Number,
    content_of,
    count_images,
    has_several_images,
    image_content_of,
    parameters_of,
    summary_of,
)
from worker.reporting.result import Ending, LesionResult, StudyResult
from worker.reporting.source_study import Marked, Source, SourceImage, Subject
from worker.study import Roi

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, MeasurementReport

KIND: Final = "sr"
SERIES_NUMBER: Final = 9901
RADIOLOGIST: Final = "The radiologist's category, as it was sent with the study. It is not DLR's."
_SITE: Final = (concepts.LATERALITY, concepts.CLOCKFACE)
"""What is said below the finding site."""

_OF_EACH_IMAGE: Final = (concepts.ASSESSMENT, *_SITE, concepts.FROM_NIPPLE, concepts.FROM_SKIN)
"""What is said of a lesion in the group of each of its images too, for those who read regions one by one."""


def structured_report(result: StudyResult, source: Source) -> Dataset:
    """Make the report of a result: Comprehensive 3D SR, preliminary and unverified.

    The same result gives the same instance, content and UIDs alike, on whatever machine; only Instance Creation's and
    Content's date and time follow the machine's time zone, where the images name none. The result before it, of the
    same study, is its predecessor.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files. A lesion whose image is not among them has a group without a region.

    Returns:
        A data set with File Meta Information, Explicit VR Little Endian, text in UTF-8.

    Raises:
        StudyRefused: ``document_refused``; an image has no Series Instance UID, without which none can refer to it.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
    """
    try:
        from highdicom.sr import Comprehensive3DSR
    except ImportError:
        reason = "DICOM SR needs the extra: pip install 'dlr-worker[dicom]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    if not all(image.series_instance_uid for image in source.images.values()):
        raise StudyRefused(Code.DOCUMENT_REFUSED, "an image of the study has no Series Instance UID to refer to it by")
    ending = result.endings[-1]
    moment = source.subject.local(ending.at)
    report = Comprehensive3DSR(
        evidence=[_evidence(source.subject, image, result) for image in source.images.values()],
        content=_content(result, source),
        series_instance_uid=series_uid(ending, KIND),
        series_number=SERIES_NUMBER,
        sop_instance_uid=instance_uid(ending, KIND),
        instance_number=number_of(result),
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number=DEVICE,
        series_description=SERIES_DESCRIPTION,
        is_complete=result.state == "done",
        is_final=False,
        previous_versions=[_predecessor(before, source.subject) for before in result.endings[-2:-1]] or None,
        performed_procedure_codes=[_coded(concepts.ULTRASONOGRAPHY)],
        content_date=moment.date(),
        content_time=moment.time(),
        series_date=moment.date(),
        series_time=moment.time(),
    )
    _finish(report, result, source.subject, moment)
    return report


def _finish(report: Dataset, result: StudyResult, subject: Subject, moment: datetime) -> None:
    for equipment in report.ContributingEquipmentSequence:
        equipment.ContributionDateTime = DT(moment)
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    report.CompletionFlagDescription = _completion(result)
    if subject.timezone_offset:
        report.TimezoneOffsetFromUTC = subject.timezone_offset
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = concepts.OWN, concepts.OWN_UID
    scheme.CodingSchemeName, scheme.CodingSchemeResponsibleOrganization = "dlr-worker's own codes", MAKER
    report.CodingSchemeIdentificationSequence = [scheme]


def _completion(result: StudyResult) -> str:
    scored = sum(lesion.error_code is None for lesion in result.lesions)
    images, refused = count_images(result)
    without = f"; {refused} of {images} images not scored" if refused else ""
    return f"{scored} of {len(result.lesions)} lesions scored{without}"


def _evidence(subject: Subject, image: SourceImage, result: StudyResult) -> Dataset:
    """Return what highdicom has to know of an image, and nothing else of its header."""
    evidence = patient_and_study(subject, result)
    evidence.SOPClassUID = class_of(image)
    evidence.SOPInstanceUID, evidence.SeriesInstanceUID = image.sop_instance_uid, image.series_instance_uid
    evidence.Modality, evidence.Rows, evidence.Columns = "US", image.rows, image.columns
    if image.frames is not None:
        evidence.NumberOfFrames = image.frames
    return evidence


def _predecessor(before: Ending, subject: Subject) -> Dataset:
    reference = Dataset()
    reference.StudyInstanceUID, reference.SeriesInstanceUID = subject.study_instance_uid, series_uid(before, KIND)
    reference.SOPClassUID, reference.SOPInstanceUID = Comprehensive3DSRStorage, instance_uid(before, KIND)
    return reference


def _content(result: StudyResult, source: Source) -> "MeasurementReport":
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        TextContentItem,
    )
    from pydicom.sr.codedict import codes

    observer = DeviceObserverIdentifyingAttributes(uid=DEVICE, name=MAKER, manufacturer_name=MAKER, model_name=MAKER)
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, observer),
        ),
        procedure_reported=_coded(concepts.IMAGING_PROCEDURE),
        imaging_measurements=[group for lesion in result.lesions for group in _groups(result, lesion, source)],
        title=_coded(concepts.REPORT),
    )
    summary = TextContentItem(_coded(concepts.COMMENT), summary_of(result), "CONTAINS")
    report[0].ContentSequence.append(summary)
    for line in left_out(source.subject, result):
        report[0].ContentSequence.append(TextContentItem(_coded(concepts.COMMENT), line, "CONTAINS"))
    return report


def _groups(result: StudyResult, lesion: LesionResult, source: Source) -> Iterator[Any]:
    """Give a lesion's group and, where it has several images, that of each."""
    findings = content_of(lesion)
    if not has_several_images(lesion):
        yield _group(result, lesion, findings, [lesion], source)
        return
    yield _group(result, lesion, findings, lesion.images, source)
    of_each = [one for one in findings if one.name in _OF_EACH_IMAGE]
    for image in lesion.images:
        yield _group(result, lesion, [*of_each, *image_content_of(lesion, image)], [image], source)


def _group(
    result: StudyResult, lesion: LesionResult, findings: Sequence[ContentItem], on: Sequence[Marked], source: Source
) -> Any:
    """Say something of what is marked on images: of one, by its region; of several, or without one, by the images."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        TrackingIdentifier,
    )

    choices = [one for one in findings if isinstance(one, Choice) and one.name not in _SITE]
    said: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(uid=tracking_uid(result, lesion), identifier=lesion.lesion_id),
        "finding_type": _coded(concepts.LESION),
        "finding_sites": [_site(findings)],
        "measurements": [_measurement(one) for one in findings if isinstance(one, Number)] or None,
        "qualitative_evaluations": [_evaluation(one) for one in choices],
    }
    marked = [(one, source.images[one.sop_instance_uid]) for one in on if one.sop_instance_uid in source.images]
    region = _region(*marked[0]) if marked and len(on) == 1 else None
    if region is not None:
        group: Any = PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **said)
    else:
        shown = [_shown(one, image) for one, image in marked]
        group = MeasurementsAndQualitativeEvaluations(source_images=shown or None, **said)
    group[0].ContentSequence.extend(_notes(findings))
    return group


def _site(findings: Sequence[ContentItem]) -> Any:
    from highdicom.sr import FindingSite

    said = {one.name: _coded(one.value) for one in findings if isinstance(one, Choice) and one.name in _SITE}
    return FindingSite(
        _coded(concepts.BREAST),
        laterality=said.get(concepts.LATERALITY),
        topographical_modifier=said.get(concepts.CLOCKFACE),
    )


def _shown(marked: Marked, image: SourceImage) -> Any:
    from highdicom.sr import SourceImageForMeasurementGroup

    return SourceImageForMeasurementGroup(class_of(image), image.sop_instance_uid, _frames(marked, image))


def _notes(findings: Sequence[ContentItem]) -> list[Any]:
    from highdicom.sr import TextContentItem

    return [TextContentItem(_coded(one.name), one.text, "CONTAINS") for one in findings if isinstance(one, Note)]


def _measurement(number: Number) -> Any:
    from highdicom.sr import AlgorithmIdentification, Measurement

    score = number.score
    algorithm = None
    if score is not None:
        algorithm = AlgorithmIdentification(
            name=score.model, version=score.version, parameters=parameters_of(score), manufacturer=MAKER
        )
    return Measurement(_coded(number.name), number.value, _coded(number.unit), algorithm_id=algorithm)


def _evaluation(choice: Choice) -> Any:
    from highdicom.sr import ContentSequence, QualitativeEvaluation, TextContentItem

    evaluation = QualitativeEvaluation(_coded(choice.name), _coded(choice.value))
    if choice.name == concepts.ASSESSMENT:
        whose = TextContentItem(_coded(concepts.COMMENT), RADIOLOGIST, "HAS PROPERTIES")
        evaluation[0].ContentSequence = ContentSequence([whose])
    return evaluation


def _region(marked: Marked, image: SourceImage) -> Any:
    """Outline the rectangle that was scored; where none was, the sender's, if it lies within the image.

    SCOORD counts from the top left corner of the top left pixel, 0\\0, to Columns\\Rows (PS3.3, C.18.6.1.2).
    """
    import numpy as np
    from highdicom.sr import GraphicTypeValues, ImageRegion, SourceImageForRegion

    box = marked.region or marked.roi
    if box is None or not lies_within(Roi(*box), image.rows, image.columns) or not image.shows(marked):
        return None
    x, y, width, height = box
    right, bottom = x + width, y + height
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array([(x, y), (right, y), (right, bottom), (x, bottom), (x, y)], dtype=float),
        source_image=SourceImageForRegion(class_of(image), image.sop_instance_uid, _frames(marked, image)),
    )


def _frames(marked: Marked, image: SourceImage) -> list[int] | None:
    frame = image.frame_of(marked)
    return None if frame is None else [frame]


def _coded(concept: Concept) -> "CodedConcept":
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.value, concept.scheme, concept.meaning, concepts.VERSIONS.get(concept.scheme))
