"""An evaluation as one value, which is also the document ``metrics.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter

from worker.evaluation.calibration import Calibration
from worker.evaluation.decision_curve import NetBenefit
from worker.evaluation.discrimination import Auc, AucDifference, RocPoint
from worker.evaluation.ground_truth import Truth
from worker.evaluation.lesions import Source
from worker.evaluation.resampling import Bootstrapped
from worker.evaluation.restratification import Restratification
from worker.evaluation.subgroups import Subgroup
from worker.evaluation.thresholds import OperatingPoint
from worker.evaluation.views import Views

HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True)
class Cohort:
    """The lesions that were measured on.

    Attributes:
        lesions: how many.
        patients: how many they are of; ``None`` where that is not known of each.
        benign: by pathology.
        malignant: by pathology.
        by_birads: lesions of each category that occurs; ``unknown`` for those without one.
        left_out: lesions that are not among them, by the reason.
    """

    lesions: int
    patients: int | None
    benign: int
    malignant: int
    by_birads: Mapping[str, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """How many positives and negatives had scores in each of ``HISTOGRAM_BINS`` bins of equal width, 0 to 1."""

    positives: tuple[int, ...]
    negatives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """One version of a model, held against one truth.

    Attributes:
        model: ``DLR_LH`` or ``DLR_BM``.
        version: its card's.
        notice: its card's.
        lesions: with a score and a known answer.
        positives: of them.
        auc: with DeLong's interval, which takes lesions for independent.
        bootstrap: intervals that keep the lesions of a patient together; ``None``: see ``resampling.bootstrap``.
        operating_points: at the threshold that is used, by Youden, and by sensitivity.
        calibration: ``None`` where the probability is of something else.
        decision_curve: likewise; empty.
        subgroups: parts of the lesions.
        views: how far the images of a lesion agree; ``None`` where none is known to be on several.
        roc: the curve.
        histogram: of the scores.
    """

    model: str
    version: str
    notice: str | None
    lesions: int
    positives: int
    auc: Auc
    bootstrap: Bootstrapped | None
    operating_points: tuple[OperatingPoint, ...]
    calibration: Calibration | None
    decision_curve: tuple[NetBenefit, ...]
    subgroups: tuple[Subgroup, ...]
    views: Views | None
    roc: tuple[RocPoint, ...]
    histogram: ScoreHistogram


@dataclass(frozen=True, slots=True)
class Compared:
    """Two versions on the lesions that both scored: the AUC of the first less that of the second."""

    first: str
    second: str
    lesions: int
    difference: AucDifference


@dataclass(frozen=True, slots=True)
class Question:
    """What models were asked: ``positive`` says what the positive answer is."""

    truth: Truth
    positive: str
    judged: tuple[Judged, ...]
    comparisons: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured. Missed cancers come first, in ``restratifications``.

    Attributes:
        schema_version: of this document.
        created_at: when it was measured.
        software: that measured it, with its version.
        source: where the scores come from.
        notices: what a reader has to know before any number.
        restratifications: Fig. S5 for each pair of versions that advise together.
        cohort: the lesions.
        questions: the models, by what they were held against.
    """

    schema_version: Literal[1]
    created_at: datetime
    software: str
    source: Source
    notices: tuple[str, ...]
    restratifications: tuple[Restratification, ...]
    cohort: Cohort
    questions: tuple[Question, ...]

    @property
    def missed_cancers(self) -> int:
        """How many cancers any pair of versions advises down, each counted once for each pair."""
        return sum(len(one.missed_cancers) for one in self.restratifications)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)


def to_json(evaluation: Evaluation) -> str:
    """Return the document ``metrics.json``."""
    return _adapter().dump_json(evaluation, indent=2).decode() + "\n"


def as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return the document as plain values."""
    plain: dict[str, Any] = _adapter().dump_python(evaluation, mode="json")
    return plain


def schema() -> str:
    """Return the document's JSON Schema."""
    return json.dumps(_adapter().json_schema(mode="serialization"), indent=2) + "\n"
