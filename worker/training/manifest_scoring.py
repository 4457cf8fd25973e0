"""The lesions of a manifest, scored by the models that are active, as the service scores them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from worker.clinical.categories import Priority
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.errors import LesionRefused
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source, pairs_of
from worker.inference.engine import Engine, load_engine
from worker.inference.model_card import ModelCard
from worker.study import Score, Scores
from worker.training.manifest_rows import AVERAGED, Reading, about_rules, mean_score, places_by_lesion

WAITING = 64
"""Images that are decoded and wait for the models at most."""


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


_Scored = tuple[ManifestRow, float, Scores]


def score_manifest(
    manifest: Manifest, split: Split, models_dir: Path, on_progress: Callable[[int, int], None], device: str = "cpu"
) -> ScoredManifest:
    """Score the rows that an evaluation needs, and put the rows of a lesion together.

    Where rows are of splits, those of ``train`` and of other splits are not scored.

    Args:
        manifest: its rows and its root.
        split: that is measured on; ``validation`` is scored too.
        models_dir: the registry's folder; the active versions are used, with their cards' thresholds.
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
    together = {
        name: [scored[at] for at in places] for name, places in places_by_lesion(row for row, *_ in scored).items()
    }
    lesions = tuple(_lesion(name, of_lesion, engine.cards) for name, of_lesion in together.items())
    cards = tuple(reversed(engine.cards))
    scorers = tuple(map(_scorer, cards))
    material = Material(
        source=Source.MANIFEST,
        lesions=lesions,
        scorers=scorers,
        pairs=pairs_of(scorers),
        left_out=dict(reading.left_out),
        notices=(*about_rules(cards), *(() if len(lesions) == len(scored) else (AVERAGED,))),
    )
    images = {name: tuple(row for row, *_ in of_lesion) for name, of_lesion in together.items()}
    return ScoredManifest(material, manifest.root, images)


def _score(engine: Engine, reading: Reading, on_progress: Callable[[int, int], None]) -> list[_Scored]:
    """The rows that were scored, in their order."""
    scored: list[_Scored] = []
    waiting: list[tuple[ManifestRow, float, Future[Scores]]] = []

    def take(count: int) -> None:
        for row, age, future in waiting[:count]:
            try:
                scored.append((row, age, future.result()))
            except LesionRefused as refused:
                reading.count(refused)
        del waiting[:count]

    for row, image in reading.images(on_progress):
        waiting.append((row, image.age.years, engine.submit(image, Priority.ROUTINE)))
        if len(waiting) >= WAITING:
            take(WAITING // 2)
    take(len(waiting))
    return scored


def _scorer(card: ModelCard) -> Scorer:
    return Scorer(card.name, card.version, card.threshold, card.notice or None)


def _lesion(name: str, scored: Sequence[_Scored], cards: tuple[ModelCard, ModelCard]) -> JudgedLesion:
    first = scored[0][0]
    lh, bm = cards
    said: dict[Scorer, Score] = {
        _scorer(bm): mean_score(bm, [scores.bm for *_, scores in scored]),
        _scorer(lh): mean_score(lh, [scores.lh for *_, scores in scored]),
    }
    return JudgedLesion(
        lesion_id=name,
        malignant=first.malignant is True,
        scores={one: score.positive_probability for one, score in said.items()},
        patient=first.patient_key,
        birads=first.birads,
        age_years=min(age for _, age, _ in scored),
        site=first.site,
        split=first.split,
        sets={one: score.conformal_set for one, score in said.items() if score.conformal_set is not None},
    )
