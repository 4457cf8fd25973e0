"""Identifiers, planted wherever a DICOM file or a job can hold them."""

import re
from typing import Any, Final

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset

from tests.worker.imaging.dicom_files import dataset, picture

MARK: Final = "ZQX7"
"""Begins each planted text."""

NAME: Final = f"Roe^{MARK}"

ROOT: Final = "1.2.826.0.1.3680043.10.778"
"""Begins each planted UID."""

BIRTH, STUDY_DATE, OTHER_DATE, TIME = "19311107", "19751107", "19321203", "104217.7793"
AGE_YEARS = 44.0
PLANTED = re.compile("|".join(map(re.escape, (MARK, ROOT, BIRTH, OTHER_DATE, TIME, "Roe^"))).encode())

_TEXT_VRS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE")


def full_of_identifiers(number: int, **elements: Any) -> tuple[FileDataset, int]:
    """Make a file with a value in each attribute that can hold text, a name, a date, a time or a UID."""
    made = dataset(picture(), StudyInstanceUID=f"{ROOT}.1.{number}", SOPInstanceUID=f"{ROOT}.2.{number}")
    kept = {element.tag for element in made}
    count = 0
    for tag, (vr, _multiplicity, _name, _retired, keyword) in DicomDictionary.items():
        if tag in kept or tag >> 16 in (0, 2, 4) or not keyword:
            continue
        value = {"UI": f"{ROOT}.3.{tag}", "DA": OTHER_DATE, "TM": TIME, "DT": f"{OTHER_DATE}{TIME[:6]}"}.get(vr)
        if vr in _TEXT_VRS:
            value = NAME if vr == "PN" else f"{MARK}{tag:08x}"
        if value is not None:
            made.add_new(tag, vr, value)
            count += 1
    nested = Dataset()
    nested.PatientID, nested.PatientName = f"{MARK}nested", f"Roe^{MARK}nested"
    made.OtherPatientIDsSequence = [nested]
    made.private_block(0x0011, f"{MARK} CREATOR", create=True).add_new(1, "LO", f"{MARK}private")
    made.PatientID, made.PatientBirthDate, made.StudyDate, made.PatientAge = f"{MARK}id", BIRTH, STUDY_DATE, "044Y"
    made.file_meta.SourceApplicationEntityTitle = f"{MARK}AE"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made, count + 6


def job_of(number: int, path: str, **fields: Any) -> dict[str, Any]:
    """Make a job of one lesion on the file of a number; more fields replace its own."""
    lesion = {"lesion_id": f"{MARK} lesion", "sop_instance_uid": f"{ROOT}.2.{number}", "frame": 1, "birads": "4A"}
    return {
        "schema_version": 1,
        "study_instance_uid": f"{ROOT}.1.{number}",
        "accession_number": f"{MARK}accession",
        "age_years": AGE_YEARS,
        "images": {"kind": "files", "paths": [path]},
        "lesions": [lesion | fields.pop("lesion", {})],
    } | fields
