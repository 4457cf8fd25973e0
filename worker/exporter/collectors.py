"""What the exporter asks when it is scraped: each function asks one server, and answers with samples."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import metrics
from db.reads.metrics import StoredCard
from db.schema.vocabulary import OPEN_STATES, Outcome, Priority, StudyState, WorklistClass
from worker.app import app
from worker.broker.queues import QUEUES, REDIS_PRIORITY
from worker.broker.reconciler import RedisQueues
from worker.errors import MEANINGS
from worker.inference.card_parts import Reference
from worker.telemetry import drift, metric_catalog
from worker.telemetry.metric_catalog import Metric

STATEMENT_S = 5
"""How long PostgreSQL may take for what is asked at each scrape, in seconds."""

LONG_STATEMENT_S = 60
"""How long for what reads the whole ledger, which is asked now and then."""

ANSWER_S = 2.0
"""How long the workers may take to answer, in seconds."""

OTHER = "other"
"""Stands for an error code that this version does not know."""

_PRIORITY_OF_STEP = {step: priority.value for priority, step in REDIS_PRIORITY.items()} | {9: "low"}


class Sample(NamedTuple):
    """A value of a metric, under its labels in the catalogue's order."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def ledger(sessions: sessionmaker[Session]) -> list[Sample]:
    """Say whether the ledger can be written, and what is open in it."""
    with _reading(sessions, STATEMENT_S) as session:
        read_only = metrics.is_read_only(session)
    return [Sample(metric_catalog.READ_ONLY, (), read_only), *open_studies(sessions)]


def open_studies(sessions: sessionmaker[Session]) -> list[Sample]:
    """Say what waits, since when, and what a person has to look at."""
    with _reading(sessions, STATEMENT_S) as session:
        counted, failed = metrics.open_studies(session), metrics.failed_studies(session)
    studies = {(state.value, priority.value): 0 for state in OPEN_STATES for priority in Priority}
    studies |= {(row.state, row.priority): row.studies for row in counted}
    oldest = {priority.value: 0.0 for priority in Priority}
    for row in counted:
        oldest[row.priority] = max(oldest[row.priority], row.oldest.total_seconds())
    to_look_at: dict[tuple[str, str], int] = {}
    for one in failed:
        key = one.state, one.code if one.code in set(MEANINGS) else OTHER
        to_look_at[key] = to_look_at.get(key, 0) + one.studies
    return [
        *(Sample(metric_catalog.STUDIES, labels, count) for labels, count in studies.items()),
        *(Sample(metric_catalog.OLDEST, (priority,), age) for priority, age in oldest.items()),
        *(Sample(metric_catalog.TO_LOOK_AT, labels, count) for labels, count in to_look_at.items()),
    ]


def ended_studies(sessions: sessionmaker[Session]) -> list[Sample]:
    """Say how many studies have ended, by state and by class."""
    with _reading(sessions, LONG_STATEMENT_S) as session:
        counted = metrics.ended_studies(session)
    ended = [state for state in StudyState if state not in OPEN_STATES]
    studies = {(state.value, priority.value): 0 for state in ended for priority in Priority}
    classes = {word.value: 0 for word in WorklistClass}
    for row in counted:
        studies[row.state, row.priority] += row.studies
        classes[row.worklist_class] += row.studies
    return [
        *(Sample(metric_catalog.STUDIES, labels, count) for labels, count in studies.items()),
        *(Sample(metric_catalog.WORKLIST, (word,), count) for word, count in classes.items()),
    ]


def drifts(sessions: sessionmaker[Session], window: timedelta) -> list[Sample]:
    """Say what the models have said lately, and how far that is from the references on their cards."""
    with _reading(sessions, LONG_STATEMENT_S) as session:
        outcomes = metrics.recent_outcomes(session, window)
        samples = [sample for card in metrics.model_cards(session) for sample in _drift(session, card, window)]
    counted = {(one.outcome, one.lh_version, one.bm_version): one.lesions for one in outcomes}
    labels = [(word.value, lh, bm) for _, lh, bm in counted for word in Outcome]
    samples += [Sample(metric_catalog.OUTCOMES, label, counted.get(label, 0)) for label in dict.fromkeys(labels)]
    return samples


def _drift(session: Session, stored: StoredCard, window: timedelta) -> Iterator[Sample]:
    reference = reference_of(stored.card)
    if reference is None:
        return
    for variable, histogram, binned in (
        ("age", reference.age_years, metrics.binned_ages),
        ("probability", reference.positive_probability, metrics.binned_probabilities),
    ):
        by_site = binned(session, stored.name, stored.version, histogram.edges, window)
        labels = stored.name, stored.version, variable
        together = [sum(counts) for counts in zip(*by_site.values(), strict=True)]
        if (index := drift.psi_of_enough(histogram.shares, together)) is not None:
            yield Sample(metric_catalog.DRIFT, labels, index)
        for site, counts in by_site.items():
            if site is not None and (index := drift.psi_of_enough(histogram.shares, counts)) is not None:
                yield Sample(metric_catalog.SITE_DRIFT, (*labels, site), index)


def reference_of(card: Mapping[str, Any]) -> Reference | None:
    """Return the reference of a card as the ledger keeps it; ``None`` where there is none, or none that can be read."""
    try:
        return Reference.model_validate_json(json.dumps(card.get("reference")))
    except ValidationError:
        return None


def messages(held: RedisQueues) -> list[Sample]:
    """Say what waits in a Redis that takes messages, and what workers have taken."""
    held.probe()
    waiting = held.waiting_by_step()
    return [
        *(
            Sample(metric_catalog.QUEUED, (queue, _PRIORITY_OF_STEP[step]), count)
            for (queue, step), count in waiting.items()
        ),
        Sample(metric_catalog.AT_WORK, (), held.at_work()),
    ]


def workers() -> list[Sample]:
    """Say how many workers answer, on every host."""
    answers = app.control.inspect(timeout=ANSWER_S).active_queues() or {}
    serving = [queue["name"] for queues in answers.values() for queue in queues]
    return [Sample(metric_catalog.WORKERS, (queue,), serving.count(queue)) for queue in QUEUES]


@contextmanager
def _reading(sessions: sessionmaker[Session], seconds: int) -> Iterator[Session]:
    """Give a session that writes nothing, and whose statements end in so many seconds."""
    with sessions() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        session.execute(text(f"SET LOCAL statement_timeout = '{seconds}s'"))
        yield session
