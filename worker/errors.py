"""Every way in which work is refused, as one small tree; the codes are `worker.error_codes`.

    DlrError
    ├── Refused            a retry cannot fix it: the study or the lesion ends here, with its code
    │   ├── JobRefused         the message itself
    │   ├── StudyRefused       the study's files
    │   ├── LesionRefused      one lesion, or one image of it; its neighbours go on
    │   │   └── ImagesRefused  a lesion of which too few images are left
    │   ├── ModelRefused       a model's card or weights
    │   └── SetupRefused       this installation: a setting, a server, a schema
    └── Unavailable        a retry can fix it: a server or a disk that is away

An exception prints its code alone: whatever logs it or sends it to Flower cannot leak an identifier. The sentence
for a person is in ``reason`` and is stored in the database.
"""

from collections.abc import Mapping

from worker.error_codes import Code
from worker.error_meanings import MEANINGS

__all__ = [
    "MEANINGS",
    "Code",
    "DlrError",
    "ImagesRefused",
    "JobRefused",
    "LesionRefused",
    "ModelRefused",
    "Refused",
    "SetupRefused",
    "StudyRefused",
    "Unavailable",
]


class DlrError(Exception):
    """A failure with a stable code. ``str()`` is the code alone; ``reason`` is the sentence for a person."""

    def __init__(self, code: Code, reason: str | None = None) -> None:
        super().__init__(code.value)
        self.code = code
        self.reason = reason or MEANINGS[code]


class Refused(DlrError):
    """A retry cannot fix it."""


class JobRefused(Refused):
    """The message cannot be a job."""


class StudyRefused(Refused):
    """The study's files cannot be used, for any of its lesions."""


class LesionRefused(Refused):
    """One lesion cannot be scored, or one image of it."""


class ImagesRefused(LesionRefused):
    """Too few images of a lesion could be scored. ``images`` says why, by the image's place among them, from 0."""

    def __init__(self, code: Code, images: Mapping[int, LesionRefused]) -> None:
        super().__init__(code)
        self.images = images


class ModelRefused(Refused):
    """A model's card or weights cannot be used."""


class SetupRefused(Refused):
    """This installation cannot do what was asked; a person has to change something."""


class Unavailable(DlrError):
    """A server or a disk is away: try again."""
