"""The lesions of a manifest, scored by versions that need not be active, with age or by the image alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan

import torch

from worker.dataset.manifest import Manifest, Split
from worker.errors import ImagesRefused, LesionRefused
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source, pairs_of
from worker.inference.entry import Entry
from worker.inference.model_card import ModelCard
from worker.inference.single_model import SingleModel
from worker.study import LesionScore
from worker.training.manifest_rows import Reading, ReadLesion, about_images, about_rules, about_the_image_alone
from worker.training.manifest_scoring import ScoredManifest


def score_versions(
    manifest: Manifest,
    split: Split,
    entries: Sequence[Entry],
    on_progress: Callable[[int, int], None],
    *,
    image_only: bool,
    also: Sequence[Split] = (Split.VALIDATION,),
) -> ScoredManifest:
    """Score the lesions that an evaluation needs, as each version's card says, in float32 on the processor.

    Args:
        manifest: its rows and its root.
        split: that is measured on.
        entries: the versions, one at least.
        on_progress: told how many rows are done, and of how many.
        image_only: by FC2, which needs no age. Then nothing advises, and the threshold of a version that is not of the
            image stage alone is chosen, since its card's is that of the score with age.
        also: other splits that are scored too; thresholds are chosen on ``validation``.

    Raises:
        ModelRefused: a version is not sound, or ``model_image_only``.
        SetupRefused: ``lesions_too_few``: no row is of the split, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    reading = Reading(manifest, split, *also, needs_ages=not image_only)
    models = {
        _scorer(entry.card, image_only=image_only): SingleModel(entry, torch.device("cpu"), image_only=image_only)
        for entry in entries
    }
    scored = [(lesion, _scores(models, lesion, reading)) for lesion in reading.lesions(on_progress)]
    lesions = {lesion.name: (lesion, said) for lesion, said in scored if said}
    if not lesions:
        raise reading.refusal()
    return ScoredManifest(
        Material(
            source=Source.MANIFEST,
            lesions=tuple(_lesion(*one) for one in lesions.values()),
            scorers=tuple(models),
            pairs=() if image_only else pairs_of(tuple(models)),
            left_out=dict(reading.left_out),
            notices=tuple(_notices([entry.card for entry in entries], reading, image_only=image_only)),
        ),
        manifest.root,
        {name: lesion.rows for name, (lesion, _) in lesions.items()},
    )


def _scorer(card: ModelCard, *, image_only: bool) -> Scorer:
    of_another_score = image_only and card.stage == "age"
    return Scorer(card.name, card.version, None if of_another_score else card.threshold, card.notice or None)


def _scores(models: Mapping[Scorer, SingleModel], lesion: ReadLesion, reading: Reading) -> dict[Scorer, LesionScore]:
    said: dict[Scorer, LesionScore] = {}
    for scorer, model in models.items():
        try:
            said[scorer] = model.score(lesion.images)
        except ImagesRefused as refused:
            reading.count_lesion(refused, len(lesion.rows), model.card)
            continue
        for one in said[scorer].images:
            if isinstance(one, LesionRefused):
                reading.count(one, model.card)
    return said


def _lesion(lesion: ReadLesion, said: Mapping[Scorer, LesionScore]) -> JudgedLesion:
    first, ages = lesion.rows[0], [image.age.years for image in lesion.images if not isnan(image.age.years)]
    by_image = {
        one: tuple(image for image in found.images if not isinstance(image, LesionRefused))
        for one, found in said.items()
    }
    return JudgedLesion(
        lesion_id=lesion.name,
        malignant=first.malignant is True,
        scores={one: found.score.positive_probability for one, found in said.items()},
        patient=first.patient_key,
        birads=first.birads,
        age_years=min(ages, default=None),
        site=first.site,
        split=first.split,
        sets={one: found.score.conformal_set for one, found in said.items() if found.score.conformal_set is not None},
        images=max(map(len, by_image.values())),
        image_scores=by_image,
        thresholds={
            one: found.score.threshold
            for one, found in said.items()
            if one.threshold not in (None, found.score.threshold)
        },
    )


def _notices(cards: Sequence[ModelCard], reading: Reading, *, image_only: bool) -> Iterator[str]:
    if image_only:
        yield from about_the_image_alone(cards, by_card=False)
    yield from about_rules(cards)
    if len(reading.places) < len(reading.rows):
        yield about_images(cards)
