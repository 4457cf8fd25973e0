"""What several commands refuse alike: options that go together, bad rows, lesions that a model learned from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from worker.cli.bad_rows import folded
from worker.cli.output import say
from worker.cli.progress import progress_bar
from worker.dataset.finding import Finding
from worker.dataset.manifest import Fault, Manifest, Split
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.inference.model_card import MODEL_NAMES, ModelCard
from worker.inference.registry import Registry

if TYPE_CHECKING:
    from worker.dataset.check import Checked
    from worker.training.manifest_scoring import ScoredManifest


def refuse_without(option: str, given: object, needed: str, there: object) -> None:
    """Refuse an option that would say nothing without another.

    Raises:
        typer.BadParameter: it is given, and the other is not there.
    """
    if given is not None and there is None:
        raise typer.BadParameter(f"needs {needed}", param_hint=option)


def refuse_bad_rows(bad: Sequence[Fault], code: Code, done: str, *, skip_bad: bool | None = None) -> None:
    """List the bad rows of a file by their lines, and stop unless they are to be left out.

    Args:
        bad: in their order.
        code: of the refusal.
        done: what was not done because of them, such as ``evaluated``.
        skip_bad: they are to be left out; ``None``: the command leaves none out.

    Raises:
        SetupRefused: ``code``; there are some, and they are not to be left out.
    """
    for one in folded(bad):
        where = f"line {one.line}" if one.rows == 1 else f"{one.rows} rows, lines {one.line}"
        say(f"{where}: {one.code}: {one.reason}")
    if bad and not skip_bad:
        otherwise = "" if skip_bad is None else " or use --skip-bad"
        rows = len({fault.line for fault in bad})
        raise SetupRefused(code, f"{rows} rows are bad, so nothing was {done}: fix them{otherwise}")


def sound_manifest(
    path: Path, root: Path | None, done: str, excluding: Sequence[Finding] | None = None, *, skip_bad: bool
) -> Manifest:
    """Read a manifest, look at every row as `dlr dataset validate` does, and stop unless bad ones are to be left out.

    Args:
        path: the manifest's.
        root: what its paths are relative to; its folder, unless it is given.
        done: what is not done because of bad rows.
        excluding: quality findings by which rows are excluded too.
        skip_bad: they are to be left out.

    Returns:
        The manifest without its bad rows, which are its faults.

    Raises:
        SetupRefused: ``dataset_invalid``: it cannot be read, or rows are bad and not to be left out.
        Unavailable: ``storage_unavailable``.
    """
    return checked_manifest(path, root, done, excluding, skip_bad=skip_bad).without_bad


def checked_manifest(
    path: Path,
    root: Path | None,
    done: str,
    excluding: Sequence[Finding] | None = None,
    *,
    skip_bad: bool | None = None,
) -> "Checked":
    """As `sound_manifest`, with all that the look found; without ``skip_bad`` no row is ever left out."""
    from worker.dataset.check import check
    from worker.dataset.manifest_file import read_manifest

    read = read_manifest(path, root)
    with progress_bar("checking rows") as on_progress:
        checked = check(read, on_progress=on_progress, excluding=excluding or ())
    refuse_bad_rows(checked.faults, Code.DATASET_INVALID, done, skip_bad=skip_bad)
    return checked


def scored_manifest(
    path: Path,
    root: Path | None,
    split: Split,
    done: str,
    excluding: Sequence[Finding] | None = None,
    versions: Sequence[str] | None = None,
    *,
    skip_bad: bool,
    image_only: bool = False,
) -> "tuple[ScoredManifest, Sequence[Fault]]":
    """Score a manifest's lesions; return them and the bad rows, which were left out.

    Args:
        path: the manifest's.
        root: as for `sound_manifest`, and ``done``, ``excluding`` and ``skip_bad`` too.
        split: to score.
        done: what is not done because of bad rows.
        versions: ``VERSION`` or ``NAME/VERSION``, to score with; the active ones, unless any is given.
        skip_bad: they are to be left out.
        image_only: score by FC2, which needs no age.
    """
    from worker.settings import get_settings

    require_extra("worker", "--manifest")
    models_dir = get_settings().models_dir
    registry = Registry(models_dir)
    entries = [entry for version in versions or () for entry in registry.named(version)]
    if image_only and not entries:
        entries = [registry.active(name) for name in MODEL_NAMES]
    sound = sound_manifest(path, root, done, excluding, skip_bad=skip_bad)
    with progress_bar("lesions") as on_progress:
        if entries:
            from worker.training.manifest_by_version import score_versions

            return score_versions(sound, split, entries, on_progress, image_only=image_only), sound.faults
        from worker.training.manifest_scoring import score_manifest

        return score_manifest(sound, split, models_dir, on_progress), sound.faults


def refuse_learned(split: Split, *cards: ModelCard) -> None:
    """Refuse a split that a model learned from, as far as it is known.

    Raises:
        typer.BadParameter: it is ``train``; or ``validation``, and by a card the classifier with age
            learned from it, or that of the weights that the training started from.
    """
    if split is Split.TRAIN:
        raise typer.BadParameter("a model was trained on this split", param_hint="--split")
    for card in cards:
        if split is Split.VALIDATION and _learned_on_validation(card.trainings):
            own = _learned_on_validation([network.training for network in card.members or (card,)])
            whose = (
                f"{card.name} {card.version}" if own else f"the weights that {card.name} {card.version} started from"
            )
            raise typer.BadParameter(f"the age classifier of {whose} was trained on this split", param_hint="--split")


def _learned_on_validation(trainings: Iterable[Mapping[str, int | float | str]]) -> bool:
    """Say whether a second stage of `dlr train` did, in any network or before it; with joint stages there is none."""
    return any(
        made.get("stages") != "joint" and made.get("age_learns_on") in ("validation", "both") for made in trainings
    )
