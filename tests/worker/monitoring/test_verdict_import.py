"""An import of verdicts: all of a file or nothing, once, and nothing of what is no longer what was shown."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads.verdicts import verdicts
from db.writes import ledger
from tests.db.samples import ended, lesion, refused, scored, study
from worker.monitoring.imported_rows import Imported
from worker.monitoring.verdict_file import read_verdicts
from worker.monitoring.verdict_import import import_verdicts
from worker.scoring.worklist_place import place_studies

Write = Callable[[str | bytes], Path]

HEADER = "study,revision,lesion_id,final_birads,reader,read_at,lh_version,bm_version,agrees,remark\n"
MODELS = "1.0,1.0"


def row(study: object = "1.1", lesion: str = "L1", final: str = "3", hour: int = 8, **changes: object) -> str:
    values = {"revision": 1, "models": MODELS, "agrees": "yes", "remark": ""} | changes
    at = f"2026-03-02T{hour:02}:00:00Z"
    cells = [study, values["revision"], lesion, final, "B", at, values["models"], values["agrees"], values["remark"]]
    return ",".join(map(str, cells)) + "\n"


def imported(sessions: sessionmaker[Session], path: Path, *, skip_bad: bool = False) -> Imported:
    with sessions.begin() as session:
        return import_verdicts(session, read_verdicts(path), skip_bad=skip_bad)


def changes(done: Imported) -> dict[str, int]:
    return {change.value: count for change, count in done.changes.items() if count}


def on_record(sessions: sessionmaker[Session]) -> list[tuple[str, str]]:
    with sessions() as session:
        return sorted((one.lesion_id, one.final_birads) for one in verdicts(session))


def test_a_file_is_imported_once_however_often_and_a_later_verdict_replaces(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        both = (lesion("L1"), lesion("L2", "4B"))
        by_id = ended(session, study("1.1", lesions=both), scored("L1"), scored("L2", birads="4B")).study_id
        ended(session, study("1.2", accession_number="A7"), scored())
    first = HEADER + row(by_id) + row(lesion="L2", final="5", agrees="") + row("A7", final="4a")
    assert changes(imported(sessions, written(first))) == {"new": 3}
    assert changes(imported(sessions, written(first))) == {"unchanged": 3}
    assert changes(imported(sessions, written(HEADER + row(final="4C", hour=9, agrees="no")))) == {"corrected": 1}
    assert changes(imported(sessions, written(first))) == {"unchanged": 3}
    assert changes(imported(sessions, written(HEADER + row(final="2", hour=7)))) == {"outdated": 1}
    assert on_record(sessions) == [("L1", "4A"), ("L1", "4C"), ("L2", "5")]
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM worklist WHERE read_at IS NULL")) == 0
        assert session.scalars(text("SELECT DISTINCT read_by FROM worklist")).all() == ["B"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    said=st.lists(
        st.tuples(st.sampled_from(["2", "3", "4A", "5"]), st.integers(1, 20)), max_size=6, unique_by=lambda one: one[1]
    ),
    at_once=st.booleans(),
)
def test_in_whatever_order_verdicts_come_the_latest_reading_counts_and_a_repetition_changes_nothing(
    sessions: sessionmaker[Session], written: Write, said: list[tuple[str, int]], at_once: bool
) -> None:
    uid = f"1.{uuid4().int}"
    with sessions.begin() as session:
        study_id = ended(session, study(uid), scored()).study_id
    rows = [row(uid, final=final, hour=hour) for final, hour in said]
    files = [HEADER + "".join(rows)] if at_once else [HEADER + one for one in rows]
    for _ in range(2):
        for content in files:
            imported(sessions, written(content))
        with sessions() as session:
            found = [one.final_birads for one in verdicts(session, [study_id])]
            kept = session.scalar(text("SELECT count(*) FROM reading WHERE study_id = :id"), {"id": study_id})
        assert found == ([max(said, key=lambda one: one[1])[0]] if said else [])
        assert kept == len(said)


def test_a_verdict_on_what_is_not_shown_any_more_is_outdated(sessions: sessionmaker[Session], written: Write) -> None:
    with sessions.begin() as session:
        first = ended(session, study("1.1"), scored()).study_id
        second = ended(session, study("1.1", "b", lesions=(lesion("L1"), lesion("L2"))), scored("L1"), refused("L2"))
        place_studies(session, [first, second.study_id])
    bad = [row(), row(revision=2, models="1.0,2.0"), row(revision=2, models=","), row(lesion="L2", revision=2)]
    good = [row(revision=2), row(lesion="L2", revision=2, models=",", agrees="")]
    done = imported(sessions, written(HEADER + "".join(bad + good)), skip_bad=True)
    assert [(one.line, one.code) for one in done.bad] == [(line, "verdict_outdated") for line in (2, 3, 4, 5)]
    assert changes(done) == {"new": 2}


def test_one_bad_row_leaves_the_others_unwritten_unless_it_is_to_be_left_out(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        former = ended(session, study("1.1"), scored()).study_id
        ended(session, study("1.1", "b"), scored())
        ended(session, study("1.2", accession_number="A2"), scored())
        ended(session, study("1.3", accession_number="A2"), scored())
    bad = {
        "study_not_found": row("9.9"),
        "study_ambiguous": row("A2"),
        "study_not_current": row(former),
        "lesion_not_found": row(revision=2, lesion="L9"),
        "verdict_outdated": row(revision=1),
        "row_invalid": row(revision=2, final="7"),
    }
    twice = row(revision=2, final="2") + row(revision=2, final="5")
    path = written(HEADER + "".join(bad.values()) + twice + row("1.2"))
    done = imported(sessions, path)
    assert [one.code.value for one in done.bad] == [*bad, "result_contradictory", "result_contradictory"]
    assert (done.rows, changes(done), on_record(sessions)) == (9, {}, [])
    assert changes(imported(sessions, path, skip_bad=True)) == {"new": 1}


def test_where_there_is_no_advice_there_is_nothing_to_agree_with(
    sessions: sessionmaker[Session], written: Write
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", lesions=(lesion("L1", "4B"),)), scored(birads="4B"))
    [bad] = imported(sessions, written(HEADER + row())).bad
    assert (bad.code, bad.reason) == ("row_invalid", "agrees: there is no advice on this lesion")


def test_a_waiting_study_can_be_read(sessions: sessionmaker[Session], written: Write) -> None:
    with sessions.begin() as session:
        recorded = ledger.record_study(session, study("1.1"))
        place_studies(session, [recorded.study_id])
    assert changes(imported(sessions, written(HEADER + row(models=",", agrees="", final="5")))) == {"new": 1}
    assert on_record(sessions) == [("L1", "5")]
