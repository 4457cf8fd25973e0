"""Phantom images as valid DICOM files: ultrasound image storage, single- and multi-frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import set_pixel_data
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from worker.study import Roi

_COMPRESSED_BY_PYDICOM = (RLELossless, JPEG2000Lossless)
_B_MODE = {"RegionSpatialFormat": 1, "RegionDataType": 1, "RegionFlags": 0}
_CENTIMETRES = 3
_CM_PER_PIXEL = 0.01


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its patient and study."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_date: str
    birth_date: str = ""
    patient_age: str = ""


def write_ultrasound(
    path: Path, header: Header, frames: Sequence[NDArray[np.uint8]], transfer_syntax: UID, b_mode: Roi | None = None
) -> str:
    """Write frames as one DICOM file (PS3.3, A.6 and A.7).

    Args:
        path: where; its folder has to be there.
        header: patient and study.
        frames: uint8, all (rows, columns) grey or (rows, columns, 3) RGB.
        transfer_syntax: the UID of one that pydicom or Pillow encodes.
        b_mode: the B-mode region, for Sequence of Ultrasound Regions (PS3.3, C.8.5.5).

    Returns:
        The file's SOP Instance UID.
    """
    multi = len(frames) > 1
    sop_class = UltrasoundMultiFrameImageStorage if multi else UltrasoundImageStorage
    dataset = _dataset(header, sop_class)
    if b_mode is not None:
        dataset.SequenceOfUltrasoundRegions = [_region(b_mode)]
    _set_pixels(dataset, np.stack(frames) if multi else frames[0], transfer_syntax)
    if multi:
        dataset.FrameTime = "40"
        dataset.FrameIncrementPointer = 0x00181063
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def _dataset(header: Header, sop_class: UID) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = header.study_instance_uid, generate_uid()
    dataset.PatientName, dataset.PatientID = header.patient_name, header.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = header.birth_date, "F"
    if header.patient_age:
        dataset.PatientAge = header.patient_age
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = header.accession_number, "1", ""
    dataset.StudyDate, dataset.StudyTime = header.study_date, "101500"
    dataset.Modality, dataset.Manufacturer = "US", "Phantom"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Laterality = 1, 1, "L"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "BREAST"]
    dataset.LossyImageCompression = "00"
    return dataset


def _region(roi: Roi) -> Dataset:
    region = Dataset()
    for name, value in _B_MODE.items():
        setattr(region, name, value)
    region.RegionLocationMinX0, region.RegionLocationMinY0 = roi.x, roi.y
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = roi.x + roi.width - 1, roi.y + roi.height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = _CENTIMETRES
    region.PhysicalDeltaX = region.PhysicalDeltaY = _CM_PER_PIXEL
    return region


def _set_pixels(dataset: Dataset, pixels: NDArray[np.uint8], transfer_syntax: UID) -> None:
    photometric = "RGB" if pixels.shape[-1] == 3 else "MONOCHROME2"
    set_pixel_data(dataset, pixels, photometric, 8)
    if transfer_syntax == JPEGBaseline8Bit:
        _set_jpeg(dataset, pixels)
    elif transfer_syntax in _COMPRESSED_BY_PYDICOM:
        dataset.compress(transfer_syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        if photometric == "RGB":
            dataset.PlanarConfiguration = 0


def _set_jpeg(dataset: Dataset, pixels: NDArray[np.uint8]) -> None:
    colour = dataset.SamplesPerPixel == 3
    frames = pixels if "NumberOfFrames" in dataset else pixels[None]
    encoded = []
    for frame in frames:
        file = BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95, subsampling="4:2:2" if colour else "4:4:4")
        encoded.append(file.getvalue())
    dataset.PixelData = encapsulate(encoded)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    if colour:
        dataset.PhotometricInterpretation = "YBR_FULL_422"
