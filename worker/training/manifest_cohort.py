"""A manifest's lesions as a cohort to learn from: sound, split, with ages, and as the service would see them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from worker.dataset.check import Checked
from worker.dataset.lesion_facts import with_lesion_facts
from worker.dataset.manifest import Fault, Manifest, ManifestRow, Split
from worker.dataset.manifest_image import read_lesion
from worker.dataset.near_duplicates import Fingerprint
from worker.errors import Code, SetupRefused
from worker.imaging.jpeg_decoder import jpeg_decoder
from worker.inference.preprocess import pixels_for_each
from worker.training.ages import learns_on, require_telling_ages
from worker.training.calipers import painted_over
from worker.training.cohort import Cohort, CohortRow, OnProgress
from worker.training.config import TrainingConfig
from worker.training.labels import LabelRule

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def faults_of(checked: Checked, config: TrainingConfig) -> tuple[Fault, ...]:
    """Tell each row that speaks against training: what `check` found, no split, no age where that is not excluded."""
    faults = list(checked.faults)
    for line, row in checked.sound.items():
        if row.split is None:
            faults.append(Fault(line, Code.SPLIT_IMPOSSIBLE, "in no split: make splits with `dlr dataset split`"))
        if checked.ages[line] is None and config.needs_ages and config.missing_age == "refuse":
            reason = (
                "no age: give it, leave such rows out (--missing-age exclude), or train without it (--stages image)"
            )
            faults.append(Fault(line, Code.AGE_MISSING, reason))
    return tuple(sorted(faults, key=lambda fault: fault.line))


def require_ages(manifest: Manifest, rule: LabelRule, config: TrainingConfig) -> None:
    """Make sure, before an image is read, that the ages were not filled in, as far as the manifest tells.

    It tells nothing where rows without an age may be DICOM files, whose headers have one, or are refused anyway.

    Raises:
        SetupRefused: ``age_uninformative``.
    """
    rows = manifest.included
    ageless = [row for row in rows.values() if row.age_years is None]
    is_known = config.missing_age == "exclude" and all(_is_picture(row.image) for row in ageless)
    if is_known or not ageless:
        _require_telling_ages(rows, {line: row.age_years for line, row in rows.items()}, rule, config)


def require_ages_found(checked: Checked, rule: LabelRule, config: TrainingConfig) -> None:
    """Make sure of the same once headers were read too, before images are read to learn from.

    Raises:
        SetupRefused: ``age_uninformative``.
    """
    _require_telling_ages(checked.sound, checked.ages, rule, config)


def _require_telling_ages(
    rows: Mapping[int, ManifestRow], ages: Mapping[int, float | None], rule: LabelRule, config: TrainingConfig
) -> None:
    if config.needs_ages:
        known = [
            _row(row, split, ages[line])
            for line, row in with_lesion_facts(rows).items()
            if (split := _split(row, config)) is not None
        ]
        require_telling_ages(known, rule, learns_on(config))


def _is_picture(path: str) -> bool:
    return Path(path).suffix.lower() in _PICTURES


def manifest_cohort(checked: Checked, config: TrainingConfig, on_progress: OnProgress) -> Cohort:
    """Read the lesions of a manifest that `faults_of` has nothing against.

    Their order does not depend on that of the manifest's rows: what is drawn at random goes by it, and the digest of
    the data is the same in any order.

    Args:
        checked: the manifest, looked at.
        config: its preprocessing, fold, and what is done without an age.
        on_progress: told how many rows are read, and of how many.

    Raises:
        SetupRefused: ``split_impossible``: the manifest has folds and none is named, or not the one that is.
        LesionRefused: an image changed since it was looked at.
        Unavailable: ``storage_unavailable``.
    """
    splits, sound = _splits(checked, config), with_lesion_facts(checked.sound)
    ages = checked.ages
    taken = [line for line in splits if ages[line] is not None or not config.needs_ages]
    lines = sorted(taken, key=lambda line: _place_of(sound[line], checked.prints[line]))
    channels = 1 if config.channels == "gray" else 3
    pixels = np.empty((len(lines), channels, config.input_size, config.input_size), np.uint8)
    without_calipers = pixels.copy() if config.calipers else None
    rows = []
    for place, line in enumerate(lines):
        row = sound[line]
        lesion = read_lesion(checked.manifest.root, row)
        pixels[place] = pixels_for_each(lesion.frame, lesion.region, [config.preprocessing])[0]
        if without_calipers is not None:
            frame = painted_over(lesion.frame)
            without_calipers[place] = pixels_for_each(frame, lesion.region, [config.preprocessing])[0]
        rows.append(_row(row, splits[line], ages[line]))
        on_progress(place + 1, len(lines))
    left_out = Counter(row.excluded for row in checked.manifest.rows.values() if row.excluded is not None)
    if len(lines) < len(splits):
        left_out[str(Code.AGE_MISSING)] = len(splits) - len(lines)
    return Cohort(
        pixels,
        tuple(rows),
        checked.digest,
        "a manifest's lesions",
        jpeg_decoder=jpeg_decoder(),
        excluded=left_out,
        painted_over=without_calipers,
    )


def _place_of(row: ManifestRow, seen: Fingerprint) -> tuple[str, str, str]:
    # No two sound rows have the same: `check` calls them repeated. No path is in it: data that moved is the same.
    return row.patient_key, row.lesion_id, seen.pixels_sha256


def _row(row: ManifestRow, split: Split, age_years: float | None) -> CohortRow:
    malignant = row.malignant is True
    return CohortRow(row.lesion_id, row.patient_key, split, malignant, row.birads, age_years, row.site)


def _splits(checked: Checked, config: TrainingConfig) -> dict[int, Split]:
    """What each row is for: its split, and with folds the named one is the validation."""
    folds = {row.fold for row in checked.sound.values()} - {None}
    if folds and config.fold not in folds:
        raise SetupRefused(Code.SPLIT_IMPOSSIBLE, f"the manifest has folds 1 to {len(folds)}: name one by --fold")
    if config.fold is not None and not folds:
        raise SetupRefused(Code.SPLIT_IMPOSSIBLE, "--fold: the manifest has no folds")
    return {line: split for line, row in checked.sound.items() if (split := _split(row, config)) is not None}


def _split(row: ManifestRow, config: TrainingConfig) -> Split | None:
    return Split.VALIDATION if row.fold is not None and row.fold == config.fold else row.split
