"""Which breast an image shows and on which day it was made, as its header says; never for a log."""

from typing import Final

from worker.imaging.header import Header, date_in
from worker.study import Examination

LATERALITIES: Final = {"L": "left", "R": "right", "B": "both"}
"""Defined terms of Image Laterality (PS3.3, C.7.6.1.1); ``U``, unpaired, is no side."""


def examination_of(header: Header) -> Examination:
    """Read Image Laterality (0020,0062) and Study Date (0008,0020)."""
    return Examination(LATERALITIES.get(header.text("ImageLaterality")), date_in(header.text("StudyDate")))
