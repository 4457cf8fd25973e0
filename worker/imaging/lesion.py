"""One lesion of a study: its file, age, region and frame, or the one reason why not."""

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.age import resolve_age
from worker.imaging.dicom_file import Header, open_dicom
from worker.imaging.layout import frame_index, pixel_layout
from worker.imaging.pixels import decode_frame
from worker.imaging.reading import Limits, StudyFiles
from worker.imaging.regions import resolve_region, ultrasound_regions
from worker.study import Age, Lesion, LesionImage, Roi

_MODALITIES = ("US", "OT", "")


def load_lesion(files: StudyFiles, lesion: Lesion, age_years: float | None, limits: Limits) -> LesionImage:
    """Load one lesion. Everything that the header can tell is checked before a pixel is decoded.

    Args:
        files: of the lesion's study.
        lesion: as the job has it.
        age_years: the job's, if it gives one.
        limits: the largest file and the largest frame.

    Returns:
        The decoded frame with the lesion's region and age.

    Raises:
        LesionRefused: this lesion can not be scored; any code of a file, of pixels, of a region or of an age.
        Unavailable: ``storage_unavailable``; the same lesion can be tried again.
    """
    with open_dicom(files.path_of(lesion.sop_instance_uid), limits) as file:
        if file.header.text("SOPInstanceUID") != lesion.sop_instance_uid:
            raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND, "the file changed after the study was indexed")
        # OT is what secondary captures of ultrasound carry. A Modality that is missing says nothing against it.
        if file.header.text("Modality") not in _MODALITIES:
            raise LesionRefused(Code.MODALITY_NOT_ULTRASOUND)
        layout = pixel_layout(file, limits)
        index = frame_index(layout, lesion.frame)
        age = _age(file.header, age_years)
        region, source = resolve_region(
            lesion.roi,
            rows=layout.rows,
            columns=layout.columns,
            ultrasound_regions=ultrasound_regions(file.header),
        )
        frame = decode_frame(file, layout, index)
    if _uniform(frame, region):
        raise LesionRefused(Code.PIXELS_UNIFORM)
    return LesionImage(lesion.lesion_id, frame, region, source, age)


def _age(header: Header, age_years: float | None) -> Age:
    patient_age, birth_date, study_date = map(header.text, ("PatientAge", "PatientBirthDate", "StudyDate"))
    return resolve_age(age_years, patient_age, birth_date, study_date)


def _uniform(frame: NDArray[np.uint8], region: Roi) -> bool:
    pixels = frame[region.y : region.y + region.height, region.x : region.x + region.width]
    return bool((pixels == pixels[0, 0]).all())
