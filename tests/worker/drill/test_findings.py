"""What a drill finds wrong: a study that is there twice, ended twice or not done, or has another study's scores."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from db.reads.study_queries import study_details
from db.reads.study_records import StudyDetail, StudyEvent
from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.db.samples import ended, register, scored, study
from worker.drill.findings import Finding, count_ended, faults_of, scores_of


@pytest.fixture
def good(database: Database) -> Iterator[StudyDetail]:
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        ended(session, study("1.1"), scored(lh=0.1, bm=0.2))
    with session_factory(engine)() as session:
        [found] = study_details(session, "1.1")
    yield found
    engine.dispose()


def test_a_study_that_ended_once_with_both_scores_and_advice_is_right(good: StudyDetail) -> None:
    assert sorted(name.split()[0] for name in scores_of(good)) == ["DLR_BM", "DLR_LH"]
    assert faults_of([[good]], scores_of(good)) == ()
    assert count_ended([[good], []]) == 1


def twice(study: StudyDetail) -> StudyDetail:
    [end] = [event for event in study.events if event.event == "done"]
    return replace(study, events=(*study.events, StudyEvent(end.at, end.actor, end.event, end.detail)))


def test_each_fault_is_said_in_words(good: StudyDetail) -> None:
    expected = scores_of(good)
    bare = replace(good, lesions=tuple(replace(lesion, predictions=()) for lesion in good.lesions))
    said = {
        "is there 2 times": [good, good],
        "ended 2 times": [twice(good)],
        "ended failed (None)": [replace(good, state="failed")],
        "lacks a score or the advice": [bare],
    }
    for sentence, rows in said.items():
        assert faults_of([rows], expected) == (f"{good.study_id} {sentence}",)
    [fault] = faults_of([[good]], {name: score + 0.01 for name, score in expected.items()})
    assert "other scores" in fault
    assert faults_of([[replace(good, state="running")]], expected) == ()  # it is lost, and not wrong


@pytest.mark.parametrize(
    ("lost", "wrong", "done", "kept"),
    [(0, (), True, True), (1, (), True, False), (0, ("x",), True, False), (0, (), False, False)],
)
def test_a_promise_is_kept_where_the_fault_was_done_and_nothing_is_lost_or_wrong(
    lost: int, wrong: tuple[str, ...], done: bool, kept: bool
) -> None:
    assert Finding("a study", "workers", "1 s", 1, lost, wrong, done).kept is kept
