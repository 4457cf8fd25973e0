"""Ultrasound files made from arrays, in every transfer syntax that can be encoded here."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jpeg_ls import encode_buffer
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from worker.image_access import Limits
from worker.study import MarkedImage, Roi

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SOP_UID = "1.2.826.0.1.3680043.8.498.1.1"
LIMITS = Limits(max_file_bytes=64 << 20, max_frame_pixels=4_000_000)
COMPRESSED_HERE = (RLELossless, JPEG2000Lossless)


def picture(rows: int = 48, columns: int = 64, *, colour: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth picture without symmetry, so that a swapped axis or plane shows."""
    noise = np.random.default_rng(seed).integers(0, 256, (rows // 8 + 1, columns // 8 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((columns, rows), Image.Resampling.BICUBIC)
    return np.array(image if colour else image.convert("L"))


def marked_image(**changes: Any) -> MarkedImage:
    values: dict[str, Any] = {"sop_instance_uid": SOP_UID, "frame": 1, "roi": None}
    return MarkedImage(**(values | changes))


def region(roi: Roi, *, spatial_format: int = 1, data_type: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial_format, data_type, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = roi.x, roi.y
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = roi.x + roi.width - 1, roi.y + roi.height - 1
    return item


def dataset(pixels: NDArray[Any], transfer_syntax: str = ExplicitVRLittleEndian, **elements: Any) -> FileDataset:
    """A data set that holds (rows, columns[, 3]), or (frames, rows, columns[, 3]) with ``NumberOfFrames``."""
    colour = pixels.shape[-1] == 3
    multi = pixels.ndim - colour == 3
    big_endian = transfer_syntax == ExplicitVRBigEndian
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage if multi else UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", SOP_UID)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_little_endian=not big_endian)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.Modality, made.PatientID, made.PatientAge = STUDY_UID, "US", "P1", "047Y"
    made.Rows, made.Columns = pixels.shape[1:3] if multi else pixels.shape[:2]
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def write(path: Path, pixels: NDArray[Any], transfer_syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Write a file; pydicom does the compression, where it can."""
    if transfer_syntax in COMPRESSED_HERE:
        made = dataset(pixels, **elements)
        made.compress(transfer_syntax, generate_instance_uid=False)
    else:
        made = dataset(pixels, transfer_syntax, **elements)
    return save(path, made)


def write_frames(
    path: Path, frames: Sequence[bytes], like: NDArray[Any], transfer_syntax: str, **elements: Any
) -> Path:
    """Write codestreams as encapsulated Pixel Data, with the header of an array."""
    made = dataset(like, transfer_syntax, **elements)
    made.PixelData = encapsulate(list(frames), has_bot=False)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return save(path, made)


def save(path: Path, made: FileDataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def write_texts(path: Path, declared: str | None, **texts: bytes) -> Path:
    """Write an image whose texts have these bytes, and whose Specific Character Set says what it likes."""
    made = dataset(picture())
    stood_in: dict[bytes, bytes] = {}
    for keyword, content in texts.items():
        padded = content + b" " * (len(content) % 2)
        setattr(made, keyword, "?" * len(padded))
        element = _start_of(keyword) + len(padded).to_bytes(2, "little")
        stood_in[element + b"?" * len(padded)] = element + padded
    data = save(path, made).read_bytes()
    for placeholder, element in stood_in.items():
        assert data.count(placeholder) == 1
        data = data.replace(placeholder, element)
    if declared is not None:
        padded = declared.encode("latin-1") + b" " * (len(declared) % 2)
        start = 144 + int.from_bytes(data[140:144], "little")  # behind the File Meta Information
        element = _start_of("SpecificCharacterSet") + len(padded).to_bytes(2, "little") + padded
        data = data[:start] + element + data[start:]
    path.write_bytes(data)
    return path


def _start_of(keyword: str) -> bytes:
    tag = Tag(keyword)
    return tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + dictionary_VR(keyword).encode()


def write_deflated(path: Path, made: FileDataset, extra: bytes = b"") -> Path:
    """Deflate a data set by hand, and more bytes after it."""
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    body, head = DicomBytesIO(), DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = True, False
    head.is_little_endian, head.is_implicit_VR = True, False
    write_dataset(body, made)
    write_dataset(head, made.file_meta)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflater.compress(body.getvalue()) + deflater.compress(extra) + deflater.flush()
    path.write_bytes(b"\0" * 128 + b"DICM" + head.getvalue() + deflated)
    return path


def jpeg(frame: NDArray[np.uint8], **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(frame).save(file, "JPEG", **({"quality": 95} | options))
    return file.getvalue()


def jpeg_without_colour(stream: bytes) -> bytes:
    """Take out of a JPEG what tells its colour space: the JFIF and Adobe markers, and components called R, G and B."""
    kept, at = stream[:2], 2
    while True:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        body = stream[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xDA):
            body = body.translate(bytes.maketrans(b"RGB", b"\1\2\3")) if b"R" in body else body
        if marker not in (0xE0, 0xEE):
            kept += segment(marker, body)
        at += 2 + length
        if marker == 0xDA:
            return kept + stream[at:]


def jpeg_lossless(frame: NDArray[Any], precision: int = 8, ids: bytes = b"\1\2\3", marks: bytes = b"") -> bytes:
    """Encode as JPEG lossless, process 14, selection value 1 (ISO/IEC 10918-1, annex H), without any library.

    Args:
        frame: (rows, columns), or (rows, columns, 3), of non-negative values.
        precision: bits of a sample.
        ids: of the components.
        marks: marker segments before all others.
    """
    values = frame.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = values[:, :-1], values[:-1, 0], 1 << precision - 1
    bits = "".join(_category_and_bits(int(difference)) for difference in (values - predicted).ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns, *_ = frame.shape
    components = ids[: frame.size // (rows * columns)]
    header = b"\xff\xd8" + marks + segment(0xC4, b"\0" + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17)))
    specified = b"".join(bytes([name, 0x11, 0]) for name in components)
    header += segment(0xC3, struct.pack(">BHHB", precision, rows, columns, len(components)) + specified)
    scanned = b"".join(bytes([name, 0]) for name in components)
    return header + segment(0xDA, bytes([len(components)]) + scanned + bytes([1, 0, 0])) + scan + b"\xff\xd9"


def jpeg_2000(frame: NDArray[Any], precision: int = 8, *, transform: bool = False, file_of: str | None = None) -> bytes:
    """Encode as lossless JPEG 2000; ``file_of``: in a JP2 file that says that it is ``RGB``, or ``YBR``."""
    # OpenJPEG transforms what it is told to be sRGB (1), and not what is sYCC (3).
    space = 0 if frame.ndim == 2 else 3 if file_of == "YBR" else 1
    return bytes(
        encode_array(
            frame,
            bits_stored=precision,
            photometric_interpretation=space,
            use_mct=transform,
            codec_format=bool(file_of),
        )
    )


def jpeg_ls(frame: NDArray[Any], marks: bytes = b"") -> bytes:
    """Encode as lossless JPEG-LS."""
    rows, columns, *colours = frame.shape
    order, bits = (2 if colours else 0), 8 * frame.itemsize
    stream = bytes(encode_buffer(frame.tobytes(), rows, columns, *colours or [1], bits, interleave_mode=order))
    return stream[:2] + marks + stream[2:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _category_and_bits(difference: int) -> str:
    difference = (difference + 32767) % 65536 - 32767
    size = abs(difference).bit_length()
    value = difference if difference >= 0 else difference + (1 << size) - 1
    return f"{size:05b}" + (f"{value:0{size}b}" if 0 < size < 16 else "")
