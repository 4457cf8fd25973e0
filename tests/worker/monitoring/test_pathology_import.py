"""An import of pathology's results: all of a file or nothing, and no row for a lesion that it may not be of."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from db.writes.pathology import results
from tests.db.samples import ended, lesion, scored, study
from tests.db.writes.test_pathology import LATER
from worker.monitoring.imported_rows import Imported
from worker.monitoring.pathology_file import read_pathology
from worker.monitoring.pathology_import import import_pathology

Write = Callable[[str | bytes], Path]

HEADER = "study,lesion_id,result,histology,reported_on\n"
ANNE = "anne@ward"


def imported(sessions: sessionmaker[Session], path: Path, *, skip_bad: bool = False) -> Imported:
    with sessions.begin() as session:
        return import_pathology(session, read_pathology(path), ANNE, skip_bad=skip_bad)


def changes(done: Imported) -> dict[str, int]:
    return {change.value: count for change, count in done.changes.items() if count}


def on_record(sessions: sessionmaker[Session]) -> list[tuple[str, str]]:
    with sessions() as session:
        return sorted((one.lesion_id, one.result) for one in results(session))


def test_a_file_is_imported_once_however_often_and_a_correction_replaces(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        by_id = ended(session, study("1.1", lesions=(lesion("L1"), lesion("L2"))), scored("L1"), scored("L2")).study_id
        ended(session, study("1.2", accession_number="A7"), scored())
    first = HEADER + f"{by_id},L1,benign,,2026-03-02\n1.1,L2,malignant,,2026-03-02\nA7,L1,benign,,2026-03-02\n"
    assert changes(imported(sessions, written(first))) == {"new": 3}
    assert changes(imported(sessions, written(first))) == {"unchanged": 3}
    later = HEADER + "1.1,L1,malignant,8500/3,2026-03-09\n"
    assert changes(imported(sessions, written(later))) == {"corrected": 1}
    assert changes(imported(sessions, written(first))) == {"unchanged": 2, "outdated": 1}
    assert on_record(sessions) == [("L1", "benign"), ("L1", "malignant"), ("L2", "malignant")]


def test_a_file_with_the_history_of_a_lesion_leaves_the_last_report_in_whatever_order(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored())
    file = HEADER + "1.1,L1,malignant,,2026-03-09\n1.1,L1,benign,,2026-03-02\n1.1,L1,malignant,,2026-03-09\n"
    assert changes(imported(sessions, written(file))) == {"new": 1, "corrected": 1, "unchanged": 1}
    assert on_record(sessions) == [("L1", "malignant")]


def test_each_row_that_can_not_be_placed_says_why_and_none_is_written(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", accession_number="A1"), scored())
        ended(session, study("1.2", accession_number="A1"), scored())
        replaced = ended(session, study("1.3", "a", accession_number="A3"), scored()).study_id
        ended(session, study("1.3", "b", accession_number="A3"), scored())
    rows = [
        "1.1,L1,benign,,2026-03-02",
        "1.1,L9,benign,,2026-03-02",
        "9.9,L1,benign,,2026-03-02",
        "A1,L1,benign,,2026-03-02",
        f"{replaced},L1,benign,,2026-03-02",
        "1.2,L1,perhaps,,2026-03-02",
        "1.3,L1,benign,,2026-03-02",
        "A3,L1,malignant,,2026-03-02",
    ]
    path = written(HEADER + "\n".join(rows))
    done = imported(sessions, path)
    assert [(row.line, row.code.value) for row in done.bad] == [
        (3, "lesion_not_found"),
        (4, "study_not_found"),
        (5, "study_ambiguous"),
        (6, "study_not_current"),
        (7, "row_invalid"),
        (8, "result_contradictory"),
        (9, "result_contradictory"),
    ]
    assert (done.rows, changes(done), on_record(sessions)) == (8, {}, [])
    assert changes(imported(sessions, path, skip_bad=True)) == {"new": 1}
    assert on_record(sessions) == [("L1", "benign")]


def test_a_purged_study_takes_no_result_since_its_lesions_have_lost_their_names(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        two = (lesion("2"), lesion("1"))
        purged = ended(session, study("1.1", lesions=two), scored("2"), scored("1")).study_id
        ledger.purge(session, LATER, ANNE, 10)
    done = imported(sessions, written(HEADER + f"{purged},1,malignant,,2026-03-02\n"))
    assert [row.code.value for row in done.bad] == ["study_not_current"]


def test_nothing_that_a_file_holds_is_in_the_history_but_the_result(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", lesions=(lesion("Mary Roe left"),)), scored("Mary Roe left"))
    imported(sessions, written(HEADER + "1.1,Mary Roe left,malignant,8500/3,2026-03-02\n"))
    with sessions() as session:
        detail = session.scalar(text("SELECT detail::text FROM study_event WHERE event = 'pathology'"))
    assert detail is not None
    assert not [word for word in ("Mary", "1.1", "8500", "2026") if word in detail]
