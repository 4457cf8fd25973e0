"""The images of a study's lesions: grouped by frame, so that each is decoded once, and put together by lesion again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from worker.errors import Code, DlrError, ImagesRefused, LesionRefused
from worker.imaging.age import TOLERANCE_YEARS
from worker.study import ImageScore, Lesion, LesionImage, MarkedImage

Loaded = LesionImage | LesionRefused

_NO_PIXELS: Final = np.empty((0, 0), np.uint8)


class Mark(NamedTuple):
    """A lesion's mark on a frame; ``place`` is the image's among the lesion's, from 0."""

    lesion: Lesion
    place: int
    image: MarkedImage


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of a lesion: the image, as far as it came, and its score, or why it has none.

    Once the models have the image, its frame is empty here.
    """

    image: LesionImage | None = None
    score: ImageScore | None = None
    refused: DlrError | None = None


def by_frame(lesions: Sequence[Lesion]) -> list[list[Mark]]:
    """Group the marks on lesions by the frame that they are on, in the order in which frames come first."""
    frames: dict[tuple[str, int | None], list[Mark]] = {}
    for lesion in lesions:
        for place, image in enumerate(lesion.images):
            frames.setdefault((image.sop_instance_uid, image.frame), []).append(Mark(lesion, place, image))
    return list(frames.values())


class Gathering:
    """Lesions whose images come frame by frame."""

    def __init__(self) -> None:
        self._found: dict[str, dict[int, Loaded]] = {}

    def take(self, marks: Sequence[Mark], loaded: Sequence[Loaded]) -> Iterator[tuple[Lesion, list[Loaded]]]:
        """Take the images of one frame; yield the lesions that are whole now, with their images in their order."""
        for mark, image in zip(marks, loaded, strict=True):
            found = self._found.setdefault(mark.lesion.lesion_id, {})
            found[mark.place] = image
            if len(found) == len(mark.lesion.images):
                del self._found[mark.lesion.lesion_id]
                yield mark.lesion, [found[place] for place in range(len(found))]


def of_one_age(images: Sequence[LesionImage]) -> list[LesionImage]:
    """Return images of a lesion with the age of the first: a lesion is scored with one age.

    Raises:
        LesionRefused: ``age_contradictory``; their headers' ages differ by more than a year.
    """
    ages = [image.age.years for image in images]
    if max(ages) - min(ages) > TOLERANCE_YEARS:
        reason = "The images of the lesion give ages that differ by more than a year. Correct the wrong one."
        raise LesionRefused(Code.AGE_CONTRADICTORY, reason)
    return [replace(image, age=images[0].age) for image in images]


def without_pixels(images: Sequence[ImageOutcome]) -> tuple[ImageOutcome, ...]:
    """Return images without their frames, which are large: a study may have thousands of images."""
    return tuple(
        one if one.image is None else replace(one, image=replace(one.image, frame=_NO_PIXELS)) for one in images
    )


def answered(images: Sequence[ImageOutcome], answers: Iterable[ImageScore | LesionRefused]) -> tuple[ImageOutcome, ...]:
    """Return images with what the models answered of those that were read, in the same order."""
    said = iter(answers)
    return tuple(image if image.image is None else _with(image, next(said)) for image in images)


def refused_by_models(images: Sequence[ImageOutcome], refused: ImagesRefused) -> tuple[ImageOutcome, ...]:
    """Return images of a lesion that the models refused; those that are not to blame fail as the lesion does."""
    read = sum(image.image is not None for image in images)
    return answered(images, [refused.images.get(place, LesionRefused(refused.code)) for place in range(read)])


def none_read(images: Sequence[ImageOutcome]) -> DlrError | None:
    """Return why a lesion fails of which no image could be read; ``None`` where one could.

    Of a lesion on one image that is the image's refusal; else it names each image by its number, and its code is the
    first one's.
    """
    refused = [image.refused for image in images if image.refused is not None]
    if len(refused) < len(images):
        return None
    return refused[0] if len(images) == 1 else LesionRefused(refused[0].code, each_named(images))


def too_few(images: Sequence[ImageOutcome], refused: ImagesRefused) -> DlrError:
    """Return why a lesion fails of which too few images have scores; it names those that are to blame."""
    if len(images) == 1:
        return refused.images.get(0, refused)
    to_blame = [
        image if image.refused is None or image.refused.code is not Code.IMAGES_TOO_FEW else ImageOutcome()
        for image in images
    ]
    named = each_named(to_blame)
    of_all = refused.code is not Code.IMAGES_TOO_FEW
    return LesionRefused(refused.code, named if of_all else f"{refused.reason} {named}".rstrip())


def each_named(images: Sequence[ImageOutcome]) -> str:
    """Name the images that were refused by their number, with code and reason."""
    return "; ".join(
        f"image {number}: {image.refused.code.value} ({image.refused.reason})"
        for number, image in enumerate(images, start=1)
        if image.refused is not None
    )


def _with(image: ImageOutcome, said: ImageScore | LesionRefused) -> ImageOutcome:
    return replace(image, score=said) if isinstance(said, ImageScore) else replace(image, refused=said)
