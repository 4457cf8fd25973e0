"""``dlr models calibrate``: a new card with a temperature, a conformal set or a site's own scale; or a check."""

from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.lesion_options import RootOption
from worker.cli.output import Format, Report, ReportOption, print_json, print_rows, say, write_file
from worker.cli.proportion_cells import percent
from worker.cli.refusals import refuse_bad_rows, refuse_learned, refuse_without
from worker.clinical.categories import Birads
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.evaluation_options import SENSITIVITY, Choice
from worker.extras import require_extra
from worker.inference.model_card import ModelCard, load_card

if TYPE_CHECKING:
    from worker.evaluation.discrimination import Scores
    from worker.evaluation.ground_truth import Answers, Truth
    from worker.evaluation.recalibration import Recalibrated, Sets
    from worker.evaluation.site_scale import SiteScaled

CARD_FILE = "card.json"
CARD_COLUMNS = (
    "name", "version", "question", "lesions", "positives", "aggregation", "temperature", "threshold", "coverage",
    "quantile", "notice",
)  # fmt: skip
SITE_COLUMNS = (
    "name", "version", "site", "question", "lesions", "positives", "temperature", "threshold", "coverage", "quantile",
    "notice",
)  # fmt: skip
POINT_COLUMNS = ("threshold_of", "threshold", "sensitivity", "specificity")
SET_COLUMNS = ("lesions", "covered", "certain", "both", "neither")


def calibrate(
    card: Annotated[
        Path, typer.Argument(help="The model's card, a JSON file; with --check: [NAME/]VERSION in the registry")
    ],
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its scores for lesions that it was not trained on, as read by `dlr evaluate`"
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version of the new card; the weights stay the same")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER|FILE", help="Folder for card.json, or a .json file"),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="Instead: measure calibration and coverage on a manifest; no new card"),
    ] = None,
    root: RootOption = None,
    image_only: Annotated[
        bool,
        typer.Option(
            "--image-only",
            help="With --check: score by the image alone (FC2), so that lesions need no age; an image stage always is",
        ),
    ] = False,
    exclude_finding: ExcludeFindingOption = None,
    temperature: Annotated[bool, typer.Option("--temperature", help="Fit a temperature")] = False,
    coverage: Annotated[
        float | None,
        typer.Option(min=0.5, max=0.999, help="Calibrate a conformal set with this coverage of the true class"),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For this site alone, from its lesions (the column site) alone"),
    ] = None,
    threshold: Annotated[
        Choice | None, typer.Option(help="With --site: choose its own threshold by Youden's index or sensitivity")
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(min=0.01, max=1, help="Sensitivity to reach with --threshold sensitivity")
    ] = SENSITIVITY,
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
    """Write a new version of a card with a fitted temperature, a conformal set, or both; for all sites, or for one.

    Where rows have a split, only those of --split are used. Unless --threshold chooses one for a site, the threshold is
    converted to the new temperature, so no lesion changes its class.

    With --check it scores a manifest with a version and says whether its probabilities and conformal sets hold there,
    by site. The outcome is kept beside the version. Exit status 3: coverage falls short.
    """
    refuse_learned(split)
    require_extra("train", "dlr models calibrate", "sklearn")
    if check is not None:
        if scores or version or output or temperature or coverage or site or threshold:
            raise typer.BadParameter("makes no card, so only manifest and split can be given", param_hint="--check")
        from worker.cli.calibration_check import check_on_manifest

        check_on_manifest(
            str(card), check, root, split, exclude_finding, fmt, by_pathology=pathology, image_only=image_only
        )
        return
    refuse_without("--root", root, "--check", check)
    refuse_without("--image-only", image_only or None, "--check", check)
    refuse_without("--exclude-finding", exclude_finding, "--check", check)
    refuse_without("--threshold", threshold, "--site", site)
    if not temperature and coverage is None and threshold is None:
        raise typer.BadParameter("give at least one of them", param_hint="--temperature, --coverage, --threshold")
    if scores is None or version is None or output is None:
        raise typer.BadParameter("all are needed", param_hint="--scores, --version, --output")
    from worker.evaluation.ground_truth import OWN, Truth
    from worker.evaluation.recalibration import at_temperature

    present = load_card(card)
    _check(present, version, split, scores_temperature, pathology=pathology)
    path = output if output.suffix == ".json" else output / CARD_FILE
    if path.exists():
        raise SetupRefused(Code.SETTING_INVALID, "--output: the file exists already, and a card is never overwritten")
    truth = Truth.PATHOLOGY if pathology else OWN[present.name]
    known = _known(present, scores, truth, split, site)
    probabilities = at_temperature(present, known.scores, scores_temperature or 1)
    if site is None:
        pooled = _recalibrated(present, known, probabilities, version, coverage, fit_temperature=temperature)
        made = pooled.card
        write_file(path, made.to_json().encode())
        _print(pooled, truth, fmt)
    else:
        from worker.evaluation.site_scale import with_site

        scaled = with_site(
            present, site, probabilities, known.labels, version,
            choose=threshold, sensitivity=sensitivity, fit_temperature=temperature, coverage=coverage,
        )  # fmt: skip
        made = scaled.card
        write_file(path, made.to_json().encode())
        _print_site(scaled, site, truth, fmt)
    weights = "WEIGHTS..." if made.members else "WEIGHTS"
    use = f"dlr models add {path} {weights}, then dlr models activate {made.name} {version}"
    said = f"written: {path}; to use it: {use}"
    say(said)


def _recalibrated(
    card: ModelCard,
    known: "Answers",
    probabilities: "Scores",
    version: str,
    coverage: float | None,
    *,
    fit_temperature: bool,
) -> "Recalibrated":
    import numpy as np

    from worker.evaluation.recalibration import recalibrated

    low_suspicion = np.array([one.birads is Birads.LOW_SUSPICION for one in known.lesions])
    return recalibrated(
        card,
        probabilities,
        known.labels,
        version,
        fit_temperature=fit_temperature,
        coverage=coverage,
        parts={"4A": low_suspicion} if low_suspicion.any() else {},
    )


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


def _known(card: ModelCard, scores: Path, truth: "Truth", split: Split, site: str | None) -> "Answers":
    from worker.evaluation.ground_truth import answers
    from worker.evaluation.lesions import GIVEN, Scorer
    from worker.evaluation.scores_file import COLUMN_OF, read_scores

    read = read_scores(scores)
    refuse_bad_rows(read.bad, Code.SCORES_INVALID, "calibrated")
    lesions = read.material.lesions
    if any(one.split is not None for one in lesions):
        lesions = tuple(one for one in lesions if one.split is split)
    if site is not None:
        lesions = tuple(one for one in lesions if one.site == site)
    known = answers(lesions, Scorer(card.name, GIVEN), truth)
    if not known.lesions:
        of = "" if site is None else " of this site"
        reason = f"no lesion{of} in the split {split.value} has {COLUMN_OF[card.name]} and an answer ({truth.value})"
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


def _print_site(made: "SiteScaled", site: str, truth: "Truth", fmt: Report) -> None:
    scale = made.card.sites[site]
    row: dict[str, Any] = {
        "name": made.card.name,
        "version": made.card.version,
        "site": site,
        "question": truth.value,
        "lesions": scale.lesions,
        "positives": scale.positives,
        "temperature": scale.temperature,
        "threshold": scale.threshold,
        "coverage": None if scale.conformal is None else scale.conformal.coverage,
        "quantile": None if scale.conformal is None else scale.conformal.quantile,
        "notice": made.card.notice or None,
    }
    if fmt is Report.JSON:
        print_json(row | {"before": asdict(made.before), "after": asdict(made.after)})
        return
    print_rows([row], SITE_COLUMNS, Format.TABLE, title="the site's own scale")
    points = (("the card's", made.before), ("the site's", made.after))
    rows = [
        {"threshold_of": whose, "threshold": at.threshold, "sensitivity": percent(at.sensitivity),
         "specificity": percent(at.specificity)} for whose, at in points
    ]  # fmt: skip
    print_rows(rows, POINT_COLUMNS, Format.TABLE, title="on these lesions, which the site's own was chosen on")


def _cells(name: str, sets: "Sets") -> dict[str, object]:
    from worker.evaluation.formatting import percent

    return {"lesions": name.replace("_", " "), **{part: percent(getattr(sets, part)) for part in SET_COLUMNS[1:]}}
