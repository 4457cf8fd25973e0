"""``dlr models calibrate --check``: whether a version's probabilities and conformal sets hold on a manifest."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.output import Format, Report, print_json, print_rows, say
from worker.cli.progress import progress_bar
from worker.cli.proportion_cells import percent
from worker.cli.refusals import checked_manifest, refuse_learned
from worker.clinical.proportions import proportion
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.inference.calibration_checks import Check, Part, keep
from worker.inference.registry import Registry
from worker.settings import get_settings

if TYPE_CHECKING:
    from db.schema.vocabulary import QualityFinding
    from worker.inference.entry import Entry

EXIT_SHORT = 3
PART_COLUMNS = (
    "site", "lesions", "positives", "mean_probability", "observed", "brier", "ece", "covered", "promised", "short",
)  # fmt: skip
NOT_SPLIT = "no row has a split, so all are used: make sure that the model was trained on none of them"


def check_on_manifest(
    model: str,
    path: Path,
    root: Path | None,
    split: Split,
    excluding: "Sequence[QualityFinding] | None",
    fmt: Report,
    *,
    by_pathology: bool,
) -> None:
    """Check one version on a manifest, print it, and keep the outcome beside the version.

    Raises:
        typer.Exit: with 3, where coverage falls short.
        ModelRefused: ``model_not_found``, ``model_image_only``; it is not sound.
        SetupRefused: ``dataset_invalid``; ``lesions_too_few``.
        typer.BadParameter: versions of both models are meant; or what it learned is not what it would be held against.
    """
    require_extra("worker", "--check")
    entry = _entry(model, by_pathology=by_pathology)
    refuse_learned(split)
    found = checked_manifest(path, root, "checked", excluding)
    has_splits = found.without_bad.has_splits
    if has_splits:
        refuse_learned(split, entry.card)
    with progress_bar("lesions") as on_progress:
        from worker.evaluation.calibration_check import checked
        from worker.evaluation.evaluation import set_apart
        from worker.evaluation.ground_truth import OWN, Truth
        from worker.training.manifest_by_version import score_versions

        scored = score_versions(found.without_bad, split, [entry], on_progress, image_only=False).material
        tested, _ = set_apart(scored.lesions, split)
        truth = Truth.PATHOLOGY if by_pathology else OWN[entry.card.name]
        of_split = split if has_splits else None
        check = checked(entry.card, scored.scorers[0], tested, truth, found.digest, of_split)
    if check is None:
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no lesion has a score and a known answer ({truth.value})")
    keep(check, entry.folder)
    _print(check, entry, scored.left_out, fmt)
    if not has_splits:
        say(f"note: {NOT_SPLIT}")
    for warning in shortfalls(check):
        say(f"warning: {warning}")
    raise typer.Exit(EXIT_SHORT if check.short else 0)


def shortfalls(check: Check | None) -> Iterator[str]:
    """Say where a check found that coverage falls short, a sentence each."""
    if check is None:
        return
    for site, covered in check.short.items():
        where = "of all lesions" if site is None else f"at {site}"
        held = percent(proportion(covered.count, covered.lesions))
        yield (
            f"checked {check.at:%Y-%m-%d}, {where}: the conformal sets hold the true class of {held}, and "
            f"{covered.promised:.1%} was promised. Calibrate on lesions like these (dlr models calibrate --coverage)"
        )


def _entry(model: str, *, by_pathology: bool) -> "Entry":
    from worker.training.labels import other_rule

    found = Registry(get_settings().models_dir).named(model)
    if len(found) > 1:
        raise typer.BadParameter(f"both models have it: DLR_LH/{model} or DLR_BM/{model}", param_hint="CARD")
    [entry] = found
    rule = other_rule(entry.card)
    if rule is not None and not by_pathology:
        said = f"the card's label rule is not the study's but {rule}: check it against pathology"
        raise typer.BadParameter(said, param_hint="--by-pathology")
    return entry


def _print(check: Check, entry: "Entry", left_out: Any, fmt: Report) -> None:
    card = entry.card
    if fmt is Report.JSON:
        counted = {reason: count for reason, count in left_out.items() if count}
        said = {"name": card.name, "version": card.version, "notice": card.notice or None, "left_out": counted}
        print_json(said | check.model_dump(mode="json") | {"short": [site or "all" for site in check.short]})
        return
    rows = [_row(site, part) for site, part in {"all": check.pooled, **check.sites}.items()]
    title = f"{card.name} {card.version}, held against {check.truth}" + (f" ({card.notice})" if card.notice else "")
    print_rows(rows, PART_COLUMNS, Format.TABLE, title=title)
    for reason, count in left_out.items():
        if count:
            say(f"left out: {count} {reason}")


def _row(site: str, part: Part) -> dict[str, object]:
    covered = part.covered
    return {
        "site": site,
        "lesions": part.lesions,
        "positives": part.positives,
        "mean_probability": part.mean_probability,
        "observed": part.observed,
        "brier": part.brier,
        "ece": part.expected_calibration_error,
        "covered": None if covered is None else percent(proportion(covered.count, covered.lesions)),
        "promised": None if covered is None else covered.promised,
        "short": None if covered is None else covered.is_short,
    }
