"""What a server says that it has of a study."""

import re
from dataclasses import dataclass
from typing import Final

from worker.imaging.storage_classes import IMAGE_CLASSES, MARKINGS_BY_MODALITY

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID: Final = 64
_MARKINGS: Final = frozenset(sop_class for classes in MARKINGS_BY_MODALITY.values() for sop_class in classes)


@dataclass(frozen=True, slots=True)
class Found:
    """An instance of a study that a server has.

    Attributes:
        sop_class_uid: empty where the server does not say it, which it need not (PS3.4, table C.6-4).
        modality: of its series; likewise.
    """

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str = ""
    modality: str = ""

    @property
    def is_marking(self) -> bool:
        """Whether it may say where lesions are."""
        return self.sop_class_uid in _MARKINGS if self.sop_class_uid else self.modality in MARKINGS_BY_MODALITY

    @property
    def sop_classes(self) -> tuple[str, ...]:
        """Those of which it may be."""
        return (self.sop_class_uid,) if self.sop_class_uid else MARKINGS_BY_MODALITY.get(self.modality, IMAGE_CLASSES)


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID (PS3.5, section 9), which may then stand in an address."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None
