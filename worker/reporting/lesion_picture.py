"""The picture of a lesion's result: its frame with the region outlined and the scores beside it, or all its images.

No name, number or identifier of anybody is drawn; whether a frame itself has some burned in, its own header says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from db.schema.records import Box
from db.schema.vocabulary import QualityFinding
from worker.clinical.categories import Outcome
from worker.clinical.probability import said
from worker.clinical.restratify import UNCERTAIN
from worker.imaging.heat_map import HeatMap, heated
from worker.reporting.concepts import QUALITY_FINDINGS
from worker.reporting.lesion_content import ADVICE, has_several_images, spreads, views_disagree
from worker.reporting.result import ImageResult, LesionResult, ModelScore, StudyResult

if TYPE_CHECKING:
    from PIL.Image import Image

PANEL: Final = 420
"""Pixels of width for the text."""

IN_A_ROW: Final = 4
"""Images of a lesion side by side."""

LARGEST: Final = 1024
"""Pixels on the longest side of one of several images; of more than stand in one row, half of it."""

_TEXT_SIZE, _LINE, _MARGIN = 16, 22, 12
_WHITE, _GREY, _YELLOW, _BLACK = (255, 255, 255), (170, 170, 170), (255, 220, 0), (0, 0, 0)
_LETTERS = 46

Pixels = NDArray[np.uint8]
Heats = Mapping[str, HeatMap]
"""Where models looked, by their names."""

Colour = tuple[int, int, int]
Lines = list[tuple[str, Colour]]
"""What is written, with its colour."""

NO_HEATS: Final[Heats] = {}


@dataclass(frozen=True, slots=True)
class Shown:
    """One of several images of a lesion, for a picture.

    Attributes:
        frame: uint8, (rows, columns) grey or (rows, columns, 3) RGB; ``None`` for an image without scores.
        heats: where the models of the lesion's scores looked in it.
    """

    image: ImageResult
    frame: Pixels | None = None
    heats: Heats = field(default_factory=dict)


def drawn(result: StudyResult, lesion: LesionResult, frame: Pixels, heats: Heats) -> Pixels:
    """Draw a lesion with one image: the frame, a copy of it for each heat, and the text beside them.

    Returns:
        uint8, (rows, columns, 3).
    """
    copies = _copies(frame, lesion.region, heats, max(frame.shape))
    lines = lines_of(result, lesion, tuple(heats))
    canvas = _canvas(sum(copy.width for copy in copies) + PANEL, max(frame.shape[0], _height(lines)))
    _write(canvas, (_paste(canvas, copies, (0, 0)), 0), lines)
    return np.asarray(canvas)


def drawn_side_by_side(result: StudyResult, lesion: LesionResult, shown: Sequence[Shown]) -> Pixels:
    """Draw a lesion with several images: the text above, and below it the images with the scores of each.

    Returns:
        uint8, (rows, columns, 3).
    """
    largest = LARGEST if len(shown) <= IN_A_ROW else LARGEST // 2
    tiles = [_tile(lesion, one, largest) for one in shown]
    rows = [tiles[start : start + IN_A_ROW] for start in range(0, len(tiles), IN_A_ROW)]
    lines = lines_of(result, lesion)
    top = _height(lines)
    height = top + sum(max(tile.height for tile in row) for row in rows)
    canvas = _canvas(max(PANEL, *(sum(tile.width for tile in row) for row in rows)), height)
    _write(canvas, (0, 0), lines)
    for row in rows:
        _paste(canvas, row, (0, top))
        top += max(tile.height for tile in row)
    return np.asarray(canvas)


def _tile(lesion: LesionResult, shown: Shown, largest: int) -> "Image":
    """Draw one of several images, with its own scores below it."""
    copies = [] if shown.frame is None else _copies(shown.frame, shown.image.region, shown.heats, largest)
    lines = _caption(lesion, shown.image, tuple(shown.heats))
    bottom = max((copy.height for copy in copies), default=0)
    tile = _canvas(max(PANEL, sum(copy.width for copy in copies)), bottom + _height(lines))
    _paste(tile, copies, (0, 0))
    _write(tile, (0, bottom), lines)
    return tile


def _canvas(width: int, height: int) -> "Image":
    from PIL import Image

    return Image.new("RGB", (width, height), _BLACK)


def _paste(canvas: "Image", pictures: Sequence["Image"], at: tuple[int, int]) -> int:
    """Put pictures side by side; return where the next one would begin."""
    left, top = at
    for picture in pictures:
        canvas.paste(picture, (left, top))
        left += picture.width
    return left


def _height(lines: Lines) -> int:
    return len(lines) * _LINE + 2 * _MARGIN


def _copies(frame: Pixels, region: Box | None, heats: Heats, largest: int) -> list["Image"]:
    """Return the frame, and a copy of it for each heat, each with the region outlined."""
    colours = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
    every = [colours, *(heated(colours, heat.values) for heat in heats.values())]
    return [_outlined(copy, region, largest) for copy in every]


def _outlined(frame: Pixels, region: Box | None, largest: int) -> "Image":
    """Draw the region's border around it, so that none of its pixels is hidden; at the edge of the frame, inside."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.ascontiguousarray(frame))
    factor = min(1.0, largest / max(image.size))
    if factor < 1:
        image = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    if region is not None:
        x, y, width, height = (round(part * factor) for part in region)
        right, bottom = min(x + width, image.width - 1), min(y + height, image.height - 1)
        ImageDraw.Draw(image).rectangle((max(x - 1, 0), max(y - 1, 0), right, bottom), outline=_YELLOW)
    return image


def _write(canvas: "Image", at: tuple[int, int], lines: Lines) -> None:
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT_SIZE)
    left, top = at
    for place, (text, colour) in enumerate(lines):
        draw.text((left + _MARGIN, top + _MARGIN + place * _LINE), text, fill=colour, font=font)


def lines_of(result: StudyResult, lesion: LesionResult, heats: Sequence[str] = ()) -> Lines:
    """Return what is written of a lesion: not its name, since a sender may have put anything into it."""
    several = has_several_images(lesion)
    lines: Lines = [
        (f"Lesion {lesion.ordinal} of {len(result.lesions)}", _WHITE),
        (f"BI-RADS by the radiologist: {lesion.birads}", _WHITE),
        (f"Recommended by DLR: {_recommended(lesion)}", _YELLOW),
        *((line, _YELLOW) for line in wrap(UNCERTAIN, _LETTERS) if lesion.uncertain),
        ("", _WHITE),
        *(_on_images(lesion) if several else ()),
    ]
    for score in lesion.scores:
        lines += [(line, _WHITE) for line in _score_lines(score)]
    lines += [] if several else _gate(lesion)
    lines.append((f"Age used: {lesion.age_years:.1f} years; rule {lesion.rule_version}", _GREY))
    lines += _on_heats(lesion, heats)
    lines.append(("", _WHITE))
    for text in (ADVICE, *(f"Notice: {notice}" for notice in result.notices)):
        lines += [(line, _YELLOW) for line in wrap(text, _LETTERS)]
    return lines


def _on_images(lesion: LesionResult) -> Lines:
    scored = len(lesion.images) - lesion.images_refused
    lines: Lines = [(f"Scored together: {scored} of its {len(lesion.images)} images", _WHITE)]
    lines += [
        (f"  {one.score.model}: up to {said(one.value)} apart", _WHITE)
        for one in spreads(lesion)
        if one.score is not None
    ]
    if views_disagree(lesion):
        lines.append(("The images lie on both sides of a threshold.", _YELLOW))
    return lines


def _caption(lesion: LesionResult, image: ImageResult, heats: Sequence[str]) -> Lines:
    plane = "" if image.plane is None else f", {image.plane}"
    lines: Lines = [(f"Image {image.ordinal} of {len(lesion.images)}{plane}", _WHITE)]
    if image.error_code is not None:
        lines.append((f"Not scored: {image.error_code}", _YELLOW))
    for score, probability in ((lesion.lh, image.high_risk_probability), (lesion.bm, image.malignant_probability)):
        if score is not None and probability is not None:
            positive = score.positive_class.replace("_", " ")
            lines.append((f"{score.model}: {positive} {said(probability, score.threshold)}", _WHITE))
    return [*lines, *_gate(image), *_on_heats(lesion, heats)]


def _gate(marked: LesionResult | ImageResult) -> Lines:
    return [(QUALITY_FINDINGS[QualityFinding(reason)].meaning, _YELLOW) for reason in marked.gate]


def _on_heats(lesion: LesionResult, heats: Sequence[str]) -> Lines:
    lines: Lines = []
    for place, model in enumerate(heats, start=2):
        positive = next(score.positive_class for score in lesion.scores if score.model == model)
        lines.append((f"Picture {place}, in red to yellow: what weighed", _GREY))
        lines.append((f"  for {positive.replace('_', ' ')} in {model}, yellow the most", _GREY))
    return lines


def _recommended(lesion: LesionResult) -> str:
    if lesion.outcome == Outcome.NOT_APPLICABLE:
        return "nothing, since it is not 4A"
    return f"{lesion.recommended} ({lesion.outcome})"


def _score_lines(score: ModelScore) -> list[str]:
    positive, negative = score.positive_class.replace("_", " "), score.negative_class.replace("_", " ")
    certain = score.conformal_set in (None, (score.predicted_class,))
    return [
        f"{score.model} {score.version}: {score.predicted_class.replace('_', ' ')}{'' if certain else ', not certain'}",
        f"  {positive} {said(score.positive_probability, score.threshold)}, from {score.threshold:.4g} on",
        f"  {negative} {said(score.negative_probability)}",
    ]
