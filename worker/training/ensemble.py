"""What held-out lesions say of an ensemble: the same figures as those of a training, of lesions no member learned from.

A member's own figures do not hold for the mean of several: docs/decisions/0059-an-ensemble-is-one-version.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np
import torch

from worker.dataset.manifest import Manifest, Split
from worker.errors import Code, ImagesRefused, SetupRefused
from worker.inference.entry import Entry
from worker.inference.model_card import ModelCard
from worker.inference.single_model import SingleModel
from worker.training.artefacts import metrics_by_site, metrics_of, scores_table
from worker.training.cohort import CohortRow
from worker.training.held_out import Judged, ScoredLesions, judged
from worker.training.labels import LabelRule, rule_on
from worker.training.manifest_rows import Reading, ReadLesion

_HELD_OUT = (Split.TEST, Split.EXTERNAL)
_NEITHER = "rows of neither class"


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a measurement.

    Attributes:
        card: with metrics, those of each site, and a reference.
        scores: the table of the held-out lesions, as `dlr evaluate --scores` reads it.
        left_out: how many rows were not scored, by the reason.
    """

    card: ModelCard
    scores: bytes
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Scored:
    row: CohortRow
    name: str
    images: int
    label: bool
    with_age: float | None
    image_only: float


def measured(entry: Entry, manifest: Manifest, on_progress: Callable[[int, int], None]) -> Measured:
    """Measure an ensemble at its threshold on the lesions of ``test``, and of ``external`` sites if there are any.

    Args:
        entry: the version; its weights are in its folder.
        manifest: whose held-out lesions no member learned from.
        on_progress: told how many rows are done, and of how many.

    Raises:
        ModelRefused: it is not sound, or its label rule is not known here.
        SetupRefused: ``split_impossible``: the manifest has no splits; ``lesions_too_few``: no lesion of a class is
            held out, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    card = entry.card
    if not manifest.has_splits:
        raise SetupRefused(Code.SPLIT_IMPOSSIBLE, "the manifest has no splits: make them with `dlr dataset split`")
    there = {row.split for row in manifest.included.values()}
    first, *others = [split for split in _HELD_OUT if split in there] or [Split.TEST]
    reading = Reading(manifest, first, *others, needs_ages=card.stage == "age")
    scored = list(_scored(entry, reading, rule_on(card), on_progress))
    of_split = {split: [one for one in scored if one.row.split is split] for split in (first, *others)}
    parts = {split: _together(those) for split, those in of_split.items() if those}
    if first not in parts or not 0 < int(parts[first].labels.sum()) < len(parts[first].labels):
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"{first} has no lesion of one class, or none that could be scored")
    found = judged(parts, card.threshold)
    return Measured(_with_figures(card, found), scores_table(found, card.name), reading.left_out)


def _scored(
    entry: Entry, reading: Reading, rule: LabelRule, on_progress: Callable[[int, int], None]
) -> Iterator[_Scored]:
    processor = torch.device("cpu")
    alone = SingleModel(entry, processor, image_only=True)
    whole = SingleModel(entry, processor) if entry.card.stage == "age" else None
    for lesion in reading.lesions(on_progress):
        row = _row(lesion)
        label = rule(row.birads, malignant=row.malignant)
        if label is None:
            reading.left_out[_NEITHER] += len(lesion.rows)
            continue
        try:
            with_age = None if whole is None else whole.score(lesion.images).score.positive_probability
            image_only = alone.score(lesion.images).score.positive_probability
        except ImagesRefused as refused:
            reading.count_lesion(refused, len(lesion.rows))
            continue
        yield _Scored(row, lesion.name, len(lesion.images), label, with_age, image_only)


def _row(lesion: ReadLesion) -> CohortRow:
    first, years = lesion.rows[0], lesion.images[0].age.years
    age = None if isnan(years) else years
    split = first.split or Split.TEST
    return CohortRow(first.lesion_id, first.patient_key, split, first.malignant is True, first.birads, age, first.site)


def _together(scored: list[_Scored]) -> ScoredLesions:
    with_age = [one.with_age for one in scored if one.with_age is not None]
    return ScoredLesions(
        names=tuple(one.name for one in scored),
        rows=tuple(one.row for one in scored),
        images=np.array([one.images for one in scored], np.int64),
        labels=np.array([one.label for one in scored], np.bool_),
        with_age=np.array(with_age, np.float64) if with_age else None,
        image_only=np.array([one.image_only for one in scored], np.float64),
    )


def _with_figures(card: ModelCard, found: Judged) -> ModelCard:
    figures = {
        "metrics": metrics_of(found, card.notice),
        "metrics_by_site": metrics_by_site(found),
        "reference": found.reference,
    }
    return card.model_copy(update=figures)
