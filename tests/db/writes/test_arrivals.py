"""Many studies recorded at once are what each would be by itself, and each is recorded once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import LesionImageRecord, StudyRecord
from db.writes import ledger
from tests.db.samples import digest, lesion, study

ROOTS = count(100)
PLACE = {"laterality": "left", "clock_position": 12, "distance_to_nipple_mm": 0.0, "depth_mm": 300.0}
STUDIES = [
    study("1.2.1", accession_number=None, priority="stat"),
    study(
        "1.2.2",
        lesions=(
            lesion("L2", "5", **PLACE),
            lesion(
                "L1", images=(LesionImageRecord("1.2.3.1", 3, (1, 2, 3, 4), "radial"), LesionImageRecord("1", 2, None))
            ),
        ),
        job={"name": "Ünal\\\"'{},NULL", "nested": {"empty": [], "none": None, "number": 0.1}},
        source="submit",
    ),
    study("1.2.3", lesions=(lesion("L" * 64, roi=None, frame=None),), traceparent=f"00-{'a' * 32}-{'b' * 16}-01"),
]


def rows(session: Session, uids: list[str]) -> list[Any]:
    """All that the ledger has of studies, but for identities and times."""
    query = text("""
        SELECT study.study_instance_uid, revision, is_current, content_digest, accession_number, priority, job, source,
               study.state, attempts, traceparent, lesion.lesion_id, lesion.ordinal, birads, descriptors,
               lesion.laterality, clock_position, distance_to_nipple_mm, depth_mm, lesion.state, image.ordinal,
               image.sop_instance_uid, image.frame, roi_x, roi_y, roi_width, roi_height, plane, image.state,
               (SELECT array_agg((event, detail) ORDER BY id) FROM study_event WHERE study_id = study.id)::text
        FROM study JOIN lesion ON lesion.study_id = study.id JOIN marked_image AS image ON image.lesion_id = lesion.id
        WHERE study.study_instance_uid = ANY(:uids) ORDER BY 1, lesion.ordinal, image.ordinal""")
    return [tuple(row) for row in session.execute(query, {"uids": uids})]


def test_studies_recorded_at_once_are_what_each_is_by_itself(sessions: sessionmaker[Session]) -> None:
    alone = [replace(one, study_instance_uid=f"{one.study_instance_uid}.9") for one in STUDIES]
    with sessions.begin() as session:
        recorded = ledger.record_new(session, STUDIES)
        expected = [ledger.record_study(session, one) for one in alone]
        together, apart = (rows(session, [one.study_instance_uid for one in some]) for some in (STUDIES, alone))
    assert [one and (one.revision, one.change, one.state, one.priority) for one in recorded] == [
        (one.revision, one.change, one.state, one.priority) for one in expected
    ]
    assert len(together) == 5
    assert [row[1:] for row in together] == [row[1:] for row in apart]


def test_what_is_on_record_and_what_comes_twice_is_left_to_its_own_transaction(sessions: sessionmaker[Session]) -> None:
    known, new, again = study("1.2.1"), study("1.2.2", "first"), study("1.2.2", "second")
    with sessions.begin() as session:
        ledger.record_study(session, known)
    with sessions.begin() as session:
        recorded = ledger.record_new(session, [replace(known, content_digest=digest("other")), new, again])
        found = rows(session, ["1.2.1", "1.2.2"])
    assert [one is None for one in recorded] == [True, False, True]
    assert [(row[0], row[3]) for row in found] == [("1.2.1", digest("a")), ("1.2.2", digest("first"))]
    assert [row[-1] for row in found] == [
        '{"(received,\\"{\\"\\"source\\"\\": \\"\\"queue\\"\\", \\"\\"revision\\"\\": 1}\\")"}'
    ] * 2


def test_what_was_refused_of_studies_is_retired_whichever_way_they_came(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        named, numbered, other = (
            ledger.record_refusal(session, digest(name), {}, "job_invalid", "lesions: missing", "queue", **said)
            for name, said in {
                "named": {"study_instance_uid": "1.2.1"},
                "numbered": {"accession_number": "N"},
                "other": {"study_instance_uid": "1.2.9", "accession_number": "N"},
            }.items()
        )
        ledger.record_new(session, [study("1.2.1"), study("1.2.2", accession_number="N", source="submit")])
        listed = session.scalars(text("SELECT id FROM study WHERE discarded_at IS NULL AND study_instance_uid IS NULL"))
        assert list(listed) == [other]
        by = session.execute(text("SELECT study_id, detail ->> 'by' FROM study_event WHERE event = 'retired'"))
        assert {tuple(row) for row in by} == {(named, "queue"), (numbered, "submit")}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=2, max_size=4))
def test_batches_that_overlap_and_run_at_once_record_each_study_once(
    sessions: sessionmaker[Session], batches: list[list[str]]
) -> None:
    root = f"1.2.{next(ROOTS)}"

    def record(batch: list[str]) -> list[str]:
        studies: list[StudyRecord] = [study(f"{root}.{ord(name)}") for name in batch]
        with sessions.begin() as session:
            recorded = ledger.record_new(session, studies)
        return [name for name, one in zip(batch, recorded, strict=True) if one is not None]

    with ThreadPoolExecutor(len(batches)) as pool:
        recorded = [name for new in pool.map(record, batches) for name in new]
    assert sorted(recorded) == sorted({name for batch in batches for name in batch})
    with sessions() as session:
        assert len(rows(session, [f"{root}.{ord(name)}" for name in "abcdef"])) == len(recorded)


def test_any_number_of_studies_is_the_same_number_of_statements(sessions: sessionmaker[Session]) -> None:
    told: list[str] = []
    with sessions() as session:
        engine = session.get_bind()
    listener = lambda *arguments: told.append(arguments[2])  # noqa: E731
    event.listen(engine, "before_cursor_execute", listener)
    counts = []
    for first, many in ((0, 1), (10, 30)):
        told.clear()
        with sessions.begin() as session:
            ledger.record_new(session, [study(f"1.2.{first + number}") for number in range(many)])
        counts.append(len(told))
    event.remove(engine, "before_cursor_execute", listener)
    assert counts[0] == counts[1] <= 2
