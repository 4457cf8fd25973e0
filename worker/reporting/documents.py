"""The documents of a result, by kind: what `dlr export` writes, and what may be sent."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING

from worker.errors import Code, DlrError, Refused, SetupRefused, StudyRefused
from worker.logs import story_of
from worker.reporting.conforming import require_conforming
from worker.reporting.encapsulated_pdf import encapsulated_pdf
from worker.reporting.fhir import fhir_bundle
from worker.reporting.hl7 import hl7_message
from worker.reporting.lesion_content import has_several_images
from worker.reporting.result import ImageResult, LesionResult, ModelScore, StudyResult
from worker.reporting.single_image import with_one_image
from worker.reporting.source_study import Source, SourceImage
from worker.reporting.structured_report import structured_report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from worker.imaging.heat_map import HeatMap
    from worker.reporting.lesion_picture import Shown

    Frames = Callable[[SourceImage, LesionResult], NDArray[np.uint8]]
    """Decodes the frame that a lesion is on: uint8, (rows, columns) grey or (rows, columns, 3) RGB."""

    Look = Callable[[LesionResult, ModelScore, NDArray[np.uint8]], HeatMap]
    """Says where in a frame the model of a lesion's score looked; where that cannot be said, it raises a refusal."""


logger = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a document is."""

    SR = "sr"
    SC = "sc"
    HL7 = "hl7"
    FHIR = "fhir"
    PDF = "pdf"


SUFFIXES = {Kind.SR: ".sr.dcm", Kind.SC: ".sc.dcm", Kind.HL7: ".hl7", Kind.FHIR: ".fhir.json", Kind.PDF: ".pdf.dcm"}
TEXTS = (Kind.HL7, Kind.FHIR)
"""Kinds that are text, one document a study."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document: a file's name without identifiers, and its bytes; text is UTF-8."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Camera:
    """What pictures are made with: who decodes frames, and who says where models looked, if anybody."""

    frames: "Frames"
    look: "Look | None" = None


def documents_of(kind: Kind, result: StudyResult, source: Source, camera: Camera | None = None) -> list[Document]:
    """Make a result's documents of one kind: one, or for ``sc`` one for each lesion that was scored.

    Args:
        kind: which.
        result: ended, of a study with a Study Instance UID.
        source: of its files.
        camera: needed for ``sc`` alone.

    Raises:
        StudyRefused: ``result_missing``, for pictures of a study of which nothing was scored; ``document_refused``.
        LesionRefused: any code of a file or of pixels, for pictures.
        SetupRefused: ``setting_invalid``; an extra is not installed.
        Unavailable: ``storage_unavailable``.
        ValueError: pictures without a camera.
    """
    if kind is Kind.SC and camera is None:
        raise ValueError("pictures are made with a camera")
    try:
        contents = list(_contents(kind, result, source, camera))
    except DlrError:
        raise
    except Exception as error:  # noqa: BLE001  libraries that do not like a value of the header quote it
        logger.error("a document of kind %s could not be created:\n%s", kind, story_of(error))
        raise StudyRefused(Code.DOCUMENT_REFUSED) from None
    if not contents:
        raise StudyRefused(Code.RESULT_MISSING, "no lesion of the study was scored, so there is nothing to draw")
    return [Document(f"{result.study_id}{part}{SUFFIXES[kind]}", content) for part, content in contents]


def _contents(kind: Kind, result: StudyResult, source: Source, camera: Camera | None) -> Iterator[tuple[str, bytes]]:
    if kind is Kind.SR:
        yield "", _file(structured_report(result, source))
    elif kind is Kind.HL7:
        yield "", hl7_message(result, source).encode()
    elif kind is Kind.FHIR:
        yield "", fhir_bundle(result, source).encode()
    elif kind is Kind.PDF:
        yield "", _file(encapsulated_pdf(result, source))
    elif camera is not None:
        yield from _pictures(result, source, camera)


def _pictures(result: StudyResult, source: Source, camera: Camera) -> Iterator[tuple[str, bytes]]:
    try:
        from worker.reporting.secondary_capture import secondary_capture, secondary_capture_of_images
    except ImportError:
        reason = "pictures need the extra: pip install 'dlr-worker[worker]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    for lesion in result.lesions:
        if not lesion.scores:
            continue
        if has_several_images(lesion):
            shown = [_shown(lesion, image, source, camera) for image in lesion.images]
            picture = secondary_capture_of_images(result, lesion, source, shown)
        else:
            frame, heats = _seen(lesion, source, camera, f"the image of lesion {lesion.ordinal}")
            picture = secondary_capture(result, lesion, source, frame, heats)
        yield f".{lesion.ordinal}", _file(picture)


def _shown(lesion: LesionResult, image: ImageResult, source: Source, camera: Camera) -> "Shown":
    from worker.reporting.lesion_picture import Shown

    if image.error_code is not None:
        return Shown(image)
    which = f"image {image.ordinal} of lesion {lesion.ordinal}"
    return Shown(image, *_seen(with_one_image(lesion, image), source, camera, which))


def _seen(
    lesion: LesionResult, source: Source, camera: Camera, which: str
) -> "tuple[NDArray[np.uint8], dict[str, HeatMap]]":
    """Return the frame of a lesion with one image, and where the models looked in it."""
    image = source.images.get(lesion.sop_instance_uid)
    if image is None:
        raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND, f"{which} is gone")
    frame = camera.frames(image, lesion)
    return frame, {} if camera.look is None else _heats(camera.look, lesion, frame)


def _heats(look: "Look", lesion: LesionResult, frame: "NDArray[np.uint8]") -> "dict[str, HeatMap]":
    """Where the models of a lesion looked, by name; without those of which that cannot be said (any more)."""
    heats = {}
    for score in lesion.scores:
        with suppress(Refused):
            heats[score.model] = look(lesion, score, frame)
    return heats


def _file(dataset: "Dataset") -> bytes:
    require_conforming(dataset)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
