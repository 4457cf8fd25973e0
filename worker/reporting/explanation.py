"""Pictures of where models looked in lesions that they scored, for a person's eyes: one a lesion and model."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from worker.clinical.probability import said
from worker.errors import Code, LesionRefused, Refused
from worker.reporting.result import LesionResult, ModelScore, StudyResult
from worker.reporting.single_image import with_one_image
from worker.reporting.source_study import Source
from worker.study import Roi

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.imaging.heat_map import HeatMap
    from worker.reporting.documents import Frames, Look

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NO_DIAGNOSIS = "A heat map shows where a model looked, not why, and not whether it is right. It is not a diagnosis."
"""On every one."""


def picture_name(study_id: object, ordinal: int, model: str, image: int | None = None) -> str:
    """Return the name of a picture's file, which names nobody.

    Args:
        study_id: the study's opaque id.
        ordinal: the lesion's, from 1.
        model: ``DLR_LH`` or ``DLR_BM``.
        image: its number among the lesion's; ``None``: the first one that was scored.
    """
    of_image = "" if image is None else f".{image}"
    return f"{study_id}.{ordinal}{of_image}.{model.lower().replace('_', '-')}.png"


def number_in_name(image: int, scored: Sequence[int]) -> int | None:
    """Return an image's number as a picture's name has it: the first one that was scored has none.

    Args:
        image: its number among the lesion's, from 1.
        scored: the numbers of those that were scored, in their order.
    """
    return None if image in scored[:1] else image


def mark_result(picture: Path, finished_at: datetime) -> None:
    """Note in a picture's file of which result it is: its time of modification is when the study ended."""
    moment = (finished_at - _EPOCH) // timedelta(microseconds=1) * 1000
    os.utime(picture, ns=(moment, moment))


def is_of_result(picture: Path, finished_at: datetime) -> bool:
    """Say whether there is a file for a picture, and none of an earlier result."""
    try:
        return datetime.fromtimestamp(picture.stat().st_mtime, UTC) >= finished_at
    except FileNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a model looked in a lesion, or why that cannot be shown: one of ``png`` and ``refused`` is there.

    Attributes:
        lesion: of the study, as if this image were its only one.
        image: the number of the image among the lesion's.
        numbered: the same, where the name of the picture has it: not of the first image that was scored.
        model: ``DLR_LH`` or ``DLR_BM``.
        score: what it said; ``None`` where it scored nothing.
        png: the picture.
        refused: why there is none.
    """

    lesion: LesionResult
    image: int
    numbered: int | None
    model: str
    score: ModelScore | None
    png: bytes | None
    refused: Refused | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What pictures are made from.

    Attributes:
        source: of the study's files.
        unchanged: whether these are, byte for byte, those that the study came with; ``None``: nobody can say.
        frames: decodes them.
        look: says where a model looked.
    """

    source: Source
    unchanged: bool | None
    frames: "Frames"
    look: "Look"


def explanations(
    lesions: Sequence[LesionResult], models: Sequence[str], seen: Seen, image: int | None = None
) -> Iterator[Explanation]:
    """Show where models looked in lesions; one that cannot be shown does not stop the others.

    The region, the age and the versions are those that the scores on record rest on.

    Args:
        lesions: of one study.
        models: by name.
        seen: of that study.
        image: the number of the image that is asked for; ``None``: each that was scored.

    Raises:
        Unavailable: ``storage_unavailable``, or no decoder can be started.
    """
    of_images = [one for lesion in lesions for one in images_of(lesion, image)]
    for (number, numbered, lesion), model in product(of_images, models):
        score = next((one for one in lesion.scores if one.model == model), None)
        try:
            png = _picture(lesion, score, seen)
        except Refused as refused:
            yield Explanation(lesion, number, numbered, model, score, None, refused)
        else:
            yield Explanation(lesion, number, numbered, model, score, png, None)


def images_of(lesion: LesionResult, number: int | None) -> list[tuple[int, int | None, LesionResult]]:
    """Return a lesion once for each image that is asked for: the image's number, and that in its picture's name.

    Args:
        lesion: of a study.
        number: of the image; ``None``: each that was scored.
    """
    scored = [image.ordinal for image in lesion.images if image.error_code is None]
    asked = scored if number is None else [number]
    return [
        (image.ordinal, number_in_name(image.ordinal, scored), with_one_image(lesion, image))
        for image in lesion.images
        if image.ordinal in asked
    ] or [(number or 1, None if number in (None, 1) else number, _without_image(lesion, number))]


def _without_image(lesion: LesionResult, number: int | None) -> LesionResult:
    """Return a lesion of which there is no image to draw: it has none of this number, or none was scored."""
    if number is None or not lesion.images:
        return lesion
    return replace(lesion, lh=None, bm=None, region=None, error_code=f"it has no image {number}")


def lesions_of(results: Sequence[StudyResult], lesion_id: str | None) -> list[tuple[StudyResult, list[LesionResult]]]:
    """Return each study with its lesions that are asked for; studies without any are left out.

    Args:
        results: of the studies.
        lesion_id: the sender's name; ``None``: all.

    Raises:
        LesionRefused: ``lesion_not_found``: no study has one of that name.
    """
    found = [
        (result, [lesion for lesion in result.lesions if lesion_id in (None, lesion.lesion_id)]) for result in results
    ]
    asked = [(result, lesions) for result, lesions in found if lesions]
    if not asked:
        raise LesionRefused(Code.LESION_NOT_FOUND)
    return asked


def _picture(lesion: LesionResult, score: ModelScore | None, seen: Seen) -> bytes:
    if score is None or lesion.region is None:
        raise LesionRefused(Code.RESULT_MISSING, f"the image was not scored: {lesion.error_code}")
    image = seen.source.images.get(lesion.sop_instance_uid)
    if image is None:
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND, "the image of the lesion is gone, or cannot be read")
    if seen.unchanged is False:
        reason = "a file of the study is gone or is not byte for byte the original"
        raise LesionRefused(Code.IMAGE_CHANGED, f"{reason}: submit it again to have it scored")
    frame = seen.frames(image, lesion)
    return _drawn(lesion.region, score, frame, seen.look(lesion, score, frame))


def _drawn(region: tuple[int, int, int, int], score: ModelScore, frame: "NDArray[np.uint8]", heat: "HeatMap") -> bytes:
    from worker.imaging.heat_map import heat_picture

    return heat_picture(frame, Roi(*region), heat, caption(score, heat))


def caption(score: ModelScore, heat: "HeatMap") -> tuple[str, ...]:
    """Return what is written below a picture: no name of anybody, nor of a lesion, since senders choose those."""
    positive = score.positive_class.replace("_", " ")
    probability = f"{positive} {said(score.positive_probability, score.threshold)}, from {score.threshold:.6g} on"
    colour = f"Colour: what weighed for {positive}, by Grad-CAM, in {heat.cells} x {heat.cells} cells."
    if not heat.values.any():
        colour = f"No colour: nothing in the image weighed for {positive}."
    return (
        f"{score.model} {score.version}: {probability}",
        f"{colour} The outline is the region that was scored. The model saw only this part of the image.",
        NO_DIAGNOSIS,
        *([f"Notice: {score.notice}"] if score.notice else []),
    )
