"""A picture of one lesion's result, as a DICOM Secondary Capture."""

from collections.abc import Sequence
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DA, TM

from worker import __version__
from worker.reporting.conforming import conforms
from worker.reporting.dicom_header import MAKER, SERIES_DESCRIPTION, class_of, left_out, patient_and_study
from worker.reporting.identifiers import DEVICE, instance_uid, series_uid
from worker.reporting.lesion_picture import NO_HEATS, Heats, Pixels, Shown, drawn, drawn_side_by_side
from worker.reporting.result import LesionResult, StudyResult
from worker.reporting.source_study import Marked, Source, SourceImage

KIND: Final = "sc"
SERIES_NUMBER: Final = 9902


def secondary_capture(
    result: StudyResult, lesion: LesionResult, source: Source, frame: Pixels, heats: Heats = NO_HEATS
) -> Dataset:
    """Make the picture of a lesion with one image, which was scored.

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
    what = " ".join(["grad-cam", *heats]) if heats else "plain"
    heat = "".join(f", on a copy of it a Grad-CAM of {model}" for model in heats)
    dataset = _dataset(result, lesion, source, what)
    _derive(dataset, [lesion], source)
    dataset.DerivationDescription = f"A frame with the region that was scored{heat}; the scores beside it"
    _set_pixels(dataset, drawn(result, lesion, frame, heats))
    return dataset


def secondary_capture_of_images(
    result: StudyResult, lesion: LesionResult, source: Source, shown: Sequence[Shown]
) -> Dataset:
    """Make the picture of a lesion with several images, of which some were scored: all of them, side by side.

    Args:
        result: that the lesion is of.
        lesion: with scores.
        source: of the study's files.
        shown: each of its images, in their order; those with a frame are on images of the source.

    Returns:
        As of `secondary_capture`.
    """
    has_heats = any(one.heats for one in shown)
    what = " ".join(["grad-cam", *(",".join(one.heats) or "-" for one in shown)]) if has_heats else "plain"
    dataset = _dataset(result, lesion, source, what)
    _derive(dataset, [one.image for one in shown if one.frame is not None], source)
    heat = ", on copies of it Grad-CAMs of the models" if has_heats else ""
    dataset.DerivationDescription = (
        f"Each frame of the lesion with the region that was scored{heat}; its scores below, and those of all above"
    )
    _set_pixels(dataset, drawn_side_by_side(result, lesion, shown))
    return dataset


def _dataset(result: StudyResult, lesion: LesionResult, source: Source, what: str) -> Dataset:
    dataset = patient_and_study(source.subject, result)
    _identify(dataset, result, lesion, source, what)
    comments = left_out(source.subject, result)
    if comments:
        dataset.ImageComments = "\r\n".join(comments)
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


def _derive(dataset: Dataset, shown: Sequence[Marked], source: Source) -> None:
    """Say what it was made from (PS3.3, C.7.6.1), and that only what each frame's header denies is denied here."""
    images = [source.images[one.sop_instance_uid] for one in shown]
    sides = {image.laterality for image in images}
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Laterality = sides.pop() if len(sides) == 1 else ""
    dataset.BurnedInAnnotation = "NO" if all(image.burned_in == "NO" for image in images) else "YES"
    dataset.SourceImageSequence = [_origin(one, image) for one, image in zip(shown, images, strict=True)]
    lossy = {image.lossy for image in images if image.lossy[0] == "01"}
    if lossy:
        dataset.LossyImageCompression = "01"
    if len(lossy) == 1:
        _compressed(dataset, *lossy.pop()[1:])


def _origin(marked: Marked, image: SourceImage) -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    origin = Dataset()
    origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID = class_of(image), image.sop_instance_uid
    frame = image.frame_of(marked)
    if frame is not None:
        origin.ReferencedFrameNumber = frame
    origin.PurposeOfReferenceCodeSequence = [purpose]
    return origin


def _compressed(dataset: Dataset, ratio: str, method: str) -> None:
    """Say how images were compressed, where all that were were so in one way."""
    ratios, methods = ratio.split("\\"), method.split("\\")
    if ratio and method and all(conforms("DS", one) for one in ratios) and all(conforms("CS", one) for one in methods):
        dataset.LossyImageCompressionRatio, dataset.LossyImageCompressionMethod = ratios, methods


def _set_pixels(dataset: Dataset, picture: Pixels) -> None:
    rows, columns, samples = picture.shape
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, samples
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    content = picture.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
