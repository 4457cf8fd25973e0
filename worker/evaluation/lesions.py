"""The lesions that models are judged by: what pathology said of each, and what each version of each model scored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Birads, Priority
from worker.dataset.manifest import Category, Split

GIVEN = "given"
"""The version of a scores table's plain columns, which name none."""


CATEGORIES = tuple(category.value for category in Birads)
"""BI-RADS in order of suspicion; 4 without its letter stands before 4A."""


class Source(StrEnum):
    """Where lesions and scores come from."""

    SCORES = "scores"
    MANIFEST = "manifest"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Scorer:
    """One version of one model.

    Attributes:
        model: ``DLR_LH`` or ``DLR_BM``.
        version: its card's.
        threshold: its card's, 0 to 1; ``None`` where it is not known.
        notice: its card's; ``None`` where it needs none.
    """

    model: str
    version: str
    threshold: float | None = None
    notice: str | None = None

    @property
    def name(self) -> str:
        """The model and its version, for people."""
        return f"{self.model} {self.version}"


@dataclass(frozen=True, slots=True)
class Pair:
    """The versions of DLR_LH and DLR_BM whose scores advise together."""

    lh: Scorer
    bm: Scorer


@dataclass(frozen=True, slots=True)
class JudgedLesion:
    """A lesion that pathology reported on.

    Attributes:
        lesion_id: its name; unique in the material.
        malignant: what pathology said.
        scores: the positive probability by each version that scored it, 0 to 1.
        patient: an opaque key; ``None`` where it is not known.
        birads: the radiologist's category; 4 where its letter is not known, which is never taken for 4A.
        age_years: 0 to 120.
        size_mm: its largest extent, above 0.
        site: where its image was made.
        split: what it is for; ``None`` where that was not said.
        sets: the classes that a version cannot rule out, by the versions whose cards ask.
        study: an opaque key of the study that it is of; ``None`` where it is not known.
        priority: the study's, as its sender gave it; ``None`` where it is not known.
        thresholds: from which probability on it is positive, 0 to 1, by the versions of which that is another than the
            version's own, since its card has one for the lesion's site.
        images: on how many it was scored, 1 or more; ``None`` where it is not known.
        image_scores: the positive probability of each of them by itself, by the versions of which it is known.
    """

    lesion_id: str
    malignant: bool
    scores: Mapping[Scorer, float]
    patient: str | None = None
    birads: Category | None = None
    age_years: float | None = None
    size_mm: float | None = None
    site: str | None = None
    split: Split | None = None
    sets: Mapping[Scorer, tuple[str, ...]] = field(default_factory=dict)
    study: str | None = None
    priority: Priority | None = None
    images: int | None = None
    image_scores: Mapping[Scorer, tuple[float, ...]] = field(default_factory=dict)
    thresholds: Mapping[Scorer, float] = field(default_factory=dict)

    def threshold(self, scorer: Scorer, otherwise: float) -> float:
        """Return from which probability on a version takes it for positive."""
        return self.thresholds.get(scorer, otherwise)


@dataclass(frozen=True, slots=True)
class Material:
    """What is evaluated.

    Attributes:
        source: where it comes from.
        lesions: in their order.
        scorers: every version that scored any of them, the ones that serve first.
        pairs: those of them that advise together.
        left_out: how many lesions are not among them, by the reason.
        notices: what a reader has to know of them.
    """

    source: Source
    lesions: tuple[JudgedLesion, ...]
    scorers: tuple[Scorer, ...]
    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def pairs_of(scorers: tuple[Scorer, ...]) -> tuple[Pair, ...]:
    """Put versions together: those of one name, and one that has no counterpart with the other model's first."""
    of = {model: [one for one in scorers if one.model == model] for model in (LH_MODEL, BM_MODEL)}
    if not of[LH_MODEL] or not of[BM_MODEL]:
        return ()
    versions = list(dict.fromkeys(one.version for one in scorers))
    return tuple(dict.fromkeys(Pair(_of_version(of[LH_MODEL], at), _of_version(of[BM_MODEL], at)) for at in versions))


def _of_version(scorers: list[Scorer], version: str) -> Scorer:
    return next((one for one in scorers if one.version == version), scorers[0])


def named_apart(keys: Sequence[tuple[str | None, str]]) -> list[str]:
    """Name lesions by their ids alone where these differ, else by their patients' keys too.

    Args:
        keys: a patient's key, where it is known, and the id of a lesion; no two alike.
    """
    ids = [lesion_id for _, lesion_id in keys]
    if len(set(ids)) == len(ids):
        return ids
    return [lesion_id if patient is None else f"{_without_slash(patient)}/{lesion_id}" for patient, lesion_id in keys]


def _without_slash(key: str) -> str:
    """A key with its slashes in percent-encoding, so that the first slash of a name parts it from a lesion's id."""
    return key.replace("%", "%25").replace("/", "%2F")


def by_lesion(keys: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
    """Put the images of a lesion together.

    Args:
        keys: of each image, its patient's key and its lesion's id.

    Returns:
        The images' places by the names of their lesions, which are `named_apart`; in the order of the first images.
    """
    together: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        together[key].append(place)
    return dict(zip(named_apart(list(together)), together.values(), strict=True))


def largest_mm(*sizes: float | None) -> float | None:
    """Return the largest of the extents that are known."""
    return max((size for size in sizes if size is not None), default=None)
