"""Table S1 of the lesions on record: for each notice its own, so that a demo model's lesions are with no others."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from db.reads.described_lesions import DescribedLesion
from worker.reporting.cohort_table import AGE, CohortLesion, CohortTable, cohort_table


@dataclass(frozen=True, slots=True)
class NoticedTable:
    """A table of the lesions under one notice; ``None``: under none."""

    notice: str | None
    table: CohortTable


@dataclass(frozen=True, slots=True)
class RecordedCohort:
    """What the ledger holds of lesions with pathology.

    Attributes:
        tables: those without a notice first.
        unscored: lesions that are left out since they have no scores: nothing says that they are not a demo's.
        purged: lesions that are left out since their descriptors and exact ages were purged.
    """

    tables: tuple[NoticedTable, ...]
    unscored: int
    purged: int


def recorded_cohort(lesions: Iterable[DescribedLesion]) -> RecordedCohort:
    """Sum up the lesions on record. The ledger knows no patients, so each study stands for one."""
    together: defaultdict[str | None, list[CohortLesion]] = defaultdict(list)
    unscored = purged = 0
    for lesion in lesions:
        if lesion.purged:
            purged += 1
        elif not lesion.scored:
            unscored += 1
        else:
            together[lesion.notice].append(_described(lesion))
    notices = sorted(together, key=lambda notice: notice or "")
    tables = tuple(NoticedTable(notice, cohort_table(together[notice])) for notice in notices)
    return RecordedCohort(tables, unscored, purged)


def _described(lesion: DescribedLesion) -> CohortLesion:
    age = {} if lesion.age_years is None else {AGE: lesion.age_years}
    return CohortLesion(lesion.malignant, str(lesion.study_id), {**lesion.descriptors, **age})
