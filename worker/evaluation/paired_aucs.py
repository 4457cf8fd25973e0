"""Two scores of the same lesions, held against pathology or the category, and each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.evaluation.discrimination import Auc, AucDifference, auc, compare_aucs
from worker.evaluation.ground_truth import is_suspicious


@dataclass(frozen=True, slots=True)
class PairedAucs:
    """The AUCs of two scores, and that of the second less that of the first, with DeLong's paired test.

    Attributes:
        lesions: whose right answer is known.
        positives: of them.
    """

    lesions: int
    positives: int
    a: Auc
    b: Auc
    difference: AucDifference


def paired_aucs(judged: Sequence[tuple[bool, float, float]]) -> PairedAucs | None:
    """Return the AUCs, or ``None`` where the lesions are not of both kinds.

    Args:
        judged: of each lesion, whether pathology found it malignant, and both probabilities, 0 to 1.
    """
    labels = np.array([malignant for malignant, _, _ in judged], np.bool_)
    if not len(labels) or labels.all() or not labels.any():
        return None
    a = np.array([first for _, first, _ in judged], np.float64)
    b = np.array([second for _, _, second in judged], np.float64)
    return PairedAucs(len(labels), int(labels.sum()), auc(a, labels), auc(b, labels), compare_aucs(b, a, labels))


def paired_on_category(rated: Sequence[tuple[str, float, float]]) -> PairedAucs | None:
    """Return the AUCs for BI-RADS 4A and above, or ``None`` where the lesions are not of both kinds.

    Args:
        rated: of each lesion, its category, 4 where its letter is not known, and both probabilities, 0 to 1. Category 0
            says neither, and is left out.
    """
    known = [(is_suspicious(birads), a, b) for birads, a, b in rated]
    return paired_aucs([(label, a, b) for label, a, b in known if label is not None])
