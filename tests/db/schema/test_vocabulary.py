"""``db`` and the medicine know nothing of each other, so their words are written twice; here they are compared."""

from enum import StrEnum

import pytest

from db.schema import vocabulary
from worker.clinical import categories
from worker.clinical.reading_order.outcome_class import WorklistClass
from worker.errors import Code


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (vocabulary.Priority, categories.Priority),
        (vocabulary.Birads, categories.Birads),
        (vocabulary.Recommendation, categories.Recommendation),
        (vocabulary.Outcome, categories.Outcome),
    ],
)
def test_the_database_and_the_worker_use_the_same_words_in_the_same_order(
    here: type[StrEnum], there: type[StrEnum]
) -> None:
    assert [(word.name, word.value) for word in here] == [(word.name, word.value) for word in there]


def test_the_worklist_classes_are_the_workers_in_reading_order() -> None:
    assert [word.value for word in vocabulary.WorklistClass] == [kind.name.lower() for kind in sorted(WorklistClass)]


def test_the_code_of_a_study_that_is_started_too_often_is_one_of_the_workers() -> None:
    assert Code(vocabulary.ATTEMPTS_EXHAUSTED) is Code.ATTEMPTS_EXHAUSTED


def test_each_finding_of_a_quality_check_is_a_code_of_the_same_name_in_the_same_order() -> None:
    found = {word.name: word.value for word in vocabulary.QualityFinding}
    assert [(code.name, code.value) for code in Code if code.name in found] == list(found.items())
