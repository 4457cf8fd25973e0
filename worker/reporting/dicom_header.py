"""The attributes that every DICOM document has: the patient's and the study's, as the study's images have them."""

from typing import Final

from pydicom import Dataset
from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from worker.reporting.conforming import conforms
from worker.reporting.result import StudyResult
from worker.reporting.source_study import SourceImage, Subject, accession_of

MAKER: Final = "dlr-worker"
SERIES_DESCRIPTION: Final = "DLR: recommendation, not a diagnosis"

_TODAYS: Final = {
    "1.2.840.10008.5.1.4.1.1.6": str(UltrasoundImageStorage),
    "1.2.840.10008.5.1.4.1.1.3": str(UltrasoundMultiFrameImageStorage),
}
"""Retired SOP Classes of ultrasound, and those that took their place."""

_OPTIONAL: Final = ("IssuerOfPatientID", "StudyDescription")
"""Of type 3: there with a value, or not at all."""


def class_of(image: SourceImage) -> str:
    """Return the SOP Class UID under which an image is referred to: that of today for one of a retired class."""
    return _TODAYS.get(image.sop_class_uid, image.sop_class_uid)


def patient_and_study(subject: Subject, result: StudyResult) -> Dataset:
    """Return the attributes of the Patient and General Study modules (PS3.3, C.7.1.1 and C.7.2.1), text in UTF-8.

    A value that may not stand in its attribute is left out of it; `left_out` has it.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID = subject.study_instance_uid
    for keyword, value in conforming(subject, result).items():
        if value or keyword not in _OPTIONAL:
            setattr(dataset, keyword, value)
    return dataset


def conforming(subject: Subject, result: StudyResult) -> dict[str, str]:
    """Return what the images say of patient and study, by keyword; empty where the attribute cannot hold it."""
    said = _said(subject, result)
    return {keyword: value if conforms(dictionary_VR(keyword), value) else "" for keyword, value in said.items()}


def left_out(subject: Subject, result: StudyResult) -> tuple[str, ...]:
    """Return a line for each value that its attribute cannot hold, for a place where any text may stand."""
    said, held = _said(subject, result), conforming(subject, result)
    return tuple(
        f"{dictionary_description(keyword)}, of a form that its attribute cannot hold: {value}"
        for keyword, value in said.items()
        if value != held[keyword]
    )


def _said(subject: Subject, result: StudyResult) -> dict[str, str]:
    return {
        "PatientName": subject.patient_name,
        "PatientID": subject.patient_id,
        "IssuerOfPatientID": subject.issuer_of_patient_id,
        "PatientBirthDate": subject.patient_birth_date,
        "PatientSex": subject.patient_sex,
        "StudyID": subject.study_id,
        "StudyDate": subject.study_date,
        "StudyTime": subject.study_time,
        "AccessionNumber": accession_of(subject, result),
        "ReferringPhysicianName": subject.referring_physician_name,
        "StudyDescription": subject.study_description,
    }
