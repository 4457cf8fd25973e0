"""The pictures of a lesion, made anew from its DICOM file each time: nothing is kept."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from db.reads.worklist_page_records import LesionImageRow
from worker.errors import LesionRefused
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.picture import crop_picture, frame_picture
from worker.study import MarkedImage, Roi


class Kind(StrEnum):
    """``crop``: the lesion with what is around it. ``frame``: the whole frame with a line around the lesion."""

    CROP = "crop"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class Pictures:
    """Reads files of the storage in decoder processes, as a worker does."""

    storage_root: Path
    decoders: DecoderPool

    def png(self, image: LesionImageRow, kind: Kind) -> bytes:
        """Return a picture of the region that was scored, as PNG.

        Raises:
            StudyRefused, LesionRefused: the file is not what it was when it was scored; any code of a file or pixels.
            Unavailable: the storage is away, or no decoder can be started.
        """
        region = Roi(image.region_x, image.region_y, image.region_width, image.region_height)
        marked = MarkedImage(image.sop_instance_uid, image.frame, region)
        files = self.decoders.index(self.storage_root, image.paths, image.study_instance_uid)
        [loaded] = self.decoders.load(files, [marked], image.age_years)
        if isinstance(loaded, LesionRefused):
            raise loaded
        make = crop_picture if kind is Kind.CROP else frame_picture
        return make(loaded.frame, loaded.region)
