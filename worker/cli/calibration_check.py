"""``dlr models calibrate --check``: whether a version's probabilities and conformal sets hold on a manifest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from worker.cli.output import Format, Report, print_json, print_rows, say
from worker.cli.progress import progress_bar
from worker.cli.proportion_cells import percent
from worker.cli.refusals import checked_manifest, refuse_learned
from worker.clinical.proportions import proportion
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.inference.calibration_checks import Check, Part, Shortfall, keep
from worker.inference.registry import Registry
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.dataset.finding import Finding
    from worker.dataset.manifest import Manifest
    from worker.evaluation.ground_truth import Truth
    from worker.evaluation.lesions import Material
    from worker.inference.entry import Entry

EXIT_SHORT = 3
PART_COLUMNS = (
    "site", "lesions", "positives", "mean_probability", "observed", "brier", "ece", "covered", "promised", "short",
)  # fmt: skip
NOT_SPLIT = "no row has a split, so all are used: make sure that the model was trained on none of them"
OF_AGE = (
    "{name}: temperature and conformal set, where its card has them, are of the score with age: the temperature is "
    "used all the same, and coverage is not measured"
)


def check_on_manifest(
    model: str,
    path: Path,
    root: Path | None,
    split: Split,
    excluding: "Sequence[Finding] | None",
    fmt: Report,
    *,
    by_pathology: bool,
    image_only: bool,
) -> None:
    """Check one version on a manifest, print it, and keep the outcome beside the version.

    A version of the image stage is always checked by the image alone.

    Raises:
        typer.Exit: with 3, where coverage falls short.
        ModelRefused: ``model_not_found``; it is not sound.
        SetupRefused: ``dataset_invalid``; ``lesions_too_few``.
        typer.BadParameter: versions of both models are meant; or what it learned is not what it would be held against.
    """
    require_extra("worker", "--check")
    entry = _entry(model, by_pathology=by_pathology)
    image_only = image_only or entry.card.stage == "image"
    refuse_learned(split)
    found = checked_manifest(path, root, "checked", excluding)
    has_splits = found.without_bad.has_splits
    if has_splits:
        refuse_learned(split, entry.card)
    with progress_bar("lesions") as on_progress:
        from worker.evaluation.calibration_check import checked
        from worker.evaluation.ground_truth import OWN, Truth
        from worker.training.manifest_by_version import score_versions

        scored = score_versions(found.without_bad, split, [entry], on_progress, image_only=image_only, also=()).material
        truth = Truth.PATHOLOGY if by_pathology else OWN[entry.card.name]
        of_split = split if has_splits else None
        check = checked(
            entry.card, scored.scorers[0], scored.lesions, truth, found.digest, of_split, image_only=image_only
        )
    if check is None:
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no lesion has a score and a known answer ({truth.value})")
    keep(check, entry.folder)
    _print(check, entry, _rows_of(found.without_bad, scored, truth), fmt)
    for note in _notes(check, entry):
        say(f"note: {note}")
    for warning in shortfalls(Shortfall(check, *short) for short in check.short.items()):
        say(f"warning: {warning}")
    raise typer.Exit(EXIT_SHORT if check.short else 0)


def shortfalls(found: Iterable[Shortfall]) -> Iterator[str]:
    """Say where checks found that coverage falls short, a sentence each."""
    for check, site, covered in found:
        where = f"of all lesions of manifest {check.data_digest[:12]}" if site is None else f"at {site}"
        by = " by the image alone" if check.image_only else ""
        held = percent(proportion(covered.count, covered.lesions))
        yield (
            f"checked {check.at:%Y-%m-%d}{by} against {check.truth}, {where}: the conformal sets hold the true class "
            f"of {held}, and {covered.promised:.1%} was promised. Calibrate on lesions like these (dlr models "
            "calibrate --coverage)"
        )


def _notes(check: Check, entry: "Entry") -> Iterator[str]:
    from worker.training.manifest_rows import about_the_image_alone

    card = entry.card
    if check.image_only:
        yield from about_the_image_alone([card], by_card=False)
        if card.stage == "age":
            yield OF_AGE.format(name=f"{card.name} {card.version}")
    if check.split is None:
        yield NOT_SPLIT


@dataclass(frozen=True, slots=True)
class _Rows:
    """What became of a manifest's rows: ``scored`` ones were counted, and all others were left out, by the reason."""

    total: int
    scored: int
    left_out: Mapping[str, int]


def _rows_of(manifest: "Manifest", scored: "Material", truth: "Truth") -> _Rows:
    from worker.evaluation.ground_truth import is_positive

    known = sum(one.images or 0 for one in scored.lesions if is_positive(one, truth) is not None)
    unknown = sum(one.images or 0 for one in scored.lesions) - known
    left_out = {**scored.left_out, f"rows without an answer ({truth.value})": unknown}
    return _Rows(len(manifest.rows), known, {reason: count for reason, count in left_out.items() if count})


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


def _print(check: Check, entry: "Entry", of: _Rows, fmt: Report) -> None:
    card = entry.card
    if fmt is Report.JSON:
        said = {
            "name": card.name,
            "version": card.version,
            "notice": card.notice or None,
            "rows": of.total,
            "rows_scored": of.scored,
            "left_out": of.left_out,
        }
        print_json(said | check.model_dump(mode="json") | {"short": [site or "all" for site in check.short]})
        return
    rows = [_row(site, part) for site, part in {"all": check.pooled, **check.sites}.items()]
    by = " by the image alone" if check.image_only else ""
    title = f"{card.name} {card.version}{by}, held against {check.truth}" + (f" ({card.notice})" if card.notice else "")
    print_rows(rows, PART_COLUMNS, Format.TABLE, title=title)
    say(f"scored: {of.scored} of {of.total} rows")
    for reason, count in of.left_out.items():
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
