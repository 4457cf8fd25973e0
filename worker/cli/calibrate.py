"""``dlr models calibrate``: a card made anew with a temperature, a conformal set, or both."""

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
from worker.inference.card import ModelCard, load_card

if TYPE_CHECKING:
    from worker.evaluation.ground_truth import Answers, Truth
    from worker.evaluation.recalibration import Recalibrated, Sets

CARD_FILE = "card.json"
CARD_COLUMNS = (
    "name", "version", "question", "lesions", "positives", "temperature", "threshold", "coverage", "quantile", "notice",
)  # fmt: skip
SET_COLUMNS = ("lesions", "covered", "certain", "both", "neither")


def calibrate(
    card: Annotated[Path, typer.Argument(help="The model's card, a JSON file")],
    scores: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Its scores of lesions that it did not learn from, as `dlr evaluate` reads"),
    ],
    version: Annotated[str, typer.Option(help="Of the new card; the weights stay the same")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER|FILE", help="Where card.json, or a .json file, is written")
    ],
    temperature: Annotated[bool, typer.Option("--temperature", help="Fit a temperature")] = False,
    coverage: Annotated[
        float | None,
        typer.Option(min=0.5, max=0.999, help="Calibrate a conformal set that holds the true class so often"),
    ] = None,
    pathology: Annotated[
        bool, typer.Option("--by-pathology", help="Hold DLR_LH against pathology, in place of the category")
    ] = False,
    split: Annotated[
        Split, typer.Option(help="Used, where rows are of splits; nothing of the model may have learned from it")
    ] = Split.TEST,
    scores_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", help="At which the scores were made; needed where the card's is not 1. Of `dlr train`: 1"
        ),
    ] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Write a new version of a card, with a fitted temperature, a conformal set, or both.

    Where rows are of splits, those of one alone are used. A new temperature carries the threshold over, so that it
    changes no lesion's class.
    """
    refuse_learned(split)
    if not temperature and coverage is None:
        raise typer.BadParameter("one of them, or both", param_hint="--temperature, --coverage")
    require_extra("train", "dlr models calibrate", "sklearn")
    import numpy as np

    from worker.evaluation.ground_truth import OWN, Truth
    from worker.evaluation.recalibration import at_temperature, recalibrated

    present = load_card(card)
    _check(present, version, split, scores_temperature, pathology=pathology)
    path = output if output.suffix == ".json" else output / CARD_FILE
    if path.exists():
        raise SetupRefused(Code.SETTING_INVALID, "--output: there is a file already, and no card is written over")
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
        raise typer.BadParameter("the card has this version already", param_hint="--version")
    refuse_learned(split, card)
    rule = other_rule(card)
    if rule is not None and not pathology:
        said = f"the card's label rule is not the study's, but: {rule}. Hold it against pathology"
        raise typer.BadParameter(said, param_hint="--by-pathology")
    if scores_temperature is None and card.temperature != 1:
        said = f"the card's is {card.temperature:g}: say at which the scores were made, those of dlr train at 1"
        raise typer.BadParameter(said, param_hint="--scores-temperature")
    if scores_temperature is not None and not 0 < scores_temperature < inf:
        raise typer.BadParameter("a number above 0", param_hint="--scores-temperature")


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
        reason = f"no lesion of the split {split.value} has {COLUMN_OF[card.name]} and a known answer ({truth.value})"
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
