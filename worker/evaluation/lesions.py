"""The lesions that models are judged by: what pathology said of each, and what each version of each model scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from db.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Birads

GIVEN = "given"
"""The version of a scores table's plain columns, which name none."""


class Source(StrEnum):
    """Where lesions and scores come from."""

    SCORES = "scores"
    MANIFEST = "manifest"
    DATABASE = "database"


class Split(StrEnum):
    """What a lesion was set aside for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


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
        birads: the radiologist's category.
        age_years: 0 to 120.
        size_mm: its largest extent, above 0.
        site: where its image was made.
        split: what it was set aside for; ``None``: nothing was set aside.
    """

    lesion_id: str
    malignant: bool
    scores: Mapping[Scorer, float]
    patient: str | None = None
    birads: Birads | None = None
    age_years: float | None = None
    size_mm: float | None = None
    site: str | None = None
    split: Split | None = None


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
