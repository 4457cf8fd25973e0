"""``dlr models calibrate``: a new card with a temperature, a conformal set, or both."""

from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Format, Report, ReportOption, print_json, print_rows, stderr, write_file
from worker.cli.refusals import refuse_bad_rows, refuse_learned
from worker.clinical.categories import Birads
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.inference.model_card import ModelCard, load_card

if TYPE_CHECKING:
    from worker.evaluation.ground_truth import Answers, Truth
    from worker.evaluation.recalibration import Recalibrated, Sets

CARD_FILE = "card.json"
CARD_COLUMNS = (
    "name", "version", "question", "lesions", "positives", "aggregation", "temperature", "threshold", "coverage",
    "quantile", "notice",
)  # fmt: skip
SET_COLUMNS = ("lesions", "covered", "certain", "both", "neither")


def calibrate(
    card: Annotated[Path, typer.Argument(help="The model's card, a JSON file")],
    scores: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Its scores for lesions that it was not trained on, as read by `dlr evaluate`"
        ),
    ],
    version: Annotated[str, typer.Option(help="Version of the new card; the weights stay the same")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER|FILE", help="Folder for card.json, or a .json file")
    ],
    temperature: Annotated[bool, typer.Option("--temperature", help="Fit a temperature")] = False,
    coverage: Annotated[
        float | None,
        typer.Option(min=0.5, max=0.999, help="Calibrate a conformal set with this coverage of the true class"),
    ] = None,
    pathology: Annotated[
        bool, typer.Option("--by-pathology", help="Calibrate DLR_LH against pathology instead of the category")
    ] = False,
    split: Annotated[
        Split, typer.Option(help="Split to use where rows have one; the model must not have been trained on it")
    ] = Split.TEST,
    scores_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Temperature of these scores; required unless the card's is 1. `dlr train` writes them at 1",
        ),
    ] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Write a new version of a card with a fitted temperature, a conformal set, or both.

    Where rows have a split, only those of --split are used. The threshold is converted to the new temperature, so no
    lesion changes its class.
    """
    refuse_learned(split)
    if not temperature and coverage is None:
        raise typer.BadParameter("give at least one of them", param_hint="--temperature, --coverage")
    require_extra("train", "dlr models calibrate", "sklearn")
    import numpy as np

    from worker.evaluation.ground_truth import OWN, Truth
    from worker.evaluation.recalibration import at_temperature, recalibrated

    present = load_card(card)
    _check(present, version, split, scores_temperature, pathology=pathology)
    path = output if output.suffix == ".json" else output / CARD_FILE
    if path.exists():
        raise SetupRefused(Code.SETTING_INVALID, "--output: the file exists already, and a card is never overwritten")
    truth = Truth.PATHOLOGY if pathology else OWN[present.name]
    known = _known(present, scores, truth, split)
    low_suspicion = np.array([one.birads is Birads.LOW_SUSPICION for one in known.lesions])
    made = recalibrated(
        present,
        at_temperature(present, known.scores, scores_temperature or 1),
        known.labels,
        version,
        fit_temperature=temperature,
        coverage=coverage,
        parts={"4A": low_suspicion} if low_suspicion.any() else {},
    )
    write_file(path, made.card.to_json().encode())
    _print(made, truth, fmt)
    use = f"dlr models add {path} WEIGHTS, then dlr models activate {made.card.name} {version}"
    said = f"written: {path}; to use it: {use}"
    stderr.print(said, markup=False, highlight=False, soft_wrap=True)


def _check(card: ModelCard, version: str, split: Split, scores_temperature: float | None, *, pathology: bool) -> None:
    """Refuse what does not go with this card."""
    from worker.training.labels import other_rule

    if version == card.version:
        raise typer.BadParameter("the card already has this version", param_hint="--version")
    refuse_learned(split, card)
    rule = other_rule(card)
    if rule is not None and not pathology:
        said = f"the card's label rule is not the study's but {rule}: calibrate it against pathology"
        raise typer.BadParameter(said, param_hint="--by-pathology")
    if scores_temperature is None and card.temperature != 1:
        said = f"the card's temperature is {card.temperature:g}: give that of the scores (1 for those of dlr train)"
        raise typer.BadParameter(said, param_hint="--scores-temperature")
    if scores_temperature is not None and not 0 < scores_temperature < inf:
        raise typer.BadParameter("must be greater than 0", param_hint="--scores-temperature")


def _known(card: ModelCard, scores: Path, truth: "Truth", split: Split) -> "Answers":
    from worker.evaluation.ground_truth import answers
    from worker.evaluation.lesions import GIVEN, Scorer
    from worker.evaluation.scores_file import COLUMN_OF, read_scores

    read = read_scores(scores)
    refuse_bad_rows(read.bad, Code.SCORES_INVALID, "calibrated")
    lesions = read.material.lesions
    if any(one.split is not None for one in lesions):
        lesions = tuple(one for one in lesions if one.split is split)
    known = answers(lesions, Scorer(card.name, GIVEN), truth)
    if not known.lesions:
        reason = f"no lesion in the split {split.value} has {COLUMN_OF[card.name]} and a known answer ({truth.value})"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    return known


def _print(made: "Recalibrated", truth: "Truth", fmt: Report) -> None:
    card, conformal = made.card, made.card.conformal
    row: dict[str, Any] = {
        "name": card.name,
        "version": card.version,
        "question": truth.value,
        "lesions": made.lesions,
        "positives": made.positives,
        "aggregation": card.aggregation,
        "temperature": card.temperature,
        "threshold": card.threshold,
        "coverage": None if conformal is None else conformal.coverage,
        "quantile": None if conformal is None else conformal.quantile,
        "notice": card.notice or None,
    }
    if fmt is Report.JSON:
        print_json(row | {"sets": {name: asdict(one) for name, one in made.sets.items()}})
        return
    print_rows([row], CARD_COLUMNS, Format.TABLE, title="calibrated card")
    if made.sets:
        rows = [_cells(*one) for one in made.sets.items()]
        print_rows(rows, SET_COLUMNS, Format.TABLE, title="conformal sets of these lesions")


def _cells(name: str, sets: "Sets") -> dict[str, object]:
    from worker.evaluation.formatting import percent

    return {"lesions": name.replace("_", " "), **{part: percent(getattr(sets, part)) for part in SET_COLUMNS[1:]}}
