"""Scores of versions that are not in service: what is looked for, and that nothing but scores can come of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.errors import ModelConflict
from db.migrate import PAGE_VIEWS, VIEWS
from db.reads import metrics, monitoring, study_queries
from db.reads.described_lesions import described_lesions
from db.reads.evaluated_lesions import advising_pairs
from db.reads.study_results import study_results
from db.schema.roles import SHADOW
from db.session import driver_url, make_engine, session_factory
from db.writes import ledger, rescoring
from db.writes.rescoring import Page, ScoresWanted
from tests.conftest import Database, NewDatabase
from tests.db.samples import (
    claimed,
    ended,
    lesion,
    model,
    prediction,
    refused,
    register,
    result,
    scored,
    study,
    writing,
)
from tests.db.schema.test_roles import DENIED, TABLES, sqlstate

pytestmark = pytest.mark.slow


@pytest.fixture
def shadow(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.shadow_url, SHADOW, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def shadows(shadow: Engine) -> sessionmaker[Session]:
    """Sessions of dlr_shadow."""
    return session_factory(shadow)


def registered(shadows: sessionmaker[Session], version: str = "2.0", name: str = "DLR_BM") -> int:
    with shadows.begin() as session:
        return rescoring.register(session, model(name, version))


def names(page: Page, sessions: sessionmaker[Session]) -> list[str]:
    """The lesions of a page by their names, in its order."""
    keys = [one.key for found in page.studies for one in found.lesions]
    with sessions() as session:
        known = dict(map(tuple, session.execute(text("SELECT id, lesion_id FROM lesion")).all()))
    return [known[key] for key in keys]


def looked_for(shadows: sessionmaker[Session], *wanted: ScoresWanted, **options: Any) -> Page:
    with shadows() as session:
        return rescoring.page(session, wanted, **options)


# --- which lesions lack a score


def test_lesions_that_lack_a_versions_score_are_found_the_latest_first(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", lesions=(lesion("A"), lesion("B"))), scored("A"), refused("B"))
        ended(session, study("1.2", lesions=(lesion("C"),)), scored("C"))
        ended(session, study("1.3", lesions=(lesion("D"),)), refused("D"))
        ledger.record_study(session, study("1.4", lesions=(lesion("E"),)))
    key = registered(shadows)
    found = looked_for(shadows, ScoresWanted(key))
    assert names(found, sessions) == ["C", "A"], "scored in service, and neither what failed nor what waits"
    (first, _) = found.studies
    assert first.study_instance_uid == "1.2"
    assert first.job == {"content": "a"}
    (one,) = first.lesions
    [image] = one.images
    assert (image.region, one.age_years, image.frame, one.model_keys) == ((10, 20, 30, 40), 47.0, 1, (key,))


def test_a_score_or_a_refusal_ends_the_search_and_asking_again_looks_behind_refusals(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study(lesions=(lesion("A"), lesion("B"), lesion("C"))), scored("A"), scored("B"), scored("C"))
    first, second = registered(shadows), registered(shadows, "3.0")
    a, b, _ = sorted(one.key for one in looked_for(shadows, ScoresWanted(first)).studies[0].lesions)
    with shadows.begin() as session:
        rescoring.add_score(session, a, first, prediction("DLR_BM", 0.2, "2.0"), {})
        rescoring.add_refusal(session, b, first, "file_not_found")
        rescoring.add_refusal(session, b, first, "image_changed")
    assert names(looked_for(shadows, ScoresWanted(first)), sessions) == ["C"]
    assert names(looked_for(shadows, ScoresWanted(first), again=True), sessions) == ["C", "B"]
    both = looked_for(shadows, ScoresWanted(first), ScoresWanted(second)).studies[0].lesions
    assert [one.model_keys for one in both] == [(first, second), (second,), (second,)]
    with shadows() as session:
        counted = rescoring.score_counts(session, ScoresWanted(first))
    assert (counted.scored, counted.refused, counted.purged, counted.missing) == (1, {"file_not_found": 1}, 0, 1)


def test_a_replaced_revision_a_purged_study_and_what_came_too_early_are_not_looked_at(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", "old", lesions=(lesion("A"),)), scored("A"))
        ended(session, study("1.1", "new", lesions=(lesion("B"),)), scored("B"))
        ended(session, study("1.2", lesions=(lesion("C"),)), scored("C"))
    with sessions.begin() as session:
        ledger.purge(session, datetime.now(UTC) + timedelta(days=1), "test", limit=100)
    with sessions.begin() as session:
        ended(session, study("1.3", lesions=(lesion("D"),)), scored("D"))
    key, now = registered(shadows), datetime.now(UTC)
    assert names(looked_for(shadows, ScoresWanted(key)), sessions) == ["D"]
    late = looked_for(shadows, ScoresWanted(key, now))
    assert (late.studies, late.lowest) == ((), None), "nothing that follows can be later"
    with shadows() as session:
        assert rescoring.score_counts(session, ScoresWanted(key)).purged == 2, "of the current revisions alone"
        assert rescoring.score_counts(session, ScoresWanted(key, now)).missing == 0


def test_pages_go_through_every_lesion_once(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "PAGE_LESIONS", 3)
    with sessions.begin() as session:
        for number in range(7):
            ended(session, study(f"1.{number}", lesions=(lesion(f"L{number}"),)), scored(f"L{number}"))
    key, below, seen = registered(shadows), None, []
    while True:
        page = looked_for(shadows, ScoresWanted(key), below=below)
        seen += names(page, sessions)
        below = page.lowest
        if below is None:
            break
    assert seen == [f"L{number}" for number in reversed(range(7))]
    with shadows() as session:
        latest = rescoring.latest_lesion(session)
    assert looked_for(shadows, ScoresWanted(key), above=latest).lowest is None


def test_live_work_is_what_is_queued_or_runs(sessions: sessionmaker[Session], shadows: sessionmaker[Session]) -> None:
    def waits() -> bool:
        with shadows() as session:
            return rescoring.live_work_waits(session)

    assert not waits()
    with sessions.begin() as session:
        recorded = ledger.record_study(session, study())
    assert waits()
    with sessions.begin() as session:
        claim = claimed(session, recorded.study_id)
    assert waits()
    with sessions.begin() as session:
        assert ledger.finish(session, [result(claim, scored())])
    assert not waits()


def test_a_version_is_registered_once_and_never_with_other_weights(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session]
) -> None:
    assert registered(shadows) == registered(shadows)
    with pytest.raises(ModelConflict), shadows.begin() as session:
        rescoring.register(session, model("DLR_BM", "2.0", weights="other"))
    with sessions.begin() as session:
        ledger.register_model(session, model("DLR_BM", "2.0", notice=None))


def test_a_score_that_is_there_stays_as_it_is(sessions: sessionmaker[Session], shadows: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study(), scored(bm=0.8))
    key = registered(shadows, "1.0")
    with sessions() as session:
        lesion_key = session.scalar(text("SELECT id FROM lesion"))
    assert lesion_key is not None
    with shadows.begin() as session:
        rescoring.add_score(session, lesion_key, key, prediction("DLR_BM", 0.1), {})
    with sessions() as session:
        (detail,) = study_queries.study_details(session, recorded.study_id)
    assert [part.positive_probability for part in detail.lesions[0].predictions] == [0.9, 0.8]


def test_a_shadows_score_is_no_score_in_service_when_its_version_is_activated_later(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session], database: Database
) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study(lesions=(lesion("A"), lesion("B"))), scored("A", lh=0.9, bm=0.8), refused("B"))
    key = registered(shadows)
    with shadows.begin() as session:
        (found,) = rescoring.page(session, [ScoresWanted(key)]).studies
        rescoring.add_score(session, found.lesions[0].key, key, prediction("DLR_BM", 0.1, "2.0"), {})
    with sessions.begin() as session:
        register(session, "2.0")
        assert ledger.requeue(session, recorded.study_id)
        claim = claimed(session, recorded.study_id)
        live = [scored(name, lh=0.9, bm=0.7, version="2.0") for name in ("A", "B")]
        assert ledger.finish(session, [result(claim, *live)])
    with make_engine(database.reader_url, role=None, poolclass=NullPool).connect() as reader:
        rows = reader.execute(text("SELECT malignant_probability, bm_version, outcome FROM lesion_result")).all()
    assert [tuple(row) for row in rows] == [(0.7, "2.0", "upgraded")] * 2


def test_who_shows_a_study_sees_which_of_its_scores_are_in_service(
    sessions: sessionmaker[Session], shadows: sessionmaker[Session], database: Database
) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study(), scored(lh=0.9, bm=0.8))
    key = registered(shadows)
    with shadows.begin() as session:
        (found,) = rescoring.page(session, [ScoresWanted(key)]).studies
        rescoring.add_score(session, found.lesions[0].key, key, prediction("DLR_BM", 0.1, "2.0"), {})
    with sessions() as session:
        (detail,) = study_queries.study_details(session, recorded.study_id)
    told = {(one.model_name, one.model_version): one.in_service for one in detail.lesions[0].predictions}
    assert told == {("DLR_LH", "1.0"): True, ("DLR_BM", "1.0"): True, ("DLR_BM", "2.0"): False}
    with make_engine(database.reader_url, role=None, poolclass=NullPool).connect() as reader:
        rows = reader.execute(
            text("SELECT model, version, probability, class, in_service FROM lesion_score ORDER BY model, version")
        ).all()
    assert [tuple(row) for row in rows] == [
        ("DLR_BM", "1.0", 0.8, "malignant", True),
        ("DLR_BM", "2.0", 0.1, "benign", False),
        ("DLR_LH", "1.0", 0.9, "high risk", True),
    ]


# --- the role


def test_the_role_of_shadows_can_do_nothing_else(shadow: Engine) -> None:
    for statement in (
        "INSERT INTO restratification (lesion_id, outcome) VALUES (1, 'downgraded')",
        "INSERT INTO study (content_digest, job, source) VALUES (repeat('0', 64), '{}', 'x')",
        "INSERT INTO study_event (study_id, event) VALUES (gen_random_uuid(), 'done')",
        "INSERT INTO pathology (lesion_id, result) VALUES (1, 'benign')",
        "INSERT INTO delivery (destination, study_id, event_id) VALUES ('pacs', gen_random_uuid(), 1)",
        "UPDATE worklist_entry SET place_order = 0",
        "UPDATE reading_order_policy SET state = 'retired'",
        "SELECT 1 FROM worklist_entry",
        "UPDATE study SET state = 'queued'",
        "UPDATE lesion SET state = 'failed'",
        "UPDATE prediction SET positive_probability = 0",
        "UPDATE model SET notice = NULL",
        "UPDATE prediction_refusal SET error_code = 'x'",
        "SELECT accession_number FROM study",
        "SELECT descriptors FROM lesion",
        "SELECT 1 FROM restratification",
        "SELECT 1 FROM pathology",
        "SELECT 1 FROM study_event",
        "SELECT 1 FROM worklist",
        "CREATE TABLE mine (id int)",
        "SET ROLE dlr_writer",
    ):
        assert sqlstate(shadow, statement) == DENIED, statement


def test_the_role_of_shadows_deletes_nothing(shadow: Engine) -> None:
    for table in TABLES.tables:
        for statement in ("DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "SELECT 1 FROM {} FOR UPDATE"):
            assert sqlstate(shadow, statement.format(table)) == DENIED, (table, statement)


# --- a shadow never changes a worklist

PLACES = ("restratification", "study_event", "delivery", "outbox", "pathology", "study", "lesion")
"""What no shadow may touch, beside what people see. Whoever looks has every column and each row's version (xmin)."""

OF_VERSIONS = ("model_card", "lesion_score")
"""Views of versions and their scores, in which a shadow is meant to be seen."""

probability = st.floats(0, 1, allow_nan=False)
one_lesion = st.tuples(
    st.sampled_from(["3", "4A", "4A", "4B", "5"]), st.none() | st.tuples(probability, probability), st.booleans()
)
a_study = st.tuples(
    st.lists(one_lesion, min_size=1, max_size=3), st.sampled_from(["stat", "urgent", "routine"]), st.booleans()
)
shadow_score = st.tuples(
    st.integers(0, 50), st.sampled_from(["DLR_LH", "DLR_BM"]), st.sampled_from(["1.0", "2.0", "3.0"]),
    st.none() | probability,
)  # fmt: skip


def put(session: Session, made: tuple[Any, ...]) -> None:
    """Record a study, and give it its result unless it is to wait."""
    lesions, priority, is_open = made
    marked = tuple(lesion(f"L{n}", birads) for n, (birads, *_) in enumerate(lesions))
    record = study(f"1.2.{uuid4().int}", lesions=marked, priority=priority)
    if is_open:
        ledger.record_study(session, record)
        return
    outcomes = [
        refused(f"L{n}") if scores is None else scored(f"L{n}", *scores, birads=birads)
        for n, (birads, scores, _) in enumerate(lesions)
    ]
    recorded = ended(session, record, *outcomes)
    for n, (_, _, is_known) in enumerate(lesions):
        if is_known:
            session.execute(
                text("INSERT INTO pathology (lesion_id, result) SELECT id, 'malignant' FROM lesion "
                     "WHERE study_id = :study AND lesion_id = :name"),
                {"study": recorded.study_id, "name": f"L{n}"},
            )  # fmt: skip


def seen(owner: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All that people and the sender see, its place in an order included, and the rows behind it."""
    with owner.connect() as connection:
        views = [view for view in (*VIEWS, *PAGE_VIEWS) if view not in OF_VERSIONS]
        found = {
            view: sorted(tuple(map(str, row)) for row in connection.execute(text(f"SELECT * FROM {view}")))
            for view in views
        }
        rows = {
            place: [tuple(map(str, row)) for row in connection.execute(text(f"SELECT xmin, * FROM {place} ORDER BY 2"))]
            for place in PLACES
        }
    return found | rows


def told(sessions: sessionmaker[Session]) -> list[Any]:
    """What monitoring, metrics, documents and evaluations are made of; what has no order of its own is put into one."""
    month = timedelta(days=30)
    with sessions() as session:
        studies = list(session.scalars(text("SELECT id FROM study ORDER BY id")))
        return [
            sorted(monitoring.arms(session), key=str),
            sorted(monitoring.downgraded_cancers(session), key=str),
            sorted(monitoring.scored_lesions(session), key=str),
            sorted(described_lesions(session), key=str),
            sorted(advising_pairs(session), key=str),
            sorted(metrics.recent_outcomes(session, month), key=str),
            sorted(metrics.ended_studies(session), key=str),
            sorted(metrics.failed_studies(session), key=str),
            metrics.binned_probabilities(session, "DLR_BM", "1.0", (0.0, 0.5, 1.0), month),
            metrics.binned_probabilities(session, "DLR_BM", "2.0", (0.0, 0.5, 1.0), month),
            [study_queries.study_place(session, study_id) for study_id in studies],
            [study_results(session, study_id) for study_id in studies],
        ]


def scores_on_record(session: Session) -> set[tuple[int, int]]:
    return {(lesion, model) for lesion, model in session.execute(text("SELECT lesion_id, model_id FROM prediction"))}


@given(studies=st.lists(a_study, min_size=1, max_size=4), said=st.lists(shadow_score, min_size=1, max_size=12))
def test_whatever_shadows_say_in_whatever_order_the_worklist_stays_and_nothing_is_sent(
    new_database: NewDatabase,
    studies: list[tuple[Any, ...]],
    said: list[tuple[Any, ...]],
) -> None:
    # Each example has a database of its own: everything in it is read four times.
    with new_database() as database, writing(database) as sessions:
        shadows_change_nothing(database, sessions, studies, said)


def shadows_change_nothing(
    database: Database,
    sessions: sessionmaker[Session],
    studies: list[tuple[Any, ...]],
    said: list[tuple[Any, ...]],
) -> None:
    shadow = make_engine(database.shadow_url, SHADOW)
    shadows = session_factory(shadow)
    with sessions.begin() as session:
        for made in studies:
            put(session, made)
    owner = make_engine(database.owner_url, role=None)
    with sessions() as session:
        keys = list(session.scalars(text("SELECT id FROM lesion ORDER BY id DESC")))
    listener = psycopg2.connect(driver_url(database.reader_url).set(drivername="postgresql").render_as_string(False))
    listener.autocommit = True
    with listener.cursor() as cursor:
        cursor.execute("LISTEN dlr_study")
        before, before_told = seen(owner), told(sessions)
        scored: set[tuple[int, int]] = set()
        with sessions() as session:
            there = scores_on_record(session)
        for place, name, version, positive in said:
            with shadows.begin() as session:
                key = rescoring.register(session, model(name, version))
                at = keys[place % len(keys)]
                if positive is None:
                    rescoring.add_refusal(session, at, key, "file_not_found")
                else:
                    rescoring.add_score(session, at, key, prediction(name, positive, version), {})
                    scored.add((at, key))
        after = seen(owner)
        cursor.execute("SELECT 1")
    listener.poll()
    heard = listener.notifies[:]
    listener.close()
    assert before["study"]
    assert after == before
    assert told(sessions) == before_told
    assert heard == []
    with sessions() as session:
        assert scores_on_record(session) == there | scored
    shadow.dispose()
    owner.dispose()
