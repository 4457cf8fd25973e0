"""A study's result as FHIR R4: a Bundle with a DiagnosticReport, and two Observations for each lesion.

The radiologist's category is an Observation of its own, without a device; what DLR says is another, derived from it. Of
a lesion with several images, what DLR says of each is an Observation too, from which that of the lesion is derived.
Both are built as JSON and checked by fhir.resources (its R4B, whose resources used here are those of R4).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import uuid5

from db.schema.vocabulary import Laterality
from worker import __version__
from worker.clinical.categories import Outcome
from worker.errors import Code, SetupRefused
from worker.reporting import concepts
from worker.reporting.concepts import Concept
from worker.reporting.identifiers import DEVICE, instance_uid, tracking_uid
from worker.reporting.lesion_content import (
    Choice,
    ContentItem,
    Number,
    content_of,
    has_several_images,
    image_content_of,
    parameters_of,
    summary_of,
)
from worker.reporting.person_name import Name, Writing, names_of
from worker.reporting.result import ImageResult, LesionResult, StudyResult
from worker.reporting.source_study import Marked, Source, Subject, accession_of
from worker.text import on_one_line

KIND: Final = "fhir"
SYSTEMS: Final = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "SCT": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
    concepts.OWN: f"urn:oid:{concepts.OWN_UID}",
}
"""The URI of each coding scheme that has one. BI-RADS' own has none, so 4A, 4B, 4C and 6 are text and code alone."""

LESION_RESULT: Final = Concept("LESION_RESULT", concepts.OWN, "DLR: recommendation for a lesion, not a diagnosis")
IMAGE_RESULT: Final = Concept("IMAGE_RESULT", concepts.OWN, "DLR: scores of one image of a lesion, not a diagnosis")
STUDY_RESULT: Final = Concept("RESULT", concepts.OWN, "DLR: recommendation, not a diagnosis")
PRELIMINARY: Final = "preliminary"
UNKNOWN: Final = "unknown"
DICOM_UID: Final = "urn:dicom:uid"
_ELSEWHERE: Final = (concepts.ASSESSMENT, concepts.LATERALITY)
"""What is not said among the components: the radiologist's Observation and the body site say it."""

_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_EMPTY: Final[tuple[Any, ...]] = ("", {}, [])
_WRITTEN: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_WRITINGS: Final = {Writing.IDEOGRAPHIC: "IDE", Writing.PHONETIC: "SYL"}
_GENDERS: Final = {"M": "male", "F": "female", "O": "other"}

Json = dict[str, Any]


def fhir_bundle(result: StudyResult, source: Source) -> str:
    """Make the Bundle of a result, of type ``collection``. The same result gives the same Bundle, ids included.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files: patient and study.

    Returns:
        JSON. Numbers have every digit of the float64 that the database has.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``export`` is not installed.
    """
    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError:
        reason = "FHIR needs the extra: pip install 'dlr-worker[export]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    resources = list(resources_of(result, source.subject))
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": uid_identifier(instance_uid(result.endings[-1], KIND)),
        "timestamp": _instant(result.endings[-1].at),
        "entry": [
            {"fullUrl": url_of(result, resource.pop("id")), "resource": resource} for resource in resources
        ],
    }  # fmt: skip
    text: str = Bundle.model_validate(without_empty(bundle)).model_dump_json(indent=2)
    return text + "\n"


def without_empty(value: Any) -> Any:
    """Return JSON without what FHIR forbids: empty texts, objects and lists, and controls in texts (R4, 2.6, 2.24)."""
    if isinstance(value, str):
        return on_one_line(value).strip()
    if isinstance(value, dict):
        return {name: kept for name, part in value.items() if (kept := without_empty(part)) not in _EMPTY}
    if isinstance(value, list):
        return [kept for part in value if (kept := without_empty(part)) not in _EMPTY]
    return value


def resources_of(result: StudyResult, subject: Subject) -> Iterator[Json]:
    """Yield the resources of a result, the report first; ``id`` is the name by which others refer to it."""
    yield _report(result, subject)
    yield _patient(subject)
    yield {
        "resourceType": "Device",
        "id": "device",
        "identifier": [uid_identifier(DEVICE)],
        "deviceName": [{"name": "dlr-worker", "type": "manufacturer-name"}],
        "version": [{"value": __version__}],
    }
    for lesion in result.lesions:
        yield _of_radiologist(result, lesion)
        yield _of_dlr(result, lesion)
        if has_several_images(lesion):
            yield from (_of_image(result, lesion, image) for image in lesion.images)


def _report(result: StudyResult, subject: Subject) -> Json:
    accession = accession_of(subject, result)
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "identifier": [uid_identifier(instance_uid(result.endings[-1], KIND))],
        "status": PRELIMINARY,
        "code": {"coding": [_coding(STUDY_RESULT)], "text": STUDY_RESULT.meaning},
        "subject": _reference(result, "patient"),
        "issued": _instant(result.endings[-1].at),
        "imagingStudy": [{"type": "ImagingStudy", "identifier": uid_identifier(subject.study_instance_uid)}],
        "result": [_reference(result, f"dlr-{lesion.ordinal}") for lesion in result.lesions],
        "conclusion": summary_of(result),
    }
    if accession:
        report["identifier"].append({"type": {"coding": [_ACCESSION]}, "value": accession})
    if subject.study_date:
        day = subject.study_date
        report["effectiveDateTime"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    return report


_ACCESSION: Final = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}


def _patient(subject: Subject) -> Json:
    patient: Json = {"resourceType": "Patient", "id": "patient"}
    if subject.patient_id:
        issuer = {"assigner": {"display": subject.issuer_of_patient_id}} if subject.issuer_of_patient_id else {}
        patient["identifier"] = [{"value": subject.patient_id, **issuer}]
    if subject.patient_name:
        patient["name"] = _names(subject.patient_name)
    if subject.patient_sex:
        patient["gender"] = _GENDERS[subject.patient_sex]
    if subject.patient_birth_date:
        day = subject.patient_birth_date
        patient["birthDate"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    return patient


def _names(person: str) -> list[Json]:
    """Turn a Person Name into a HumanName a group; of what is no Person Name, say the text."""
    return [_name(name) for name in names_of(person)] or [{"text": person}]


def _name(name: Name) -> Json:
    said: Json = {
        "text": " ".join(part for part in (name.prefix, name.given, name.middle, name.family, name.suffix) if part),
        "family": name.family,
        "given": [name.given, name.middle],
        "prefix": [name.prefix],
        "suffix": [name.suffix],
    }
    if name.writing is not Writing.ALPHABETIC:
        said["extension"] = [{"url": _WRITTEN, "valueCode": _WRITINGS[name.writing]}]
    return said


def _of_radiologist(result: StudyResult, lesion: LesionResult) -> Json:
    """Say what was sent: who assessed the lesion, and whether it is final, nobody told us."""
    said = concepts.original(lesion.birads)
    return {
        **_about(result, lesion, f"radiologist-{lesion.ordinal}"),
        "status": UNKNOWN,
        "code": {"coding": [_coding(concepts.ASSESSMENT)], "text": "BI-RADS category by the radiologist"},
        "valueCodeableConcept": {"coding": [_coding(said)], "text": f"BI-RADS {lesion.birads}"},
    }


def _of_dlr(result: StudyResult, lesion: LesionResult) -> Json:
    findings = [finding for finding in content_of(lesion) if finding.name not in _ELSEWHERE]
    recommended = next((one for one in findings if one.name == concepts.RECOMMENDED), None)
    several = has_several_images(lesion)
    of_images = [_reference(result, _image_name(lesion, image)) for image in lesion.images] if several else []
    observation: Json = {
        **_about(result, lesion, f"dlr-{lesion.ordinal}"),
        "status": PRELIMINARY,
        "code": {"coding": [_coding(LESION_RESULT)], "text": LESION_RESULT.meaning},
        "device": _reference(result, "device"),
        "derivedFrom": [_reference(result, f"radiologist-{lesion.ordinal}"), *(of_images or [_image(lesion)])],
        "component": [_component(one) for one in findings if isinstance(one, (Number, Choice))],
        "note": [{"text": text} for text in _notes(lesion, findings)],
    }
    if isinstance(recommended, Choice):
        observation["valueCodeableConcept"] = _concept(recommended.value)
    else:
        observation["dataAbsentReason"] = _absent(lesion)
    return observation


def _of_image(result: StudyResult, lesion: LesionResult, image: ImageResult) -> Json:
    findings = image_content_of(lesion, image)
    observation: Json = {
        **_about(result, lesion, _image_name(lesion, image)),
        "status": PRELIMINARY,
        "code": {"coding": [_coding(IMAGE_RESULT)], "text": IMAGE_RESULT.meaning},
        "device": _reference(result, "device"),
        "derivedFrom": [_image(image)],
        "component": [_component(one) for one in findings if isinstance(one, (Number, Choice))],
        "note": [{"text": text} for text in [*_sentences(findings), *_where(image)]],
    }
    if image.error_code is not None:
        observation["dataAbsentReason"] = _not_scored(image.error_code)
    return observation


def _image_name(lesion: LesionResult, image: ImageResult) -> str:
    return f"dlr-{lesion.ordinal}-image-{image.ordinal}"


def _absent(lesion: LesionResult) -> Json:
    """Say why nothing is recommended: the lesion was not scored, or it is not one of 4A."""
    if lesion.outcome is None:
        return _not_scored(lesion.error_code or "error")
    text = concepts.OUTCOMES[Outcome.NOT_APPLICABLE].meaning
    return {"coding": [{"system": _ABSENT, "code": "not-applicable"}], "text": text}


def _not_scored(code: str) -> Json:
    return {"coding": [{"system": _ABSENT, "code": "error"}], "text": code}


def _notes(lesion: LesionResult, findings: Sequence[ContentItem]) -> Iterator[str]:
    yield from _sentences(findings)
    for score in lesion.scores:
        yield ", ".join([f"{score.model} {score.version}", *parameters_of(score)])
    if not has_several_images(lesion):
        yield from _where(lesion)


def _sentences(findings: Sequence[ContentItem]) -> Iterator[str]:
    for finding in findings:
        if not isinstance(finding, (Number, Choice)):
            yield f"{finding.name.meaning}: {finding.text}"


def _where(marked: Marked) -> Iterator[str]:
    box = marked.region or marked.roi
    if box is not None:
        yield f"region: x, y, width, height = {', '.join(map(str, box))} pixels; x and y from 0"


def _about(result: StudyResult, lesion: LesionResult, name: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "identifier": [uid_identifier(tracking_uid(result, lesion)), {"value": lesion.lesion_id}],
        "subject": _reference(result, "patient"),
        "issued": _instant(result.endings[-1].at),
        "bodySite": _concept(_side(lesion)),
    }


def _side(lesion: LesionResult) -> Concept:
    """Return the breast: FHIR has no modifiers of a body site, so which one it is has a code of its own."""
    side = concepts.SIDES.get(Laterality(lesion.laterality)) if lesion.laterality else None
    return side or concepts.BREAST


def _image(marked: Marked) -> Json:
    frame = f", frame {marked.frame}" if marked.frame else ""
    return {
        "type": "ImagingStudy",
        "identifier": uid_identifier(marked.sop_instance_uid),
        "display": f"SOP Instance UID of the image{frame}",
    }


def _component(finding: Number | Choice) -> Json:
    code = _concept(finding.name)
    if isinstance(finding, Choice):
        return {"code": code, "valueCodeableConcept": _concept(finding.value)}
    unit = finding.unit
    quantity = {
        "value": Decimal(repr(finding.value)),
        "unit": unit.meaning,
        "system": SYSTEMS[unit.scheme],
        "code": unit.value,
    }
    return {"code": code, "valueQuantity": quantity}


def _concept(concept: Concept) -> Json:
    return {"coding": [_coding(concept)], "text": concept.meaning}


def _coding(concept: Concept) -> Mapping[str, str]:
    system = SYSTEMS.get(concept.scheme)
    return {**({"system": system} if system else {}), "code": concept.value, "display": concept.meaning}


def uid_identifier(uid: str) -> Json:
    """Return an Identifier that is a UID."""
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _reference(result: StudyResult, name: str) -> Json:
    return {"reference": url_of(result, name)}


def url_of(result: StudyResult, name: str) -> str:
    """Return a name of a resource that no other result's has."""
    return f"urn:uuid:{uuid5(result.study_id, f'{result.endings[-1].event_id}/{name}')}"
