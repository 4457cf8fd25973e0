"""A picture of one lesion's result, as a DICOM Secondary Capture: the frame with its region, and the scores beside it.

No name, number or identifier of anybody is drawn; whether the frame itself has some burned in, its own header says.
"""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DA, TM

from db.schema.vocabulary import QualityFinding
from worker import __version__
from worker.clinical.categories import Outcome
from worker.clinical.probability import said
from worker.clinical.restratify import UNCERTAIN
from worker.imaging.heat_map import HeatMap, heated
from worker.reporting.concepts import QUALITY_FINDINGS
from worker.reporting.conforming import conforms
from worker.reporting.dicom_header import MAKER, SERIES_DESCRIPTION, class_of, left_out, patient_and_study
from worker.reporting.identifiers import DEVICE, instance_uid, series_uid
from worker.reporting.lesion_content import ADVICE
from worker.reporting.result import LesionResult, ModelScore, StudyResult
from worker.reporting.source_study import Source, SourceImage

if TYPE_CHECKING:
    from PIL.Image import Image

KIND: Final = "sc"
SERIES_NUMBER: Final = 9902
PANEL: Final = 420
"""Pixels of width for the text."""

_TEXT_SIZE, _LINE, _MARGIN = 16, 22, 12
_WHITE, _GREY, _YELLOW, _BLACK = (255, 255, 255), (170, 170, 170), (255, 220, 0), (0, 0, 0)
_LETTERS = 46

Pixels = NDArray[np.uint8]
Heats = Mapping[str, HeatMap]
"""Where models looked, by their names."""

_NO_HEATS: Heats = {}


def secondary_capture(
    result: StudyResult, lesion: LesionResult, source: Source, frame: Pixels, heats: Heats = _NO_HEATS
) -> Dataset:
    """Make the picture of a lesion that was scored.

    Args:
        result: that the lesion is of.
        lesion: with a region, on an image of the source.
        source: of the study's files.
        frame: uint8, (rows, columns) grey or (rows, columns, 3) RGB.
        heats: where the models of its scores looked in the frame; each is drawn on a copy of it, in this order.

    Returns:
        A data set with File Meta Information: Secondary Capture Image Storage, RGB. Its UIDs are the same for the same
        result, and others with one model's heat, with both or without.
    """
    image = source.images[lesion.sop_instance_uid]
    picture = np.asarray(_drawn(result, lesion, frame, heats))
    dataset = patient_and_study(source.subject, result)
    _identify(dataset, result, lesion, source, " ".join(["grad-cam", *heats]) if heats else "plain")
    comments = left_out(source.subject, result)
    if comments:
        dataset.ImageComments = "\r\n".join(comments)
    _derive(dataset, lesion, image, heats)
    _set_pixels(dataset, picture)
    return dataset


def _identify(dataset: Dataset, result: StudyResult, lesion: LesionResult, source: Source, what: str) -> None:
    ending = result.endings[-1]
    moment = source.subject.local(ending.at)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = instance_uid(ending, KIND, lesion.ordinal, what)
    dataset.SeriesInstanceUID = series_uid(ending, KIND)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, lesion.ordinal
    dataset.SeriesDescription, dataset.Modality, dataset.ConversionType = SERIES_DESCRIPTION, "OT", "WSD"
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, DEVICE
    dataset.SecondaryCaptureDeviceManufacturer, dataset.SecondaryCaptureDeviceSoftwareVersions = MAKER, __version__
    for name in ("InstanceCreation", "Content", "Series"):
        setattr(dataset, f"{name}Date", DA(moment.date()))
        setattr(dataset, f"{name}Time", TM(moment.time()))
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.ContentDate, dataset.ContentTime
    if source.subject.timezone_offset:
        dataset.TimezoneOffsetFromUTC = source.subject.timezone_offset
    dataset.PatientOrientation = []
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128


def _derive(dataset: Dataset, lesion: LesionResult, image: SourceImage, heats: Heats) -> None:
    """Say what it was made from (PS3.3, C.7.6.1), and that only what the frame's header denies is denied here."""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Laterality = image.laterality
    heat = "".join(f", on a copy of it a Grad-CAM of {model}" for model in heats)
    dataset.DerivationDescription = f"A frame with the region that was scored{heat}; the scores beside it"
    dataset.BurnedInAnnotation = "NO" if image.burned_in == "NO" else "YES"
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    origin = Dataset()
    origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID = class_of(image), image.sop_instance_uid
    frame = image.frame_of(lesion)
    if frame is not None:
        origin.ReferencedFrameNumber = frame
    origin.PurposeOfReferenceCodeSequence = [purpose]
    dataset.SourceImageSequence = [origin]
    lossy, ratio, method = image.lossy
    if lossy == "01":
        dataset.LossyImageCompression = lossy
        ratios, methods = ratio.split("\\"), method.split("\\")
        if (
            ratio
            and method
            and all(conforms("DS", one) for one in ratios)
            and all(conforms("CS", one) for one in methods)
        ):
            dataset.LossyImageCompressionRatio, dataset.LossyImageCompressionMethod = ratios, methods


def _set_pixels(dataset: Dataset, picture: Pixels) -> None:
    rows, columns, samples = picture.shape
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, samples
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    content = picture.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)


def _drawn(result: StudyResult, lesion: LesionResult, frame: Pixels, heats: Heats) -> "Image":
    from PIL import Image

    colours = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
    copies = [colours, *(heated(colours, heat.values) for heat in heats.values())]
    lines = _lines(result, lesion, tuple(heats))
    height = max(frame.shape[0], len(lines) * _LINE + 2 * _MARGIN)
    canvas = Image.new("RGB", (len(copies) * frame.shape[1] + PANEL, height), _BLACK)
    for place, copy in enumerate(copies):
        canvas.paste(_outlined(copy, lesion), (place * frame.shape[1], 0))
    _write(canvas, len(copies) * frame.shape[1] + _MARGIN, lines)
    return canvas


def _outlined(frame: Pixels, lesion: LesionResult) -> "Image":
    """Draw the region's border around it, so that none of its pixels is hidden; at the edge of the frame, inside."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.ascontiguousarray(frame))
    if lesion.region is not None:
        x, y, width, height = lesion.region
        right, bottom = min(x + width, image.width - 1), min(y + height, image.height - 1)
        ImageDraw.Draw(image).rectangle((max(x - 1, 0), max(y - 1, 0), right, bottom), outline=_YELLOW)
    return image


def _write(canvas: "Image", left: int, lines: list[tuple[str, tuple[int, int, int]]]) -> None:
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT_SIZE)
    for place, (text, colour) in enumerate(lines):
        draw.text((left, _MARGIN + place * _LINE), text, fill=colour, font=font)


def _lines(
    result: StudyResult, lesion: LesionResult, heats: Sequence[str] = ()
) -> list[tuple[str, tuple[int, int, int]]]:
    """Return what is written, with its colour: no lesion's name, since a sender may have put anything into it."""
    lines: list[tuple[str, Any]] = [
        (f"Lesion {lesion.ordinal} of {len(result.lesions)}", _WHITE),
        (f"BI-RADS by the radiologist: {lesion.birads}", _WHITE),
        (f"Recommended by DLR: {_recommended(lesion)}", _YELLOW),
        *((line, _YELLOW) for line in wrap(UNCERTAIN, _LETTERS) if lesion.uncertain),
        ("", _WHITE),
    ]
    for score in lesion.scores:
        lines += [(line, _WHITE) for line in _score_lines(score)]
    lines += [(QUALITY_FINDINGS[QualityFinding(reason)].meaning, _YELLOW) for reason in lesion.gate]
    lines.append((f"Age used: {lesion.age_years:.1f} years; rule {lesion.rule_version}", _GREY))
    for place, model in enumerate(heats, start=2):
        positive = next(score.positive_class for score in lesion.scores if score.model == model)
        lines.append((f"Picture {place}, in red to yellow: what weighed", _GREY))
        lines.append((f"  for {positive.replace('_', ' ')} in {model}, yellow the most", _GREY))
    lines.append(("", _WHITE))
    for text in (ADVICE, *(f"Notice: {notice}" for notice in result.notices)):
        lines += [(line, _YELLOW) for line in wrap(text, _LETTERS)]
    return lines


def _recommended(lesion: LesionResult) -> str:
    if lesion.outcome == Outcome.NOT_APPLICABLE:
        return "nothing, since it is not 4A"
    return f"{lesion.recommended} ({lesion.outcome})"


def _score_lines(score: ModelScore) -> list[str]:
    positive, negative = score.positive_class.replace("_", " "), score.negative_class.replace("_", " ")
    certain = score.conformal_set in (None, (score.predicted_class,))
    return [
        f"{score.model} {score.version}: {score.predicted_class.replace('_', ' ')}{'' if certain else ', not certain'}",
        f"  {positive} {said(score.positive_probability, score.threshold)}, from {score.threshold:.4g} on",
        f"  {negative} {said(score.negative_probability)}",
    ]
