"""The lesions of a manifest, with what two versions of a model say of them, be they in service or not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from db.reads.version_comparison import ComparedLesion, Coverage
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.errors import LesionRefused
from worker.evaluation.caveats import NAMES
from worker.inference.registry import Entry
from worker.inference.single_model import SingleModel
from worker.study import LesionImage, Score
from worker.training.manifest_rows import AVERAGED, Reading, about_rules, mean_score, places_by_lesion

ADVISED_WITH = "{model}: the advice under each version uses the score of the active {other}."
NO_SPLITS = "No row has a split, so all are compared. Make sure that no model was trained on any of them."


@dataclass(frozen=True, slots=True)
class Match:
    """Two versions of a model that are compared, and the version of the other model that advises with either."""

    a: Entry
    b: Entry
    other: Entry

    @property
    def entries(self) -> tuple[Entry, Entry, Entry]:
        """All three."""
        return self.a, self.b, self.other


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
_Scored = tuple[ManifestRow, Mapping[_Key, Score]]


def compare_on_manifest(
    manifest: Manifest, split: Split, matches: Sequence[Match], on_progress: Callable[[int, int], None]
) -> ComparedManifest:
    """Score the rows of a split with all versions, each as its card says, by float32 on the processor.

    An image that one version of a match cannot score is left out for all of it.

    Args:
        manifest: its rows and its root.
        split: whose rows are scored; all are, where no row says its split.
        matches: the versions.
        on_progress: told how many rows are done, and of how many.

    Raises:
        ModelRefused: a version is not sound.
        SetupRefused: ``lesions_too_few``: no row is of the split, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    reading = Reading(manifest, split)
    entries = {_key(entry): entry for match in matches for entry in match.entries}
    models = {key: SingleModel(entry, torch.device("cpu")) for key, entry in entries.items()}
    scored = [(row, dict(_scores(models, image, reading))) for row, image in reading.images(on_progress)]
    compared = tuple(_compared(match, reading.rows, scored) for match in matches)
    if not any(one.lesions for one in compared):
        raise reading.refusal()
    return ComparedManifest(compared, dict(reading.left_out), tuple(_notices(manifest, matches, reading)))


def _key(entry: Entry) -> _Key:
    return entry.card.name, entry.card.version


def _scores(models: Mapping[_Key, SingleModel], image: LesionImage, reading: Reading) -> Iterator[tuple[_Key, Score]]:
    for key, model in models.items():
        try:
            score = model.score(image)
        except LesionRefused as refused:
            reading.count(refused, model.card)
        else:
            yield key, score


def _compared(match: Match, rows: Sequence[ManifestRow], scored: Sequence[_Scored]) -> Compared:
    a, b, _ = keys = tuple(map(_key, match.entries))
    common = [(row, scores) for row, scores in scored if all(key in scores for key in keys)]
    lesions = tuple(
        _lesion(name, match, [common[at] for at in places])
        for name, places in places_by_lesion(row for row, _ in common).items()
    )
    by_a, by_b = (len(places_by_lesion(row for row, scores in scored if key in scores)) for key in (a, b))
    return Compared(lesions, Coverage(len(places_by_lesion(rows)), by_a, by_b, len(lesions)))


def _lesion(name: str, match: Match, scored: Sequence[_Scored]) -> ComparedLesion:
    first = scored[0][0]
    a, b, other = (mean_score(entry.card, [scores[_key(entry)] for _, scores in scored]) for entry in match.entries)
    return ComparedLesion(
        study_id=None,
        lesion_id=name,
        birads=first.birads,
        a_probability=a.positive_probability,
        a_threshold=a.threshold,
        b_probability=b.positive_probability,
        b_threshold=b.threshold,
        other_positive=other.positive,
        malignant=first.malignant,
        a_set=a.conformal_set,
        b_set=b.conformal_set,
        other_set=other.conformal_set,
    )


def _notices(manifest: Manifest, matches: Sequence[Match], reading: Reading) -> Iterator[str]:
    for match in matches:
        other = match.other.card
        yield ADVISED_WITH.format(model=match.a.card.name, other=f"{other.name} {other.version}")
    yield from dict.fromkeys(about_rules(entry.card for match in matches for entry in (match.a, match.b)))
    if not manifest.has_splits:
        yield NO_SPLITS
    if len(places_by_lesion(reading.rows)) < len(reading.rows):
        yield AVERAGED
    yield NAMES
