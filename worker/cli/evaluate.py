"""``dlr evaluate``: how good the models are on lesions with known pathology. Missed cancers come first."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.evaluate_rows import (
    RATES,
    auc_row,
    calibration_rows,
    compared_rows,
    point_rows,
    site_rows,
    views_rows,
)
from worker.cli.lesion_options import (
    BmThresholdOption,
    ImageOnlyOption,
    LhThresholdOption,
    ManifestOption,
    ReportFolderOption,
    RootOption,
    SkipBadOption,
    refuse_other_sources,
)
from worker.cli.monitor import SinceOption
from worker.cli.output import Card, Format, Report, ReportOption, print_json, print_rows, say, stdout
from worker.cli.progress import progress_bar
from worker.cli.refusals import refuse_bad_rows, refuse_without, scored_manifest
from worker.dataset.finding import Finding
from worker.dataset.manifest import Split
from worker.errors import Code
from worker.evaluation.evaluation_options import RESAMPLES, SEED, SENSITIVITY, Choice, Options
from worker.extras import require_extra

if TYPE_CHECKING:
    from worker.dataset.manifest import Fault
    from worker.evaluation.document import Evaluation
    from worker.evaluation.examples import Shown
    from worker.evaluation.lesions import Material
    from worker.evaluation.restratification import Restratification
    from worker.training.manifest_scoring import ScoredManifest

EXIT_LOOK = 3
MOST_SHOWN = 500

ARM_COLUMNS = ("advice", "lesions", "in_the_study", "malignant", "malignant_in_the_study")
CANCER_COLUMNS = ("lesion_id", "high_risk_probability", "malignant_probability")
AUC_COLUMNS = ("question", "model", "lesions", "positives", "auc", "logit_interval", "bootstrap", "notice")
COMPARED_COLUMNS = ("question", "first", "second", "lesions", "first_less_second", "p_value")
POINT_COLUMNS = ("question", "model", "threshold", "chosen", *RATES)
POINT_CARD = Card(POINT_COLUMNS[:2], POINT_COLUMNS[2:])
LEFT_OUT_COLUMNS = ("left_out", "how_many")
VIEWS_COLUMNS = ("question", "model", "views_disagree", "mean_spread")
SITE_COLUMNS = ("question", "model", "site", "lesions", "positives", "auc", "sensitivity", "specificity")
SITE_CARD = Card(SITE_COLUMNS[:3], SITE_COLUMNS[3:])
CALIBRATION_COLUMNS = ("model", "probabilities", "brier", "ece", "log_loss")


def evaluate(
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table of lesions with scores, CSV or JSON (docs/model-owner.md)"),
    ] = None,
    manifest: ManifestOption = None,
    from_database: Annotated[
        bool, typer.Option("--from-database", help="Lesions on record that have a pathology result")
    ] = False,
    output: ReportFolderOption = None,
    lh_threshold: LhThresholdOption = None,
    bm_threshold: BmThresholdOption = None,
    choose: Annotated[Choice, typer.Option(help="How to choose a threshold where none is known")] = Choice.YOUDEN,
    sensitivity: Annotated[
        float, typer.Option(min=0.01, max=1, help="Sensitivity to reach with --choose sensitivity")
    ] = SENSITIVITY,
    split: Annotated[Split, typer.Option(help="Split to evaluate on, where lesions have one")] = Split.TEST,
    root: RootOption = None,
    since: SinceOption = None,
    skip_bad: SkipBadOption = False,
    exclude_finding: ExcludeFindingOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME/]VERSION", help="With --manifest: this version, not the active ones; repeatable"),
    ] = None,
    image_only: ImageOnlyOption = False,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Bootstrap resamples; 0 for no bootstrap")
    ] = RESAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap")] = SEED,
    grad_cam: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_SHOWN,
            metavar="N",
            help="With --manifest and --output: add Grad-CAM heat maps of N lesions to the report",
        ),
    ] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Evaluate the active models on lesions with known pathology: a table of scores, a manifest, or the database.

    Lists first the cancers that the models advise down to BI-RADS 3. Exit status 3: there are some, or bad rows were
    left out. 1: a row is bad, and nothing was evaluated.
    """
    refuse_other_sources(scores, manifest, root, since, from_database=from_database)
    refuse_without("--grad-cam", grad_cam, "--manifest, for its images", manifest)
    refuse_without("--grad-cam", grad_cam, "--output, for a report to put pictures in", output)
    refuse_without("--exclude-finding", exclude_finding, "--manifest", manifest)
    refuse_without("--model", model, "--manifest", manifest)
    refuse_without("--image-only", image_only or None, "--manifest", manifest)
    if grad_cam is not None and (image_only or model):
        raise typer.BadParameter("the heat maps are of the active models' scores", param_hint="--grad-cam")
    require_extra("train", "dlr evaluate", "sklearn")
    from worker.evaluation.evaluation import evaluate as evaluated

    if output is not None:
        from worker.evaluation.report_folder import check_writable

        check_writable(output)
    material, bad, images = _material(
        scores, manifest, root, since, split, exclude_finding, model, skip_bad=skip_bad, image_only=image_only
    )
    options = Options(lh_threshold, bm_threshold, choose, sensitivity, split, resamples, seed)
    found = evaluated(material, options)
    if output is not None:
        _write(found, output, () if images is None else _shown(images, found, split, grad_cam or 0))
    _print(found, fmt)
    raise typer.Exit(EXIT_LOOK if found.missed_cancers or bad else 0)


def _material(
    scores: Path | None,
    manifest: Path | None,
    root: Path | None,
    since: datetime | None,
    split: Split,
    excluding: Sequence[Finding] | None,
    versions: Sequence[str] | None,
    *,
    skip_bad: bool,
    image_only: bool,
) -> "tuple[Material, Sequence[Fault], ScoredManifest | None]":
    """Return the lesions, the bad rows, and of a manifest the images."""
    if scores is not None:
        from worker.evaluation.scores_file import read_scores

        read = read_scores(scores)
        refuse_bad_rows(read.bad, Code.SCORES_INVALID, "evaluated", skip_bad=skip_bad)
        return read.material, read.bad, None
    if manifest is not None:
        scored, faults = scored_manifest(
            manifest, root, split, "evaluated", excluding, versions, skip_bad=skip_bad, image_only=image_only
        )
        return scored.material, faults, scored
    from worker.evaluation.recorded_lesions import from_database
    from worker.runtime import sessions

    with sessions()() as session:
        return from_database(session, since), (), None


def _shown(images: "ScoredManifest", found: "Evaluation", split: Split, count: int) -> "tuple[Shown, ...]":
    """Make the pictures of as many lesions: one at a time, since each takes a pass of both models and back."""
    if not count:
        return ()
    from worker.evaluation.evaluation import set_apart
    from worker.evaluation.examples import examples_of
    from worker.settings import get_settings
    from worker.training.heat_maps import look_at

    tested, _ = set_apart(images.material.lesions, split)
    with progress_bar("heat maps") as on_progress:
        return look_at(
            examples_of(tested, found, count), images.rows, images.root, get_settings().models_dir, on_progress
        )


def _write(found: "Evaluation", output: Path, shown: "Sequence[Shown]") -> None:
    from worker.evaluation.html_report import write_report
    from worker.evaluation.report_folder import REPORT_FILE

    write_report(found, output, shown)
    say(f"written: {output / REPORT_FILE}")


def _print(found: "Evaluation", fmt: Report) -> None:
    if fmt is Report.JSON:
        from worker.evaluation.document import as_plain

        print_json(as_plain(found))
        return
    for one in found.restratifications:
        _print_restratification(one)
    for notice in found.notices:
        stdout.print(f"note: {notice}", markup=False, highlight=False)
    left_out = [{"left_out": reason, "how_many": count} for reason, count in found.cohort.left_out.items()]
    if left_out:
        print_rows(left_out, LEFT_OUT_COLUMNS, Format.TABLE, title="left out")
    judged = [(question.truth.value, one) for question in found.questions for one in question.judged]
    print_rows(
        [auc_row(*one) for one in judged],
        AUC_COLUMNS,
        Format.TABLE,
        "area under the ROC curve",
        Card(AUC_COLUMNS[:2], AUC_COLUMNS[2:]),
    )
    by_site = [row for one in judged for row in site_rows(*one)]
    if by_site:
        print_rows(by_site, SITE_COLUMNS, Format.TABLE, "the same by site", SITE_CARD)
    print_rows(compared_rows(found), COMPARED_COLUMNS, Format.TABLE, title="models compared (DeLong)")
    points = [row for one in judged for row in point_rows(*one)]
    print_rows(points, POINT_COLUMNS, Format.TABLE, "at a threshold, with Wilson's 95 % intervals", POINT_CARD)
    if several := views_rows(found):
        print_rows(several, VIEWS_COLUMNS, Format.TABLE, title="lesions on several images")
    calibrations = [row for _, one in judged for row in calibration_rows(one)]
    print_rows(calibrations, CALIBRATION_COLUMNS, Format.TABLE, title="calibration")


def _print_restratification(one: "Restratification") -> None:
    from worker.evaluation import formatting

    models = f"LH {one.lh_version}, BM {one.bm_version}"
    if one.missed_cancers:
        missed = formatting.percent(one.missed)
        said = f"ALERT downgraded_cancer: {missed} of the malignant 4A lesions advised down ({models})"
        stdout.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
        cancers = [
            {
                "lesion_id": cancer.lesion_id,
                "high_risk_probability": formatting.said(cancer.high_risk_probability, one.lh_threshold),
                "malignant_probability": formatting.said(cancer.malignant_probability, one.bm_threshold),
            }
            for cancer in one.missed_cancers
        ]
        print_rows(cancers, CANCER_COLUMNS, Format.TABLE, title="missed cancers")
    elif one.missed.total:
        stdout.print(f"missed cancers: {formatting.percent(one.missed)} ({models})", markup=False, highlight=False)
    else:
        stdout.print(
            f"missed cancers: {formatting.NO_CANCERS} ({models})", markup=False, highlight=False, soft_wrap=True
        )
    rows = [
        {
            "advice": formatting.ADVICE[arm.outcome],
            "lesions": formatting.percent(arm.share),
            "in_the_study": formatting.study_share(arm.outcome),
            "malignant": formatting.percent(arm.malignant),
            "malignant_in_the_study": formatting.study_malignant(arm.outcome),
        }
        for arm in one.arms
    ]
    print_rows(rows, ARM_COLUMNS, Format.TABLE, title=f"re-stratification of BI-RADS 4A ({models})")
    if one.uncertain.count:
        said = f"kept in 4A because a model is not certain: {formatting.percent(one.uncertain)}"
        stdout.print(said, markup=False, highlight=False)
    stdout.print(f"benign 4A lesions spared a biopsy: {formatting.percent(one.spared)}", markup=False, highlight=False)
