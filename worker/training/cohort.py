"""Lesions to learn from and to be judged on: their pixels as the models are served them, and what is known of them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.dataset.manifest import Category, Split
from worker.errors import Code, SetupRefused
from worker.inference.model_card import DEMO_NOTICE
from worker.inference.preprocess import pixels_for_each
from worker.phantom.phantom import phantom
from worker.phantom.table_s1 import class_table
from worker.training.config import TrainingConfig
from worker.training.labels import LabelRule

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One lesion on one image.

    Attributes:
        lesion_id: unique among the patient's.
        patient_key: a pseudonym.
        split: what it is for.
        malignant: what pathology said.
        birads: a radiologist's category; ``None`` without one.
        age_years: 0 to 120; ``None`` where it is not known, which the image stage alone learns from.
        site: where the image was taken.
    """

    lesion_id: str
    patient_key: str
    split: Split
    malignant: bool
    birads: Category | None
    age_years: float | None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Cohort:
    """Lesions, whatever model learns from them.

    Attributes:
        pixels: uint8 (N, 1 or 3, S, S), cropped and resized as the configuration says, not normalized.
        rows: what is known of each, N.
        digest: SHA-256 of what was learned from, for the card.
        said: what they are, for a person.
        notice: of what is trained on them; empty where it needs none.
        jpeg_decoder: what JPEG images among them were decoded with; ``None`` where there can be none.
        excluded: how many rows were left out, by the reason.
        painted_over: the pixels without the calipers that are burned into them; ``None`` where that is not asked for.
    """

    pixels: NDArray[np.uint8]
    rows: tuple[CohortRow, ...]
    digest: str
    said: str
    notice: str = ""
    jpeg_decoder: str | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)
    painted_over: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Lesions:
    """Lesions with a model's labels.

    Attributes:
        cohort: whose rows they are.
        places: of the rows, int64 (N,).
        labels: whether each is of the positive class, bool (N,).
    """

    cohort: Cohort
    places: NDArray[np.int64]
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def rows(self) -> list[CohortRow]:
        """What is known of each."""
        return [self.cohort.rows[place] for place in self.places]

    @property
    def ages(self) -> NDArray[np.float64]:
        """Years, float64 (N,); NaN where it is not known."""
        return ages_of(self.rows)

    def of(self, *splits: Split) -> "Lesions":
        """Return those of splits."""
        kept = np.array([row.split in splits for row in self.rows], np.bool_)
        return Lesions(self.cohort, self.places[kept], self.labels[kept])

    @property
    def has_both(self) -> bool:
        """There are positives and negatives."""
        return bool(self.labels.any() and not self.labels.all())


def ages_of(rows: Iterable[CohortRow]) -> NDArray[np.float64]:
    """Return years, float64 (N,); NaN where the age is not known."""
    return np.array([np.nan if row.age_years is None else row.age_years for row in rows], np.float64)


def labelled(cohort: Cohort, rule: LabelRule) -> Lesions:
    """Give each lesion its label. Those of neither class are left out.

    Raises:
        SetupRefused: ``lesions_too_few``: a split that is needed has no lesion of a class; ``dataset_invalid``: two
            images of a lesion are of different classes.
    """
    labels = [rule(row.birads, malignant=row.malignant) for row in cohort.rows]
    places = [place for place, label in enumerate(labels) if label is not None]
    lesions = Lesions(cohort, np.array(places, np.int64), np.array([labels[place] for place in places], np.bool_))
    of_lesion: dict[tuple[str, str], bool] = {}
    for row, label in zip(lesions.rows, lesions.labels, strict=True):
        if of_lesion.setdefault((row.patient_key, row.lesion_id), bool(label)) != label:
            reason = (
                f"two images of one lesion have categories of both classes ({rule}): exclude the wrong one; the "
                "warnings of `dlr dataset validate --format json` name the lines"
            )
            raise SetupRefused(Code.DATASET_INVALID, reason)
    held_out = Split.TEST if len(lesions.of(Split.TEST)) else Split.EXTERNAL
    for split in (Split.TRAIN, Split.VALIDATION, held_out):
        if not lesions.of(split).has_both:
            left_out = "".join(f"; left out: {count} {why}" for why, count in cohort.excluded.items() if count)
            reason = f"{split} has no lesion of one class, or none at all ({rule}){left_out}"
            raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    return lesions


def phantom_cohort(config: TrainingConfig, on_progress: OnProgress | None = None) -> Cohort:
    """Draw phantoms with Table S1's share of malignant lesions; the same arguments give the same ones.

    Args:
        config: its seed and preprocessing, how many they are, and what for.
        on_progress: told how many are drawn, and of how many.
    """
    rng, count = np.random.default_rng(config.seed), config.phantoms.count
    benign, malignant = (class_table(malignant=malignant).lesions for malignant in (False, True))
    labels = rng.random(count) < malignant / (benign + malignant)
    seeds = rng.integers(2**63, size=count)
    channels = 1 if config.channels == "gray" else 3
    pixels = np.empty((count, channels, config.input_size, config.input_size), np.uint8)
    rows = []
    for place, split in enumerate(_phantom_splits(config)):
        drawn = phantom(int(seeds[place]), malignant=bool(labels[place]))
        pixels[place] = pixels_for_each(drawn.image, drawn.roi, [config.preprocessing])[0]
        rows.append(CohortRow("L1", f"P{place + 1}", split, drawn.malignant, drawn.birads, drawn.age_years))
        if on_progress is not None:
            on_progress(place + 1, count)
    digest = hashlib.sha256(repr(rows).encode() + pixels.tobytes()).hexdigest()
    said = f"phantoms drawn by the study's Table S1: {DEMO_NOTICE}"
    return Cohort(pixels, tuple(rows), digest, said, DEMO_NOTICE)


def _phantom_splits(config: TrainingConfig) -> list[Split]:
    count, shares = config.phantoms.count, config.phantoms
    validation, test = round(shares.validation * count), round(shares.test * count)
    train = count - validation - test
    return [Split.TRAIN] * train + [Split.VALIDATION] * validation + [Split.TEST] * test


def sizes_of(lesions: Lesions) -> dict[Split, int]:
    """Count the images in each split that has some."""
    found = Counter(row.split for row in lesions.rows)
    return {split: found[split] for split in Split if found[split]}
