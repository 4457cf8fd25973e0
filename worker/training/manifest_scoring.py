"""The lesions of a manifest, scored by the models that are active, as the service scores them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from worker.clinical.categories import Priority
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.errors import ImagesRefused, LesionRefused
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source, pairs_of
from worker.inference.engine import Engine
from worker.inference.loading import load_engine
from worker.inference.model_card import ModelCard
from worker.study import Scores
from worker.training.manifest_rows import Reading, ReadLesion, about_images, about_rules

WAITING = 64
"""Lesions whose images are decoded and wait for the models at most."""


@dataclass(frozen=True, slots=True)
class ScoredManifest:
    """What became of a manifest.

    Attributes:
        material: its lesions with their scores.
        root: what its paths are relative to, resolved.
        rows: those that were scored, by the name of their lesion in the material.
    """

    material: Material
    root: Path
    rows: Mapping[str, tuple[ManifestRow, ...]]


_Scored = tuple[ReadLesion, Scores]


def score_manifest(
    manifest: Manifest, split: Split, models_dir: Path, on_progress: Callable[[int, int], None], device: str = "cpu"
) -> ScoredManifest:
    """Score the lesions that an evaluation needs, each by all of its rows.

    Where rows are of splits, those of ``train`` and of other splits are not scored.

    Args:
        manifest: its rows and its root.
        split: that is measured on; ``validation`` is scored too.
        models_dir: the registry's folder; the active versions are used, as their cards say.
        on_progress: told how many rows are done, and of how many.
        device: as `load_engine` takes it.

    Raises:
        ModelRefused: a model is not active, or is not sound.
        SetupRefused: ``lesions_too_few``: no row is of the split, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    reading = Reading(manifest, split, Split.VALIDATION)
    engine = load_engine(models_dir, device, None, 0)
    try:
        scored = _score(engine, reading, on_progress)
    finally:
        engine.close()
    if not scored:
        raise reading.refusal()
    lesions = tuple(_lesion(*one, engine.cards) for one in scored)
    cards = tuple(reversed(engine.cards))
    scorers = tuple(map(_scorer, cards))
    several = (about_images(cards),) if any(len(scores.images) > 1 for _, scores in scored) else ()
    material = Material(
        source=Source.MANIFEST,
        lesions=lesions,
        scorers=scorers,
        pairs=pairs_of(scorers),
        left_out=dict(reading.left_out),
        notices=(*about_rules(cards), *several),
    )
    return ScoredManifest(material, manifest.root, {one[0].name: _scored_rows(*one) for one in scored})


def _score(engine: Engine, reading: Reading, on_progress: Callable[[int, int], None]) -> list[_Scored]:
    """The lesions that were scored, in their order."""
    scored: list[_Scored] = []
    waiting: list[tuple[ReadLesion, Future[Scores]]] = []

    def take(count: int) -> None:
        for lesion, future in waiting[:count]:
            try:
                scores = future.result()
            except ImagesRefused as refused:
                reading.count_lesion(refused, len(lesion.rows))
                continue
            scored.append((lesion, scores))
            for one in scores.images:
                if isinstance(one, LesionRefused):
                    reading.count(one)
        del waiting[:count]

    for lesion in reading.lesions(on_progress):
        waiting.append((lesion, engine.submit(lesion.images, Priority.ROUTINE)))
        if len(waiting) >= WAITING:
            take(WAITING // 2)
    take(len(waiting))
    return scored


def _scored_rows(lesion: ReadLesion, scores: Scores) -> tuple[ManifestRow, ...]:
    both = zip(lesion.rows, scores.images, strict=True)
    return tuple(row for row, one in both if not isinstance(one, LesionRefused))


def _scorer(card: ModelCard) -> Scorer:
    return Scorer(card.name, card.version, card.threshold, card.notice or None)


def _lesion(lesion: ReadLesion, scores: Scores, cards: tuple[ModelCard, ModelCard]) -> JudgedLesion:
    first = lesion.rows[0]
    lh, bm = map(_scorer, cards)
    said = {bm: scores.bm, lh: scores.lh}
    images = scores.scored_images
    return JudgedLesion(
        lesion_id=lesion.name,
        malignant=first.malignant is True,
        scores={one: score.positive_probability for one, score in said.items()},
        patient=first.patient_key,
        birads=first.birads,
        age_years=min(image.age.years for image in lesion.images),
        site=first.site,
        split=first.split,
        sets={one: score.conformal_set for one, score in said.items() if score.conformal_set is not None},
        images=len(images),
        thresholds={one: score.threshold for one, score in said.items() if score.threshold != one.threshold},
        image_scores={bm: tuple(one.bm for one in images), lh: tuple(one.lh for one in images)},
    )
