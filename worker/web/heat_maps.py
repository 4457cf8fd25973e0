"""Heat maps that ``dlr explain`` has put into a folder, shown with the lesions that they are of.

The page makes none itself: that takes the models and PyTorch, which it has not.
"""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.reporting.explanation import picture_name

MODELS: Final = (BM_MODEL, LH_MODEL)
LARGEST_BYTES: Final = 8 << 20

_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """Reads the folder.

    Attributes:
        folder: ``DLR_WEB_HEAT_MAPS``; ``None``: there are none.
    """

    folder: Path | None

    def models(self, study_id: UUID, ordinal: int, ended: datetime | None, image: int | None = None) -> tuple[str, ...]:
        """Return the models of which an image of a lesion has a heat map; `png` says what each value is."""
        return tuple(
            model for model in MODELS if self._read(study_id, ordinal, model, ended, image, len(_PNG)) is not None
        )

    def png(
        self, study_id: UUID, ordinal: int, model: str, ended: datetime | None, image: int | None = None
    ) -> bytes | None:
        """Return a heat map.

        Args:
            study_id: of the study.
            ordinal: of the lesion, from 1.
            model: ``DLR_LH`` or ``DLR_BM``.
            ended: when the study ended; an older picture is of an earlier result, and is not shown.
            image: its number, as the picture's name has it (`number_in_name`).

        Returns:
            A PNG; ``None`` if there is no such file, or it is a link, too large, too old or no PNG.
        """
        return self._read(study_id, ordinal, model, ended, image, LARGEST_BYTES)

    def _read(
        self, study_id: UUID, ordinal: int, model: str, ended: datetime | None, image: int | None, size: int
    ) -> bytes | None:
        if self.folder is None or ended is None or model not in MODELS:
            return None
        try:
            # Not waiting for whoever writes into a pipe of that name.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(self.folder / picture_name(study_id, ordinal, model, image), flags)
        except OSError:
            return None
        with os.fdopen(file, "rb") as opened:
            about = os.fstat(opened.fileno())
            is_of_result = datetime.fromtimestamp(about.st_mtime, UTC) >= ended
            if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_BYTES or not is_of_result:
                return None
            png = opened.read(size)
        return png if png.startswith(_PNG) else None
