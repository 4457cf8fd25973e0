"""Every ultrasound file of the PyPI packages pydicom and pydicom-data, and what is right for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from warnings import catch_warnings, simplefilter

from pydicom import dcmread
from pydicom.dataset import FileDataset

from db.schema.vocabulary import RegionSource
from worker.errors import Code

JOB_AGE_YEARS = 47.0
"""The age of every job. No file of the table has a Patient's Age or a birth date, so it stands uncontradicted."""

_B_MODE = RegionSource.ULTRASOUND_REGION
_WHOLE = RegionSource.WHOLE_IMAGE
_FOLDERS = {"pydicom": "data", "data_store": "data"}


@dataclass(frozen=True, slots=True)
class UltrasoundFile:
    """One file: its name, what submitting it (frame 1, no ROI, the job's age) has to give, and the region's source."""

    name: str
    expected: Literal["scored"] | Code
    region: RegionSource | None
    rows: int
    columns: int
    frames: int
    note: str


ULTRASOUND_FILES = (
    UltrasoundFile("ExplVR_BigEnd.dcm", "scored", _WHOLE, 60, 80, 1, "explicit big endian, RGB, ACR-NEMA date"),
    UltrasoundFile("JPGLosslessP14SV1_1s_1f_8b.dcm", "scored", _B_MODE, 768, 1024, 1, "JPEG lossless SV1, windowed"),
    UltrasoundFile("OBXXXX1A.dcm", "scored", _B_MODE, 600, 800, 1, "palette; B-mode region one column too wide"),
    UltrasoundFile("OBXXXX1A_2frame.dcm", "scored", _B_MODE, 600, 800, 2, "palette"),
    UltrasoundFile("OBXXXX1A_expb.dcm", "scored", _B_MODE, 600, 800, 1, "palette, big endian OW"),
    UltrasoundFile("OBXXXX1A_expb_2frame.dcm", "scored", _B_MODE, 600, 800, 2, "palette, big endian OW"),
    UltrasoundFile("OBXXXX1A_rle.dcm", "scored", _B_MODE, 600, 800, 1, "palette, RLE"),
    UltrasoundFile("OBXXXX1A_rle_2frame.dcm", "scored", _B_MODE, 600, 800, 2, "palette, RLE"),
    UltrasoundFile("US1_J2KI.dcm", "scored", _WHOLE, 480, 640, 1, "JPEG 2000, YBR_ICT"),
    UltrasoundFile("US1_J2KR.dcm", "scored", _WHOLE, 480, 640, 1, "JPEG 2000 lossless, YBR_RCT"),
    UltrasoundFile("US1_UNCI.dcm", "scored", _WHOLE, 480, 640, 1, "RGB"),
    UltrasoundFile("US1_UNCR.dcm", "scored", _WHOLE, 480, 640, 1, "RGB"),
    UltrasoundFile("color-pl.dcm", "scored", _WHOLE, 120, 256, 1, "RGB by plane, ACR-NEMA date"),
    UltrasoundFile("color-px.dcm", "scored", _WHOLE, 120, 256, 1, "RGB by pixel, ACR-NEMA date"),
    UltrasoundFile("color3d_jpeg_baseline.dcm", "scored", _B_MODE, 480, 640, 120, "JPEG, YBR_FULL_422"),
    UltrasoundFile("examples_jpeg2k.dcm", "scored", _WHOLE, 480, 640, 1, "JPEG 2000 lossless, YBR_RCT"),
    UltrasoundFile("examples_palette.dcm", "scored", _B_MODE, 350, 800, 1, "palette; B-mode region cut by the frame"),
    UltrasoundFile("examples_rgb_color.dcm", "scored", _WHOLE, 240, 320, 1, "RGB"),
    UltrasoundFile("examples_ybr_color.dcm", "scored", _B_MODE, 240, 320, 30, "JPEG; B-mode region cut by the frame"),
    UltrasoundFile("gdcm-US-ALOKA-16.dcm", "scored", _B_MODE, 480, 640, 1, "16-bit segmented palette, implicit VR"),
    UltrasoundFile("gdcm-US-ALOKA-16_big.dcm", "scored", _B_MODE, 480, 640, 1, "the same, big endian"),
)


def package_files() -> Iterator[Path]:
    """Yield every file of the two packages' data folders."""
    for package, folder in _FOLDERS.items():
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            yield from sorted(
                path for path in Path(spec.submodule_search_locations[0], folder).rglob("*") if path.is_file()
            )


def locate(name: str) -> Path:
    """Return where a file of the table is installed."""
    return next(path for path in package_files() if path.name == name)


def is_ultrasound(path: Path) -> bool:
    """Tell by Modality, by SOP Class (of the data set or of the File Meta Information), or by the name."""
    with catch_warnings():
        simplefilter("ignore")
        try:
            header: FileDataset = dcmread(path, force=True, stop_before_pixels=True)
            classes = [header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID")]
            modality = header.get("Modality")
        except Exception:  # noqa: BLE001  most files of the folders are not meant to be read at all
            return False
    by_class = any("Ultrasound" in str(getattr(uid, "name", "")) for uid in classes)
    by_name = path.suffix == ".dcm" and ("US" in path.stem.replace("-", "_").split("_") or path.stem.startswith("US"))
    return modality in ("US", "IVUS") or by_class or by_name
