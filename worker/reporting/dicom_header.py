"""The attributes that every DICOM document has: the patient's and the study's, as the study's images have them."""

from typing import Final

from pydicom import Dataset
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from worker.reporting.result import StudyResult
from worker.reporting.source import SourceImage, Subject

MAKER: Final = "dlr-worker"
SERIES_DESCRIPTION: Final = "DLR: recommendation, not a diagnosis"

_TODAYS: Final = {
    "1.2.840.10008.5.1.4.1.1.6": str(UltrasoundImageStorage),
    "1.2.840.10008.5.1.4.1.1.3": str(UltrasoundMultiFrameImageStorage),
}
"""Retired SOP Classes of ultrasound, and those that took their place."""


def class_of(image: SourceImage) -> str:
    """Return the SOP Class UID under which an image is referred to: that of today for one of a retired class."""
    return _TODAYS.get(image.sop_class_uid, image.sop_class_uid)


def patient_and_study(subject: Subject, result: StudyResult) -> Dataset:
    """Return the attributes of the Patient and General Study modules (PS3.3, C.7.1.1 and C.7.2.1), text in UTF-8.

    The accession number is the images'; where they have none, the one that came with the job.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = subject.patient_name, subject.patient_id
    if subject.issuer_of_patient_id:
        dataset.IssuerOfPatientID = subject.issuer_of_patient_id
    dataset.PatientBirthDate, dataset.PatientSex = subject.patient_birth_date, subject.patient_sex
    dataset.StudyInstanceUID, dataset.StudyID = subject.study_instance_uid, subject.study_id
    dataset.StudyDate, dataset.StudyTime = subject.study_date, subject.study_time
    dataset.AccessionNumber = subject.accession_number or result.accession_number or ""
    dataset.ReferringPhysicianName = subject.referring_physician_name
    if subject.study_description:
        dataset.StudyDescription = subject.study_description
    return dataset
