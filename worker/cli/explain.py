"""``dlr explain``: Grad-CAM heat maps of a lesion, as pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.reads.study_queries import scored_unread
from db.reads.study_records import ScoredUnread
from db.reads.study_results import RecordedContent, recorded_content
from worker.cli.export import camera
from worker.cli.models import Model
from worker.cli.output import Card, Format, FormatOption, print_rows, stderr, write_file
from worker.cli.refusals import refuse_without
from worker.cli.study_arguments import OptionalStudyArgument
from worker.errors import Refused, StudyRefused
from worker.imaging.image_source import ImageSource
from worker.intake.content_digest import is_unchanged
from worker.reporting.explanation import (
    Explanation,
    Seen,
    explanations,
    images_of,
    is_of_result,
    lesions_of,
    mark_result,
    number_in_name,
    picture_name,
)
from worker.reporting.result import LesionResult, StudyResult, read_results
from worker.reporting.source_study import opened
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.reporting.documents import Camera

EXIT_LOOK = 3
MOST_NEW = 100
NOT_COMPARED = (
    "The images come from a DICOMweb server, so it is not known whether they are byte for byte what was scored. "
    "A picture is made only if the models give the scores on record."
)
WHOLE_IMAGE = "Some lesions have no region, so their pictures show the whole image, including any name burned into it."
COLUMNS = (
    "study_id", "lesion_id", "model", "version", "positive_class", "probability", "threshold", "region_source", "file",
    "error_code", "error_reason", "notice", "image",
)  # fmt: skip
CARD = Card(COLUMNS[:4], COLUMNS[4:])


def explain(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the pictures")],
    study: OptionalStudyArgument = None,
    lesion: Annotated[str | None, typer.Argument(metavar="LESION_ID", help="Only this lesion")] = None,
    new: Annotated[
        bool, typer.Option("--new", help="The studies that are to be read and have no pictures in the folder yet")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"With --new: maximum number of studies (default: {MOST_NEW})")
    ] = None,
    model: Annotated[Model | None, typer.Option(help="Only this model")] = None,
    image: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only this image of the lesion, by its number, from 1")
    ] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Draw where a model looked in a lesion (Grad-CAM), as a PNG for each image and model. Not a diagnosis.

    The picture shows the model's input, plain and with the heat map, and the version, probability and threshold. It is
    made from the study's file by the version that scored it, and refused if either is gone or has changed. With --new
    an empty file stands for one that was refused, which is tried again after the next result. Exit status 3: some
    pictures could not be made; the table says why.
    """
    from worker.logs import configure_logging

    if new == (study is not None):
        raise typer.BadParameter("give one of the two", param_hint="STUDY, --new")
    refuse_without("--limit", limit, "--new", new or None)
    if new and image is not None:
        raise typer.BadParameter("goes with a study", param_hint="--image")
    configure_logging("ERROR", "text")  # what libraries log may quote a header
    models = tuple(Model) if model is None else (model,)
    asked = _new(output, models, limit or MOST_NEW) if study is None else _named(study, lesion)
    made = camera(get_settings(), grad_cam=True)
    rows, refused = [], []
    for one in asked:
        for drawn in _drawn(one, models, image, made, one_by_one=new):
            rows.append(_row(one, drawn, output, is_kept=new))
            refused += [drawn.refused] if drawn.refused is not None else []
    if refused and len(refused) == len(rows) and not new:
        raise refused[0]
    for note in _notes([row for row in rows if row["file"] is not None]):
        stderr.print(note, highlight=False, soft_wrap=True)
    print_rows(rows, COLUMNS, fmt, "where the models looked", CARD)
    raise typer.Exit(EXIT_LOOK if refused else 0)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A study whose pictures are wanted.

    Attributes:
        result: what is on record of it.
        lesions: of it, those that are wanted.
        unchanged: whether its files are byte for byte what was scored; ``None``: nobody can say.
    """

    result: StudyResult
    lesions: Sequence[LesionResult]
    unchanged: bool | None


def _named(study: str, lesion: str | None) -> list[_Asked]:
    from worker.runtime import sessions

    with sessions()() as session:
        found = lesions_of(read_results(session, study), lesion)
        contents = [recorded_content(session, result.study_id) for result, _ in found]
    return [
        _Asked(result, lesions, _unchanged(content)) for (result, lesions), content in zip(found, contents, strict=True)
    ]


def _new(folder: Path, models: Sequence[str], limit: int) -> Iterator[_Asked]:
    """Give the studies without pictures, in reading order, each as it is when its turn comes."""
    from worker.runtime import sessions

    with sessions()() as session:
        unread = scored_unread(session)
    for one in islice((one for one in unread if _lacks(folder, one, models)), limit):
        try:
            with sessions()() as session:
                [result] = read_results(session, one.study_id)
                content = recorded_content(session, one.study_id)
        except StudyRefused:
            continue  # it was corrected, or waits for its scores again
        lesions = [lesion for lesion in result.lesions if lesion.scores]
        yield _Asked(result, lesions, _unchanged(content))


def _lacks(folder: Path, study: ScoredUnread, models: Sequence[str]) -> bool:
    names = (
        picture_name(study.study_id, lesion, model, number_in_name(number, images))
        for lesion, images in study.images.items()
        for number in images
        for model in models
    )
    return not all(is_of_result(folder / name, study.finished_at) for name in names)


def _unchanged(content: RecordedContent) -> bool | None:
    return is_unchanged(content.job, content.digest, get_settings().storage_root)


def _drawn(
    asked: _Asked, models: Sequence[str], image: int | None, made: "Camera", *, one_by_one: bool
) -> Iterator[Explanation]:
    """Draw a study's pictures; with ``one_by_one`` a study that cannot be opened does not stop the others."""
    try:
        yield from _explanations(asked, models, image, made)
    except Refused as refused:
        if not one_by_one:
            raise
        for lesion in asked.lesions:
            for number, numbered, of_image in images_of(lesion, image):
                for model in models:
                    yield Explanation(of_image, number, numbered, model, None, None, refused)


def _explanations(asked: _Asked, models: Sequence[str], image: int | None, made: "Camera") -> Iterator[Explanation]:
    if made.look is None:
        raise ValueError("heat maps are made by whoever says where a model looked")
    settings = get_settings()
    images = ImageSource(settings.storage_root, settings.dicomweb, settings.pacs)
    with opened(asked.result, images, settings.limits) as source:
        yield from explanations(asked.lesions, models, Seen(source, asked.unchanged, made.frames, made.look), image)


def _row(asked: _Asked, one: Explanation, folder: Path, *, is_kept: bool) -> dict[str, object]:
    """Write a picture, or with ``is_kept`` an empty file in its stead, and say what it is of."""
    result = asked.result
    path = folder / picture_name(result.study_id, one.lesion.ordinal, one.model, one.numbered)
    if one.png is not None or is_kept:
        assert result.finished_at is not None  # noqa: S101  it has ended
        write_file(path, one.png or b"")
        mark_result(path, result.finished_at)
    score, refused = one.score, one.refused
    return {
        "study_id": result.study_id,
        "lesion_id": one.lesion.lesion_id,
        "model": one.model,
        "version": score and score.version,
        "positive_class": score and score.positive_class,
        "probability": score and score.positive_probability,
        "threshold": score and score.threshold,
        "region_source": one.lesion.region_source,
        "file": None if one.png is None else path,
        "error_code": refused and refused.code.value,
        "error_reason": refused and refused.reason,
        "notice": score and score.notice,
        "image": one.image,
        "file_unchanged": asked.unchanged,
    }


def _notes(made: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """What a person has to know of the pictures that were made."""
    if any(row["file_unchanged"] is None for row in made):
        yield NOT_COMPARED
    if any(row["region_source"] == "whole_image" for row in made):
        yield WHOLE_IMAGE
