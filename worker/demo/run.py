"""The demo: models, servers, workers, studies, results; and whether each study ended as it had to."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import text

from db.reads import study_queries
from db.schema.roles import READER
from db.schema.vocabulary import ENDED_STATES
from db.session import make_engine, session_factory
from worker.app import sender_settings
from worker.broker.queues import QUEUE_OF_TASK, REDIS_PRIORITY, SUBMIT_STUDY
from worker.clinical.categories import Priority
from worker.demo.studies import MadeStudy, make_studies
from worker.errors import Code, Unavailable
from worker.inference.model_card import DEMO_NOTICE
from worker.inference.registry import Registry
from worker.services.home import Home
from worker.services.running_services import Services, running_services
from worker.services.supervisor import Supervisor

WAIT_S = 300.0
POLL_S = 0.25

QUERIES = {
    "The worklist, in reading order": (
        "SELECT position, accession_number, priority, tier, state, highest_birads AS birads, lesions,\n"
        "       round(malignant_probability::numeric, 3) AS malignant, place_reason, notice\n"
        "FROM worklist ORDER BY position"
    ),
    "What became of the BI-RADS 4A lesions": (
        "SELECT outcome, lesions, percent_of_4a, round(mean_malignant_probability::numeric, 3) AS mean_malignant,\n"
        "       lh_version, bm_version, rule_version, notice\n"
        "FROM restratification_summary"
    ),
    "What a person has to look at": (
        "SELECT accession_number, state, error_code, error_reason, attempts FROM failed_study"
    ),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's title, its SQL, and the rows that it gave."""

    title: str
    sql: str
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """A demo study, and the state it ended in beside the one it had to."""

    name: str
    expected: str
    state: str | None

    @property
    def is_right(self) -> bool:
        """The study ended as it had to."""
        return self.state == self.expected


def take_models(source: Registry, target: Registry) -> None:
    """Bring the demo models into the demo's own registry, and make them the active ones there."""
    for entry in source.list():
        if entry.card.notice == DEMO_NOTICE:
            target.add(entry.card_path, *entry.weights_paths)
            target.activate(entry.card.name, entry.card.version)


@contextmanager
def demo_service(home: Path, say: Callable[[str], None]) -> Iterator[tuple[Services, Supervisor]]:
    """Run servers, both workers and Flower in a home of the demo's own, emptied of the last demo's studies."""
    with Home(home).held():
        for folder in ("postgres", "redis", "storage", "flower"):
            shutil.rmtree(home / folder, ignore_errors=True)
    with running_services(home, say) as services, Supervisor(services.home, say) as supervisor:
        supervisor.start(services.worker("intake"))
        supervisor.start(services.worker("inference"))
        if services.flower_port is not None:
            supervisor.start(services.flower())
        yield services, supervisor


def push(services: Services, seed: int) -> list[MadeStudy]:
    """Write the studies and push each to Redis as a hospital's system would: by plain Celery, with nothing of ours."""
    made = list(make_studies(services.settings.storage_root, seed))
    sender = Celery(set_as_current=False)
    sender.conf.update(sender_settings(services.settings))
    for study in made:
        priority = REDIS_PRIORITY[Priority(study.job["priority"])]
        queue = QUEUE_OF_TASK[SUBMIT_STUDY]
        sender.send_task(SUBMIT_STUDY, kwargs={"job": study.job}, queue=queue, priority=priority)
    sender.close()
    return made


def wait_until_ended(
    services: Services, supervisor: Supervisor, count: int, on_progress: Callable[[int], None]
) -> None:
    """Wait until ``count`` studies have ended.

    Raises:
        Unavailable: ``service_unavailable``, when that takes more than five minutes.
    """
    sessions = session_factory(make_engine(services.settings.require_database_url()))
    deadline = time.monotonic() + WAIT_S
    while True:
        with sessions() as session:
            counts = study_queries.counts_by_state(session)
        ended = sum(counts[state] for state in ENDED_STATES)
        on_progress(ended)
        if ended >= count:
            return
        if time.monotonic() > deadline:
            reason = f"{count - ended} of {count} studies did not end; see {services.home.path / 'logs'}"
            raise Unavailable(Code.SERVICE_UNAVAILABLE, reason)
        supervisor.look()
        time.sleep(POLL_S)


def answers(services: Services) -> list[Answer]:
    """Ask the database what a SQL user would ask, as the role that sees the views alone."""
    if services.postgres is None:
        raise Unavailable(Code.SERVICE_UNAVAILABLE, "the demo runs on its own PostgreSQL")
    engine = make_engine(services.postgres.url(READER), role=READER)
    with engine.connect() as connection:
        return [
            Answer(title, sql, tuple(dict(row) for row in connection.execute(text(sql)).mappings()))
            for title, sql in QUERIES.items()
        ]


def endings(services: Services, made: Sequence[MadeStudy]) -> list[Ending]:
    """Compare the state of each study with the one that it had to end in."""
    sessions = session_factory(make_engine(services.settings.require_database_url()))
    with sessions() as session:
        found = [study_queries.study_details(session, study.job["study_instance_uid"]) for study in made]
    return [
        Ending(study.study.name, study.study.ends, states[0].state if len(states) == 1 else None)
        for study, states in zip(made, found, strict=True)
    ]
