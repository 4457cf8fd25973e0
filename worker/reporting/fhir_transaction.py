"""A study's result as a FHIR R4 Bundle of type ``transaction``, for a server (R4, 3.1.0.11).

A server has each resource once, however often it is sent, and whatever replaces a result: a resource is named by an
identifier that the study gives, and created or updated on the condition that there is none, or one, of that identifier.
What is the hospital's (patient, study) is created where it is missing, and never changed; what is ours is updated.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from worker.errors import Code, SetupRefused
from worker.reporting.fhir import Json, resources_of, uid_identifier, url_of, without_empty
from worker.reporting.identifiers import instance_uid, uid_of
from worker.reporting.result import LesionResult, StudyResult
from worker.reporting.source_study import Source, Subject

KIND: Final = "fhir"
_ULTRASOUND: Final = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}


def fhir_transaction(result: StudyResult, source: Source, patient_system: str) -> str:
    """Make the Bundle. The same result gives the same Bundle; a later result of the study updates the same resources.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files: patient and study.
        patient_system: the URI of the hospital's patient identifiers, by which a patient is found.

    Returns:
        JSON.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``export`` is not installed.
    """
    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError:
        reason = "FHIR needs the extra: pip install 'dlr-worker[export]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    bundle = {
        "resourceType": "Bundle",
        "id": f"{instance_uid(result.endings[-1], KIND).rpartition('.')[2]}",
        "type": "transaction",
        "entry": list(_entries(result, source.subject, patient_system)),
    }
    text: str = Bundle.model_validate(without_empty(bundle)).model_dump_json(indent=2)
    return text + "\n"


def _entries(result: StudyResult, subject: Subject, patient_system: str) -> Iterator[Json]:
    for resource in resources_of(result, subject):
        name = resource.pop("id")
        if name == "patient":
            yield _created(result, name, _patient(result, resource, patient_system))
        elif name == "device":
            yield _created(result, name, resource)
        else:
            yield _updated(result, name, _named(result, name, resource))
    yield _created(result, "study", _imaging_study(result, subject))
    for name, model in _models(result):
        yield _updated(result, name, model)


def _created(result: StudyResult, name: str, resource: Json) -> Json:
    """Create a resource, unless there is one of its first identifier (R4, 3.1.0.8.1)."""
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": _query(resource)}
    return {"fullUrl": url_of(result, name), "resource": resource, "request": request}


def _updated(result: StudyResult, name: str, resource: Json) -> Json:
    """Update the resource of the first identifier, or create it (R4, 3.1.0.4.3)."""
    request = {"method": "PUT", "url": f"{resource['resourceType']}?{_query(resource)}"}
    return {"fullUrl": url_of(result, name), "resource": resource, "request": request}


def _query(resource: Json) -> str:
    first = resource["identifier"][0]
    return f"identifier={quote(first['system'], safe=':/')}%7C{quote(first['value'], safe=':/.')}"


def _patient(result: StudyResult, patient: Json, system: str) -> Json:
    """Give the patient an identifier by which the hospital's own is found; one without an ID is of this study alone."""
    if not patient.get("identifier"):
        return {**patient, "identifier": [uid_identifier(_name_of(result, "patient"))]}
    first, *others = patient["identifier"]
    return {**patient, "identifier": [{"system": system, **first}, *others]}


def _named(result: StudyResult, name: str, resource: Json) -> Json:
    """Put an identifier first that each result of the study gives the same resource."""
    if name == "report":
        resource["imagingStudy"] = [{"reference": url_of(result, "study")}]
        own = _name_of(result, name)
    else:
        role, _, ordinal = name.partition("-")
        number, _, image = ordinal.partition("-")
        own = _name_of(result, role, _lesion(result, int(number)).lesion_id, image)
    return {**resource, "identifier": [uid_identifier(own), *resource["identifier"]]}


def _lesion(result: StudyResult, ordinal: int) -> LesionResult:
    return next(lesion for lesion in result.lesions if lesion.ordinal == ordinal)


def _name_of(result: StudyResult, *parts: str) -> str:
    return uid_of("fhir", result.study_instance_uid, *parts)


def _imaging_study(result: StudyResult, subject: Subject) -> Json:
    day = subject.study_date
    return {
        "resourceType": "ImagingStudy",
        "identifier": [uid_identifier(subject.study_instance_uid)],
        "status": "unknown",
        "modality": [_ULTRASOUND],
        "subject": {"reference": url_of(result, "patient")},
        "started": f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else "",
    }


def _models(result: StudyResult) -> Iterator[tuple[str, Json]]:
    """Yield a Device for each version of a model that has a part in the result, named by its weights and card."""
    seen: dict[str, Json] = {}
    for score in (score for lesion in result.lesions for score in lesion.scores):
        told_by = (score.model, score.version, score.weights_sha256, score.card_sha256)
        device: dict[str, Any] = {
            "resourceType": "Device",
            "identifier": [uid_identifier(uid_of("model", *told_by))],
            "deviceName": [{"name": f"{score.model} {score.version}", "type": "model-name"}],
            "version": [{"value": score.version}],
            "parent": {"reference": url_of(result, "device")},
            "note": [{"text": score.notice}] if score.notice else [],
        }
        seen.setdefault(f"model-{score.model}-{score.version}", device)
    yield from seen.items()
