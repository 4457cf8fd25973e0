"""The demo's studies as files to practise with: whatever way in a site wants to try."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from worker.demo.studies import STUDIES, make_studies

IMAGE, LESIONS, REPORT = "image.dcm", "lesions.json", "report.dcm"


def write_practice(folder: Path, seed: int) -> Iterator[Path]:
    """Write a folder a study, named by its number and what it shows, and yield it.

    Each holds ``image.dcm`` and ``lesions.json``; where the extra ``dicom`` is installed and each lesion has a ROI,
    ``report.dcm`` marks the same lesions in a DICOM SR. The age is in the image's header. The last study's image is
    damaged on purpose.

    Args:
        folder: is made; what is in it stays.
        seed: of the phantoms.
    """
    folder.mkdir(parents=True, exist_ok=True)
    studies = [replace(study, age_from="patient_age") if study.age_from == "job" else study for study in STUDIES]
    for number, made in enumerate(make_studies(folder, seed, studies), start=1):
        study = folder / f"{number:02d}-{made.study.name.lower().replace(' ', '-')}"
        study.mkdir(exist_ok=True)
        image = (folder / made.job["images"]["paths"][0]).rename(study / IMAGE)
        fields = {name: made.job[name] for name in ("priority", "lesions")}
        (study / LESIONS).write_text(json.dumps(fields, indent=2) + "\n")
        if made.study.roi and not made.study.truncated and find_spec("highdicom") is not None:
            from worker.demo.structured_report import write_report

            write_report(study / REPORT, image, made.job["lesions"])
        yield study
    (folder / "demo").rmdir()
