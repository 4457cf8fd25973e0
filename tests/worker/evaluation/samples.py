"""Lesions made up for a test: scores drawn around what they turned out to be, the same at each call."""

import numpy as np
from scipy.special import expit

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Birads
from worker.evaluation.lesions import JudgedLesion, Material, Pair, Scorer, Source

LH, BM = Scorer(LH_MODEL, "1.0", 0.5), Scorer(BM_MODEL, "1.0", 0.5)
CATEGORIES = [
    Birads.BENIGN,
    Birads.PROBABLY_BENIGN,
    Birads.LOW_SUSPICION,
    Birads.MODERATE_SUSPICION,
    Birads.HIGH_SUSPICION,
]


def lesion(
    name: str = "L1",
    lh: float = 0.1,
    bm: float = 0.1,
    *,
    malignant: bool = False,
    birads: str | None = "4A",
    **more: object,
) -> JudgedLesion:
    category = None if birads is None else "4" if birads == "4" else Birads(birads)
    return JudgedLesion(name, malignant, {LH: lh, BM: bm}, birads=category, **more)  # type: ignore[arg-type]


def many(count: int = 300, seed: int = 7) -> tuple[JudgedLesion, ...]:
    rng = np.random.default_rng(seed)
    made = []
    for place in range(count):
        malignant = bool(rng.random() < 0.4)
        scores = expit(rng.normal(2.2 * malignant - 1.1, 1.2, 2))
        category = CATEGORIES[min(4, int(rng.integers(0, 4)) + malignant)]
        made.append(
            JudgedLesion(
                f"L{place}",
                malignant,
                {LH: float(scores[0]), BM: float(scores[1])},
                f"P{place // 2}",
                category,
                float(rng.integers(20, 85)),
                float(rng.integers(4, 40)),
                "ABC"[place % 3],
                images=1 + place % 3,
            )
        )
    return tuple(made)


def material(lesions: tuple[JudgedLesion, ...] | None = None, **more: object) -> Material:
    return Material(Source.SCORES, many() if lesions is None else lesions, (BM, LH), (Pair(LH, BM),), **more)  # type: ignore[arg-type]
