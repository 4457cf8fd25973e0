import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import ModelConflict
from db.reads import study_queries
from db.reads.study_results import study_results
from db.schema.images import MarkedImageRow
from db.schema.records import LesionImageRecord, ModelRecord, Recorded
from db.schema.tables import LesionRow, StudyEventRow, StudyRow
from db.schema.vocabulary import Priority
from db.writes import ledger, rescoring
from db.writes.pathology import find_studies
from tests.db.samples import arrived, claim_one, claimed, digest, ended, lesion, model, scored, study
from worker.errors import Code


def events(session: Session, study_id: UUID) -> list[str]:
    rows = session.scalars(
        select(StudyEventRow.event).where(StudyEventRow.study_id == study_id).order_by(StudyEventRow.id)
    )
    return list(rows)


def refuse(
    session: Session, raw: object = None, content: str = "bad", priority: str = "routine", **named: str | None
) -> UUID:
    return ledger.record_refusal(
        session,
        digest(content),
        raw,
        Code.JOB_INVALID.value,
        "lesions: missing",
        named.pop("source", None) or "queue",
        priority=priority,
        **named,
    )


def test_a_new_study_is_queued_with_its_lesions_in_the_jobs_order(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = ledger.record_study(session, study(lesions=(lesion("L2", "5"), lesion("L1", roi=None, frame=None))))
        assert recorded == Recorded(recorded.study_id, 1, "new", "queued", "routine")
        [detail] = study_queries.study_details(session, recorded.study_id)
    assert [(part.lesion_id, part.birads, part.state) for part in detail.lesions] == [
        ("L2", "5", "waiting"),
        ("L1", "4A", "waiting"),
    ]
    images = [image for part in detail.lesions for image in part.images]
    assert [(image.ordinal, image.roi, image.frame, image.state) for image in images] == [
        (1, (10, 20, 30, 40), 1, "waiting"),
        (1, None, None, "waiting"),
    ]
    assert [event.event for event in detail.events] == ["received"]


def test_a_lesion_is_recorded_with_its_images_and_its_place(sessions: sessionmaker[Session]) -> None:
    images = (LesionImageRecord("1.2.3.1", 3, (1, 2, 3, 4), "radial"), LesionImageRecord("1.2.3.2", None, None))
    place = {"laterality": "left", "clock_position": 12, "distance_to_nipple_mm": 0.0, "depth_mm": 300.0}
    with sessions.begin() as session:
        recorded = ledger.record_study(
            session, study(lesions=(lesion("L1", "4", images=images, **place), lesion("L2")))
        )
        [detail] = study_queries.study_details(session, recorded.study_id)
    first, second = detail.lesions
    assert [(one.ordinal, one.frame, one.roi, one.plane) for one in first.images] == [
        (1, 3, (1, 2, 3, 4), "radial"),
        (2, None, None, None),
    ]
    assert first.birads == "4"
    assert {name: getattr(first, name) for name in place} == place
    assert {getattr(second, name) for name in place} == {None}
    assert len(second.images) == 1


def test_a_thousand_lesions_of_two_images_are_recorded_with_few_statements(sessions: sessionmaker[Session]) -> None:
    images = (LesionImageRecord("1.2.3.1", 1, None), LesionImageRecord("1.2.3.2", 1, None))
    with sessions.begin() as session:
        statements: list[str] = []
        event.listen(session.get_bind(), "before_cursor_execute", lambda *call: statements.append(call[2]))
        ledger.record_study(session, study(lesions=tuple(lesion(f"L{n}", images=images) for n in range(1_000))))
        assert len(statements) < 20
        assert session.scalar(select(func.count()).select_from(MarkedImageRow)) == 2_000


def test_the_same_study_again_changes_nothing_and_is_remembered(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        first = ledger.record_study(session, study())
    with sessions.begin() as session:
        again = ledger.record_study(session, study())
        assert again == Recorded(first.study_id, 1, "unchanged", "queued", "routine")
        assert events(session, first.study_id) == ["received", "unchanged"]
        assert session.scalar(select(func.count()).select_from(LesionRow)) == 1


@pytest.mark.parametrize(
    ("before", "after", "change", "kept"),
    [
        ("routine", "urgent", "priority_raised", "urgent"),
        ("urgent", "stat", "priority_raised", "stat"),
        ("stat", "routine", "unchanged", "stat"),
        ("urgent", "urgent", "unchanged", "urgent"),
    ],
)
def test_a_priority_rises_and_never_falls(
    sessions: sessionmaker[Session], before: str, after: str, change: str, kept: str
) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study(priority=before))
        recorded = ledger.record_study(session, study(priority=after))
        assert (recorded.change, recorded.priority, recorded.revision) == (change, kept, 1)
        assert claimed(session, recorded.study_id).priority == kept


def test_other_content_is_a_new_revision_and_takes_the_earlier_one_s_place_on_the_worklist(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        first = ended(session, study(content="a"), scored())
        second = arrived(session, study(content="b", lesions=(lesion("L1", "5"),)))
        assert (second.revision, second.change, second.state) == (2, "revised", "queued")
        assert second.study_id != first.study_id
        assert [row.study_id for row in study_queries.worklist(session)] == [second.study_id]
        assert events(session, first.study_id)[-1] == "superseded"
        assert events(session, second.study_id) == ["revised"]
        [detail] = study_queries.study_details(session, "1.2.3")
        assert [(part.birads, part.predictions, part.outcome) for part in detail.lesions] == [("5", (), None)]
        [history] = study_queries.study_details(session, first.study_id)
        assert (history.is_current, history.lesions[0].outcome) == (False, "upgraded")


def test_an_earlier_revision_that_is_delivered_late_changes_nothing(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study(content="a"))
        second = ledger.record_study(session, study(content="b"))
        late = ledger.record_study(session, study(content="a", priority="stat"))
        assert late == Recorded(second.study_id, 2, "earlier_revision", "queued", "routine")
        assert events(session, second.study_id) == ["revised", "earlier_revision"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pushes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Priority)), st.booleans()), min_size=1))
def test_any_sequence_of_pushes_leaves_one_current_revision_and_the_latest_new_content(
    sessions: sessionmaker[Session], pushes: list[tuple[str, Priority, bool]]
) -> None:
    uid = f"1.2.{uuid4().int}"
    seen: list[str] = []
    urgent = Priority.ROUTINE
    for content, priority, finish in pushes:
        with sessions.begin() as session:
            recorded = ledger.record_study(session, study(uid, content, priority=priority.value))
            if recorded.change != "earlier_revision":
                urgent = min(urgent, priority, key=list(Priority).index)
            assert recorded.priority == urgent
            if finish and recorded.state == "queued":
                ended(session, study(uid, content, priority=priority.value), scored())
        if content not in seen:
            seen.append(content)
    with sessions.begin() as session:
        rows = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == uid).order_by(StudyRow.revision)
        ).all()
        assert [row.content_digest for row in rows] == [digest(content) for content in seen]
        assert [row.is_current for row in rows] == [False] * (len(seen) - 1) + [True]


@pytest.mark.parametrize(("content", "event"), [("a", "unchanged"), ("b", "revised")])
def test_a_study_that_comes_again_less_urgent_keeps_its_priority_and_its_history_says_so(
    sessions: sessionmaker[Session], content: str, event: str
) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study(priority="stat"))
        again = ledger.record_study(session, study(content=content, priority="urgent"))
        assert again.priority == "stat"
        [detail] = study_queries.study_details(session, again.study_id)
        assert (detail.priority, detail.events[-1].event) == ("stat", event)
        assert detail.events[-1].detail["kept_priority"] == "stat"


def test_a_study_that_is_pushed_from_many_sides_at_once_is_recorded_once(sessions: sessionmaker[Session]) -> None:
    recorded: list[Recorded] = []
    start = threading.Barrier(12)

    def push(content: str) -> None:
        start.wait()
        with sessions.begin() as session:
            recorded.append(ledger.record_study(session, study(content=content)))

    threads = [threading.Thread(target=push, args=(content,)) for content in "abc" * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = sorted(item.change for item in recorded)
    assert changes.count("new") == 1
    assert changes.count("revised") == 2
    assert len(changes) == 12
    with sessions.begin() as session:
        rows = session.execute(select(StudyRow.revision, StudyRow.is_current).order_by(StudyRow.revision)).all()
        assert [tuple(row) for row in rows] == [(1, False), (2, False), (3, True)]
        assert session.scalar(select(func.count()).select_from(LesionRow)) == 3


def test_a_refused_message_is_listed_once_however_often_it_comes_and_is_no_study_of_the_worklist(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        first = refuse(session, {"lesions": 3})
        assert refuse(session, {"lesions": 3}) == first
        assert events(session, first) == ["refused", "unchanged"]
        assert study_queries.worklist(session) == []
        [failure] = study_queries.failed(session)
        assert (failure.study_id, failure.study_instance_uid, failure.state) == (first, None, "failed")
        assert (failure.error_code, failure.error_reason, failure.refused) == ("job_invalid", "lesions: missing", True)


def test_refused_messages_are_listed_by_their_priority(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        refuse(session, content="routine")
        urgent = refuse(session, content="stat", priority="stat")
        assert study_queries.failed(session)[0].study_id == urgent


NAMES = {"study_instance_uid": "1.2.3", "accession_number": "A1"}


def test_a_refused_message_is_found_by_what_it_names(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        refusal = refuse(session, **NAMES)
        [failure] = study_queries.failed(session)
        assert (failure.study_instance_uid, failure.accession_number) == ("1.2.3", "A1")
        for name in NAMES.values():
            [found] = study_queries.study_details(session, name)
            assert (found.study_id, found.refused, found.study_instance_uid) == (refusal, True, "1.2.3")
            assert study_results(session, name) == [], "no document is made of it"
            assert find_studies(session, {name}) == {}, "no pathology is of it"


def test_a_study_that_is_accepted_retires_what_was_refused_of_it_and_nothing_else(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        first = refuse(session, content="one", **NAMES)
        second = refuse(session, content="two", study_instance_uid="1.2.3", source="receive")
        of_another = refuse(session, content="three", study_instance_uid="1.2.4", accession_number="A1")
        of_nobody = refuse(session, content="four")
        accepted = ledger.record_study(session, study("1.2.3", accession_number="A1")).study_id
        assert {row.study_id for row in study_queries.failed(session)} == {of_another, of_nobody}
        assert [events(session, one)[-1] for one in (first, second)] == ["retired"] * 2
        assert [found.study_id for found in study_queries.study_details(session, "1.2.3")] == [accepted]
        assert [found.study_id for found in study_queries.study_details(session, first)] == [first], (
            "it stays on record"
        )


@pytest.mark.parametrize("change", ["unchanged", "revised", "earlier_revision", "priority_raised"])
def test_a_study_that_comes_again_retires_what_was_refused_meanwhile(
    sessions: sessionmaker[Session], change: str
) -> None:
    again = {
        "unchanged": study("1.2.3"),
        "revised": study("1.2.3", content_digest=digest("other")),
        "earlier_revision": study("1.2.3"),
        "priority_raised": study("1.2.3", priority="stat"),
    }[change]
    with sessions.begin() as session:
        ledger.record_study(session, study("1.2.3"))
        if change == "earlier_revision":
            ledger.record_study(session, study("1.2.3", content_digest=digest("newer")))
        refuse(session, **NAMES)
        assert ledger.record_study(session, again).change == change
        assert study_queries.failed(session) == []


def test_what_was_retired_and_comes_again_is_listed_again_and_what_a_person_put_aside_is_not(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        refusal = refuse(session, **NAMES)
        ledger.record_study(session, study("1.2.3"))
        assert refuse(session, **NAMES) == refusal
        assert [row.study_id for row in study_queries.failed(session)] == [refusal]
        assert events(session, refusal) == ["refused", "retired", "refused"]
        ledger.discard(session, refusal, "the sender knows", "anne@ward")
        refuse(session, **NAMES)
        assert study_queries.failed(session) == []
        ledger.record_study(session, study("1.2.3"))
        assert events(session, refusal)[-2:] == ["discarded", "unchanged"]


@pytest.mark.parametrize("uid", ["1.2.3", "not valid"])
def test_a_refusal_retires_those_before_it_of_its_study_that_came_the_same_way(
    sessions: sessionmaker[Session], uid: str
) -> None:
    raw = {"study_instance_uid": uid}
    with sessions.begin() as session:
        refuse(session, raw, content="one", source="receive")
        pushed = refuse(session, raw, content="two", source="queue")
        nameless = refuse(session, "text", content="three", source="receive")
        other = refuse(session, {"study_instance_uid": "1.2"}, content="four", source="receive")
        last = refuse(session, raw, content="five", source="receive")
        ledger.retire_earlier(session, last, "receive")
        assert {row.study_id for row in study_queries.failed(session)} == {pushed, nameless, other, last}
        ledger.retire_earlier(session, nameless, "receive")
        assert {row.study_id for row in study_queries.failed(session)} == {pushed, nameless, other, last}


def test_a_message_refused_on_many_sides_at_once_is_one_row(sessions: sessionmaker[Session]) -> None:
    start = threading.Barrier(8)
    found: list[UUID] = []

    def push() -> None:
        start.wait()
        with sessions.begin() as session:
            found.append(refuse(session))

    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_refused_message_is_neither_claimed_nor_queued_again(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = refuse(session)
        assert not ledger.requeue(session, study_id)
        assert claim_one(session, study_id, 3, lease_s=-1) is None


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "raw",
    [
        None,
        3,
        "text",
        "NUL \x00",
        "\ud800 alone",
        float("nan"),
        {"a": float("inf")},
        {"\x00": "\\u0000"},
        b"bytes",
        nested(150),
        nested(5_000),
        {"birads": "4A", "lesions": [{}] * 2_000},
        "ä" * 10_000,
    ],
    ids=lambda raw: repr(raw)[:30] if not isinstance(raw, list) else "nested",
)
def test_whatever_was_refused_is_kept(sessions: sessionmaker[Session], raw: object) -> None:
    with sessions.begin() as session:
        study_id = refuse(session, raw)
    with sessions.begin() as session:
        kept = session.scalars(select(StudyRow.job).where(StudyRow.id == study_id)).one()
    try:
        same = kept == json.loads(json.dumps(raw))
    except (TypeError, ValueError, RecursionError):
        same = False
    assert same or isinstance(kept, str)


def test_a_studys_digest_and_probabilities_are_checked_by_the_database_itself(sessions: sessionmaker[Session]) -> None:
    for change in ("content_digest = 'x'", "malignant_probability = 1.1", "malignant_probability = 'NaN'"):
        with sessions.begin() as session:
            ledger.record_study(session, study(change))
        with sessions() as session, pytest.raises(IntegrityError):
            session.execute(text(f"UPDATE study SET {change}"))


def test_models_are_brought_up_to_date_but_never_change_their_weights(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.register_model(session, model("DLR_LH", notice="another"))
        assert session.scalar(text("SELECT notice FROM model WHERE name = 'DLR_LH'")) == "another"
        with pytest.raises(ModelConflict):
            ledger.register_model(session, model("DLR_LH", weights="other"))
        ledger.register_model(session, model("DLR_LH", "1.1", weights="other"))


BEFORE = {"temperature": 2.0, "threshold": 0.4, "conformal": {"coverage": 0.9, "quantile": 0.6, "lesions": 300}}


@pytest.mark.parametrize("put", [ledger.register_model, rescoring.register])
@pytest.mark.parametrize(
    ("stored", "given", "differs"),
    [
        (BEFORE, BEFORE | {"temperature": 1.0}, "temperature"),
        (BEFORE, BEFORE | {"threshold": 0.5}, "threshold"),
        (BEFORE, BEFORE | {"conformal": None}, "conformal"),
        (BEFORE, BEFORE | {"conformal": {"coverage": 0.9, "quantile": 0.7, "lesions": 300}}, "conformal"),
        ({"threshold": 0.4}, BEFORE, "temperature, conformal"),
        (BEFORE, BEFORE | {"sites": {"North": {"threshold": 0.5}}}, "sites"),
        (BEFORE, BEFORE | {"sites": {}}, None),
        (BEFORE, BEFORE | {"metrics": {"auc": 0.9}}, None),
        ({"threshold": 0.4}, {"threshold": 0.4, "temperature": 1.0, "conformal": None}, None),
    ],
)
def test_scores_of_one_version_are_never_on_two_scales(
    sessions: sessionmaker[Session],
    put: Callable[[Session, ModelRecord], object],
    stored: dict[str, object],
    given: dict[str, object],
    differs: str | None,
) -> None:
    said = f"DLR_BM 3.0 is on record with another card, by its {differs}: "
    with sessions.begin() as session:
        put(session, replace(model("DLR_BM", "3.0"), card=stored))
        with nullcontext() if differs is None else pytest.raises(ModelConflict, match=said):
            put(session, replace(model("DLR_BM", "3.0"), card=given))


def test_the_rest_of_a_card_is_brought_up_to_date(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.register_model(session, replace(model("DLR_BM", "3.0"), card=BEFORE))
        ledger.register_model(session, replace(model("DLR_BM", "3.0"), card=BEFORE | {"metrics": {"auc": 0.9}}))
        stored = session.scalar(text("SELECT card FROM model WHERE name = 'DLR_BM' AND version = '3.0'"))
    assert stored == BEFORE | {"metrics": {"auc": 0.9}}
