"""The exporter: what it says of a real ledger and a real queue, and that it never waits for long."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.faults.refusals import REFUSALS, Refusing, administered
from db.schema.records import ModelRecord
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import digest, ended, lesion, refused, register, scored, study
from tests.waiting import pace, patience
from worker.app import celery_settings
from worker.broker.reconciler import RedisQueues
from worker.clinical.categories import Priority
from worker.exporter import collectors
from worker.exporter import exporter as exporting
from worker.exporter.collectors import Sample
from worker.exporter.exporter import Exporter, Question, exporter_of
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.home import Home
from worker.settings import Settings, get_settings
from worker.telemetry import metric_catalog
from worker.telemetry.drift import FEWEST

MONTH = timedelta(days=30)
Found = dict[str, dict[tuple[str, ...], float]]


def found(samples: Sequence[Sample]) -> Found:
    by_name: Found = {}
    for sample in samples:
        assert sample.labels not in by_name.setdefault(sample.metric.name, {}), sample
        assert len(sample.labels) == len(sample.metric.labels)
        by_name[sample.metric.name][sample.labels] = sample.value
    return by_name


@pytest.fixture
def ours(database: Database) -> Iterator[sessionmaker[Session]]:
    """What a worker writes with."""
    engine = make_engine(database.writer_url)
    yield session_factory(engine)
    engine.dispose()


@pytest.fixture
def reader(database: Database) -> Iterator[sessionmaker[Session]]:
    """What the exporter reads with: dlr_reader, and nothing more."""
    engine = make_engine(database.reader_url, role=None)
    yield session_factory(engine)
    engine.dispose()


def test_an_empty_ledger_has_zeros_and_nothing_to_look_at(reader: sessionmaker[Session]) -> None:
    said = found(
        [*collectors.open_studies(reader), *collectors.ended_studies(reader), *collectors.drifts(reader, MONTH)]
    )
    assert len(said["dlr_studies"]) == 15
    assert len(said["dlr_worklist_studies"]) == 5
    assert {value for values in said.values() for value in values.values()} == {0}
    assert set(said) == {"dlr_studies", "dlr_worklist_studies", "dlr_oldest_study_seconds"}


def test_studies_are_counted_by_state_priority_class_and_code(
    ours: sessionmaker[Session], reader: sessionmaker[Session]
) -> None:
    with ours.begin() as session:
        register(session)
        ended(session, study("1.1"), scored())
        ended(session, study("1.2", "b", priority="stat"), scored(lh=0.1, bm=0.1))
        two = (lesion("L1"), lesion("L2"))
        ended(session, study("1.3", "c", lesions=two), scored("L1"), refused("L2"))
        ledger.record_refusal(session, digest("x"), {}, "job_invalid", "no", "queue")
        ledger.record_refusal(session, digest("y"), {}, "a code of later", "no", "queue")
        ledger.record_study(session, study("1.4", "d", priority="urgent"))
        ledger.record_study(session, study("1.5", "e"))
        session.execute(text("UPDATE study SET received_at = now() - interval '90 s' WHERE study_instance_uid = '1.5'"))
    said = found([*collectors.open_studies(reader), *collectors.ended_studies(reader)])
    assert {labels: count for labels, count in said["dlr_studies"].items() if count} == {
        ("done", "routine"): 1, ("done", "stat"): 1, ("partial", "routine"): 1, ("failed", "routine"): 2,
        ("queued", "urgent"): 1, ("queued", "routine"): 1,
    }  # fmt: skip
    assert {labels[0]: count for labels, count in said["dlr_worklist_studies"].items() if count} == {
        "upgraded": 2, "needs_attention": 2, "downgraded": 1,
    }  # fmt: skip
    assert said["dlr_failed_studies"] == {
        ("partial", "age_missing"): 1, ("failed", "job_invalid"): 1, ("failed", "other"): 1,
    }  # fmt: skip
    oldest = said["dlr_oldest_study_seconds"]
    assert 90 <= oldest["routine",] < 300
    assert 0 <= oldest["urgent",] < 90
    assert oldest["stat",] == 0


@pytest.mark.parametrize(
    ("setting", "read_only"),
    [
        ("ALTER DATABASE {name} SET default_transaction_read_only = on", 1),
        ("ALTER ROLE dlr_reader IN DATABASE {name} SET default_transaction_read_only = on", 0),
        ("ALTER DATABASE {name} SET default_transaction_read_only = off", 0),
    ],
)
def test_a_ledger_that_can_not_be_written_is_told(
    database: Database, reader: sessionmaker[Session], setting: str, read_only: int
) -> None:
    server, name = database.superuser_url.rsplit("/", 1)
    with make_engine(f"{server}/postgres", role=None, autocommit=True).connect() as connection:
        connection.execute(text(setting.format(name=name)))
    assert found(collectors.ledger(reader))["dlr_database_read_only"] == {(): read_only}


HOME = "Example Hospital"
REFERENCE = {
    "lesions": 500,
    "age_years": {"edges": [0.0, 40.0, 50.0, 120.0], "shares": [0.25, 0.5, 0.25]},
    "positive_probability": {"edges": [0.0, 0.5, 1.0], "shares": [0.5, 0.5]},
}


def score(session: Session, count: int, version: str, card: Any, uid: str = "", **changes: Any) -> None:
    """Score a study's lesions with one version: age 47, and 0.9 of high risk, in every second one 0.1."""
    for name in ("DLR_LH", "DLR_BM"):
        card_of = {"reference": card} if name == "DLR_LH" else {}
        ledger.register_model(session, ModelRecord(name, version, digest(f"{name} {version}"), None, card_of))
    names = [f"L{number}" for number in range(count)]
    results = [
        replace(scored(name, lh=0.9 if at % 2 else 0.1, version=version), **changes) for at, name in enumerate(names)
    ]
    ended(session, study(version + uid, version + uid, lesions=tuple(map(lesion, names))), *results)


def test_drift_is_told_for_each_version_that_has_a_reference_and_enough_lesions(
    ours: sessionmaker[Session], reader: sessionmaker[Session]
) -> None:
    with ours.begin() as session:
        score(session, FEWEST, "1.0", REFERENCE)
        score(session, FEWEST, "without", None)
        score(session, FEWEST - 1, "few", REFERENCE)
        score(session, FEWEST, "unreadable", {**REFERENCE, "lesions": "many"})
    said = found(collectors.drifts(reader, MONTH))
    assert set(said["dlr_model_drift_psi"]) == {("DLR_LH", "1.0", "age"), ("DLR_LH", "1.0", "probability")}
    assert said["dlr_model_drift_psi"]["DLR_LH", "1.0", "probability"] == pytest.approx(0, abs=1e-9)
    assert said["dlr_model_drift_psi"]["DLR_LH", "1.0", "age"] > 1  # everybody is 47
    recent = said["dlr_recent_lesions"]
    assert {labels: count for labels, count in recent.items() if labels[1] == "1.0"} == {
        ("upgraded", "1.0", "1.0"): FEWEST / 2, ("maintained", "1.0", "1.0"): FEWEST / 2,
        ("downgraded", "1.0", "1.0"): 0, ("not_applicable", "1.0", "1.0"): 0,
    }  # fmt: skip
    assert found(collectors.drifts(reader, timedelta(0))) == {}


def test_drift_is_told_of_each_site_by_itself_beside_that_of_all_together(
    ours: sessionmaker[Session], reader: sessionmaker[Session]
) -> None:
    with ours.begin() as session:
        score(session, FEWEST, "1.0", REFERENCE, "at home")
        score(session, FEWEST, "1.0", REFERENCE, "of the old", site="Other Hospital", age_years=80.0)
        score(session, FEWEST - 1, "1.0", REFERENCE, "small", site="Small Hospital")
        score(session, FEWEST, "1.0", REFERENCE, "nobody knows where", site=None)
    said = found(collectors.drifts(reader, MONTH))
    together, by_site = said["dlr_model_drift_psi"], said["dlr_site_drift_psi"]
    assert {labels[3] for labels in by_site} == {HOME, "Other Hospital"}
    at_home, of_the_old = (by_site["DLR_LH", "1.0", "age", site] for site in (HOME, "Other Hospital"))
    assert together["DLR_LH", "1.0", "age"] < at_home < of_the_old, "all together, either is half hidden"
    for site in (HOME, "Other Hospital"):
        assert by_site["DLR_LH", "1.0", "probability", site] == pytest.approx(0, abs=1e-9)


def test_a_value_on_an_edge_is_in_the_bin_above_it_and_one_outside_in_the_next(
    ours: sessionmaker[Session], reader: sessionmaker[Session]
) -> None:
    from db.reads.metrics import binned_ages, binned_probabilities

    with ours.begin() as session:
        register(session)
        many = [("a", 0.5), ("b", 0.2), ("c", 1.0), ("d", 0.0)]
        ended(session, study(lesions=tuple(lesion(one) for one, _ in many)), *(scored(one, bm=p) for one, p in many))
    with reader() as session:
        assert binned_probabilities(session, "DLR_BM", "1.0", (0.0, 0.2, 0.5, 1.0), MONTH) == {HOME: [1, 1, 2]}
        assert binned_ages(session, "DLR_BM", "1.0", (10.0, 20.0, 30.0), MONTH) == {HOME: [0, 4]}
        assert binned_ages(session, "DLR_BM", "1.0", (0.0, 120.0), MONTH) == {HOME: [4]}


def test_a_look_can_write_nothing(ours: sessionmaker[Session]) -> None:
    with pytest.raises(DBAPIError), collectors._reading(ours, 1) as session:
        session.execute(text("UPDATE study SET revision = 1"))
    with pytest.raises(DBAPIError), collectors._reading(ours, 1) as session:
        session.execute(text("SELECT pg_sleep(60)"))


def test_messages_are_counted_by_queue_and_priority(redis_url: str) -> None:
    prefix = "p."
    with Redis.from_url(redis_url) as redis:
        for name in ("intake", "intake\x06\x169", "inference", "inference\x06\x163", "inference\x06\x166"):
            redis.lpush(prefix + name, "x", "y")
        redis.hset(prefix + "unacked", "tag", "x")
        said = found(collectors.messages(RedisQueues(redis, prefix)))
    assert {labels: count for labels, count in said["dlr_queue_messages"].items() if count} == {
        ("intake", "stat"): 2, ("intake", "low"): 2,
        ("inference", "stat"): 2, ("inference", "urgent"): 2, ("inference", "routine"): 2,
    }  # fmt: skip
    assert len(said["dlr_queue_messages"]) == 8
    assert said["dlr_messages_at_work"] == {(): 1}
    assert set(Priority) == {"stat", "urgent", "routine"}


# --- one scrape


ONE = Sample(metric_catalog.OLDEST, ("stat",), 1)


def values(exporter: Exporter, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in exporter.collect()
        for sample in family.samples
        if family.name == name
    }


@pytest.fixture
def hanging() -> Iterator[Callable[[], Sequence[Sample]]]:
    """What answers when the test is over."""
    over, asked = threading.Event(), []

    def hang() -> Sequence[Sample]:
        asked.append(1)
        over.wait()
        return [ONE]

    hang.asked = asked  # type: ignore[attr-defined]
    yield hang
    over.set()


def test_what_hangs_or_fails_is_down_and_keeps_nothing_else_from_being_told(
    hanging: Callable[[], Sequence[Sample]],
) -> None:
    def fail() -> Sequence[Sample]:
        raise ConnectionError("with words of the server")

    exporter = Exporter(
        [Question("hangs", hanging), Question("fails", fail), Question("well", lambda: [ONE])], scrape_s=pace(0.5)
    )
    for _ in range(2):
        assert values(exporter, "dlr_component_up") == {("hangs",): 0, ("fails",): 0, ("well",): 1}
        assert values(exporter, "dlr_oldest_study_seconds") == {("stat",): 1}
    assert len(hanging.asked) == 1  # type: ignore[attr-defined]


def test_scrapes_at_the_same_time_share_what_they_ask_and_none_waits_for_the_other() -> None:
    began, asked = threading.Semaphore(0), []

    class Counted(Question):
        def begin(self, pool: ThreadPoolExecutor) -> "Future[Sequence[Sample]] | None":
            begun = super().begin(pool)
            began.release()
            return begun

    def slow() -> Sequence[Sample]:
        asked.append(1)
        for _ in range(3):
            assert began.acquire(timeout=patience(30))
        return [ONE]

    exporter = Exporter([Counted("slow", slow)], scrape_s=pace(60))
    with ThreadPoolExecutor(3) as pool:
        scrapes = pool.map(lambda _: values(exporter, "dlr_component_up"), range(3))
        assert list(scrapes) == [{("slow",): 1}] * 3
    assert len(asked) == 1


def test_an_answer_is_kept_for_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    now = 1000.0
    monkeypatch.setattr(exporting, "time", SimpleNamespace(monotonic=lambda: now))

    def ask() -> Sequence[Sample]:
        asked.append(1)
        if len(asked) > 1:
            raise ConnectionError
        return [ONE]

    look = Question("totals", ask, kept_s=10)
    with ThreadPoolExecutor(1) as pool:
        answers = []
        for later in (0, 9, 2, 10):
            now += later
            begun = look.begin(pool)
            if begun is not None:
                begun.exception()
            answers.append(look.end(float("inf")))
    assert answers == [[ONE], [ONE], [ONE], None]  # new, kept, shown once more, too old
    assert len(asked) == 3


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database: Database, redis_url: str) -> Settings:
    monkeypatch.setenv("DLR_READER_URL", database.reader_url)
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    get_settings.cache_clear()
    return get_settings()


def test_the_catalogue_is_all_that_it_exports_and_each_of_it(
    settings: Settings, ours: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery("dlr", set_as_current=False)
    app.conf.update(celery_settings(settings))
    monkeypatch.setattr("worker.exporter.collectors.app", app)  # as in a process that was started with these settings
    with ours.begin() as session:
        score(session, FEWEST, "1.0", REFERENCE)
        ledger.record_refusal(session, digest("x"), {}, "job_invalid", "no", "queue")
    exported = {
        family.name: {name for sample in family.samples for name in sample.labels}
        for family in exporter_of(settings).collect()
    }
    assert exported == {metric.name: set(metric.labels) for metric in metric_catalog.SERVICE}


def test_nothing_it_says_holds_an_identifier(reader: sessionmaker[Session], ours: sessionmaker[Session]) -> None:
    with ours.begin() as session:
        register(session)
        ended(session, study("1.2.840.99", accession_number="ACC77"), scored())
    said = [*collectors.open_studies(reader), *collectors.ended_studies(reader), *collectors.drifts(reader, MONTH)]
    shown = json.dumps([[sample.metric.name, sample.labels, sample.value] for sample in said])
    assert "1.2.840.99" not in shown
    assert "ACC77" not in shown


@pytest.mark.parametrize("answer", ["OOM", "READONLY"])
def test_a_redis_that_takes_no_messages_is_down(tmp_path: Path, answer: str) -> None:
    server = EmbeddedRedis(Home(tmp_path))
    with administered():
        server.start()
    try:
        with REFUSALS[answer](Refusing(server)), Redis.from_url(server.url()) as client, pytest.raises(RedisError):
            collectors.messages(RedisQueues(client, ""))
    finally:
        server.stop()
