"""The lesions of a manifest, with what two versions of a model say of them, be they in service or not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from db.reads.version_comparison import ComparedLesion, Coverage
from worker.dataset.manifest import Manifest, Split
from worker.errors import LesionRefused
from worker.evaluation.caveats import NAMES, NO_SPLITS
from worker.inference.entry import Entry
from worker.inference.runner import Logits
from worker.inference.single_model import SingleModel
from worker.study import Score, site_of
from worker.training.manifest_rows import Reading, ReadLesion, about_images, about_rules, about_the_image_alone

ADVISED_WITH = "{model}: the advice under each version uses the score of the active {other}."


@dataclass(frozen=True, slots=True)
class Match:
    """Two versions of a model that are compared, and the other model's version that advises with either, if any."""

    a: Entry
    b: Entry
    other: Entry | None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The two, and the third where there is one."""
        return (self.a, self.b) if self.other is None else (self.a, self.b, self.other)


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of a match.

    Attributes:
        lesions: that all three versions scored, on the same images.
        coverage: of the lesions of the manifest that are asked for.
    """

    lesions: tuple[ComparedLesion, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class ComparedManifest:
    """What became of a manifest.

    Attributes:
        compared: a match each.
        left_out: how many rows were not scored, by the reason.
        notices: what a reader has to know.
    """

    compared: tuple[Compared, ...]
    left_out: Mapping[str, int]
    notices: tuple[str, ...]


_Key = tuple[str, str]
_Scored = tuple[ReadLesion, list[dict[_Key, Logits]]]


def compare_on_manifest(
    manifest: Manifest,
    split: Split,
    matches: Sequence[Match],
    on_progress: Callable[[int, int], None],
    *,
    image_only: bool = False,
) -> ComparedManifest:
    """Score the rows of a split with all versions, each as its card says, by float32 on the processor.

    An image that one version of a match cannot score is left out for all of it, and so is a lesion with fewer images
    left than the strictest card asks for.

    Args:
        manifest: its rows and its root.
        split: whose rows are scored; all are, where no row says its split.
        matches: the versions.
        on_progress: told how many rows are done, and of how many.
        image_only: by FC2, which needs no age; then nothing advises.

    Raises:
        ModelRefused: a version is not sound.
        SetupRefused: ``lesions_too_few``: no row is of the split, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    reading = Reading(manifest, split, needs_ages=not image_only)
    entries = {_key(entry): entry for match in matches for entry in match.entries}
    models = {key: SingleModel(entry, torch.device("cpu"), image_only=image_only) for key, entry in entries.items()}
    scored = [(lesion, _logits(models, lesion, reading)) for lesion in reading.lesions(on_progress)]
    compared = tuple(_compared(match, models, len(reading.places), scored) for match in matches)
    if not any(one.lesions for one in compared):
        raise reading.refusal()
    notices = tuple(_notices(manifest, matches, reading, image_only=image_only))
    return ComparedManifest(compared, dict(reading.left_out), notices)


def _key(entry: Entry) -> _Key:
    return entry.card.name, entry.card.version


def _logits(models: Mapping[_Key, SingleModel], lesion: ReadLesion, reading: Reading) -> list[dict[_Key, Logits]]:
    """What each version says of each image, where it can."""
    said: list[dict[_Key, Logits]] = [{} for _ in lesion.images]
    for key, model in models.items():
        for place, image in enumerate(lesion.images):
            try:
                said[place][key] = model.logits(image)
            except LesionRefused as refused:
                reading.count(refused, model.card)
    return said


def _compared(match: Match, models: Mapping[_Key, SingleModel], lesions: int, scored: Sequence[_Scored]) -> Compared:
    keys = tuple(map(_key, match.entries))
    taken = [models[key] for key in keys]
    common = [(lesion, [one for one in said if all(key in one for key in keys)]) for lesion, said in scored]
    compared = tuple(
        _lesion(
            lesion,
            *(
                model.score_of([one[key] for one in said], site_of(lesion.images))
                for key, model in zip(keys, taken, strict=True)
            ),
        )
        for lesion, said in common
        if said and len(said) >= max(model.card.min_images for model in taken)
    )
    by_a, by_b = (
        sum(sum(key in one for one in said) >= models[key].card.min_images for _, said in scored) for key in keys[:2]
    )
    return Compared(compared, Coverage(lesions, by_a, by_b, len(compared)))


def _lesion(lesion: ReadLesion, a: Score, b: Score, other: Score | None = None) -> ComparedLesion:
    first = lesion.rows[0]
    return ComparedLesion(
        study_id=None,
        lesion_id=lesion.name,
        birads=first.birads,
        a_probability=a.positive_probability,
        a_threshold=a.threshold,
        b_probability=b.positive_probability,
        b_threshold=b.threshold,
        other_positive=None if other is None else other.positive,
        malignant=first.malignant,
        a_set=a.conformal_set,
        b_set=b.conformal_set,
        other_set=None if other is None else other.conformal_set,
        site=site_of(lesion.images),
    )


def _notices(manifest: Manifest, matches: Sequence[Match], reading: Reading, *, image_only: bool) -> Iterator[str]:
    for match in matches:
        if match.other is not None:
            other = match.other.card
            yield ADVISED_WITH.format(model=match.a.card.name, other=f"{other.name} {other.version}")
    if image_only:
        cards = {_key(entry): entry.card for match in matches for entry in match.entries}
        yield from about_the_image_alone(cards.values(), by_card=True)
    yield from dict.fromkeys(about_rules(entry.card for match in matches for entry in (match.a, match.b)))
    if not manifest.has_splits:
        yield NO_SPLITS
    if len(reading.places) < len(reading.rows):
        yield about_images({_key(entry): entry.card for match in matches for entry in match.entries}.values())
    yield NAMES
