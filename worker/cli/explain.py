"""``dlr explain``: Grad-CAM heat maps of a lesion, as pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.reads.study_results import recorded_content
from worker.cli.export import camera
from worker.cli.models import Model
from worker.cli.output import Card, Format, FormatOption, print_rows, stderr, write_file
from worker.cli.study_arguments import StudyArgument
from worker.imaging.image_source import ImageSource
from worker.intake.content_digest import is_unchanged
from worker.reporting.explanation import Explanation, Seen, explanations, lesions_of, picture_name
from worker.reporting.result import LesionResult, StudyResult, read_results
from worker.reporting.source_study import opened
from worker.settings import Settings, get_settings

if TYPE_CHECKING:
    from worker.reporting.documents import Camera

EXIT_LOOK = 3
NOT_COMPARED = (
    "The images come from a DICOMweb server, so it is not known whether they are byte for byte what was scored. "
    "A picture is made only if the models give the scores on record."
)
WHOLE_IMAGE = "Some lesions have no region, so their pictures show the whole image, including any name burned into it."
COLUMNS = (
    "study_id", "lesion_id", "model", "version", "positive_class", "probability", "threshold", "region_source", "file",
    "error_code", "error_reason", "notice",
)  # fmt: skip
CARD = Card(COLUMNS[:4], COLUMNS[4:])


def explain(
    study: StudyArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the pictures")],
    lesion: Annotated[str | None, typer.Argument(metavar="LESION_ID", help="Only this lesion")] = None,
    model: Annotated[Model | None, typer.Option(help="Only this model")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Draw where a model looked in a lesion (Grad-CAM), as a PNG for each lesion and model. Not a diagnosis.

    The picture shows the model's input, plain and with the heat map, and the version, probability and threshold. It is
    made from the study's file by the version that scored it, and refused if either is gone or has changed. Exit status
    3: some pictures could not be made; the table says why.
    """
    from worker.logs import configure_logging
    from worker.runtime import sessions

    settings = get_settings()
    configure_logging("ERROR", "text")  # what libraries log may quote a header
    with sessions()() as session:
        asked = lesions_of(read_results(session, study), lesion)
        contents = [recorded_content(session, result.study_id) for result, _ in asked]
    models = tuple(Model) if model is None else (model,)
    made = camera(settings, grad_cam=True)
    rows, refused = [], []
    for (result, lesions), content in zip(asked, contents, strict=True):
        unchanged = is_unchanged(content.job, content.digest, settings.storage_root)
        for one in _explanations(result, lesions, models, settings, made, unchanged):
            rows.append(_row(result, one, output) | {"file_unchanged": unchanged})
            refused += [one.refused] if one.refused is not None else []
    if len(refused) == len(rows):
        raise refused[0]
    for note in _notes([row for row in rows if row["file"] is not None]):
        stderr.print(note, highlight=False, soft_wrap=True)
    print_rows(rows, COLUMNS, fmt, "where the models looked", CARD)
    raise typer.Exit(EXIT_LOOK if refused else 0)


def _explanations(
    result: StudyResult,
    lesions: Sequence[LesionResult],
    models: Sequence[str],
    settings: Settings,
    made: "Camera",
    unchanged: bool | None,
) -> Iterator[Explanation]:
    if made.look is None:
        raise ValueError("heat maps are made by whoever says where a model looked")
    images = ImageSource(settings.storage_root, settings.dicomweb)
    with opened(result, images, settings.limits) as source:
        yield from explanations(lesions, models, Seen(source, unchanged, made.frames, made.look))


def _row(result: StudyResult, one: Explanation, folder: Path) -> dict[str, object]:
    """Write a picture, and say what it is of."""
    path = folder / picture_name(result.study_id, one.lesion.ordinal, one.model)
    if one.png is not None:
        write_file(path, one.png)
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
    }


def _notes(made: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """What a person has to know of the pictures that were made."""
    if any(row["file_unchanged"] is None for row in made):
        yield NOT_COMPARED
    if any(row["region_source"] == "whole_image" for row in made):
        yield WHOLE_IMAGE
