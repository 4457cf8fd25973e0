"""The ledger: how fast results are written."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.orm import Session, sessionmaker

from benchmarks.measuring import Figure, Say, in_turns
from benchmarks.samples import cards
from db.schema.records import (
    AssessmentRecord,
    Claim,
    ImagePrediction,
    ImageResultRecord,
    LesionImageRecord,
    LesionRecord,
    LesionResultRecord,
    PredictionRecord,
    StudyRecord,
    StudyResultRecord,
)
from db.session import make_engine, session_factory
from db.writes import ledger
from worker.scoring.bookkeeping import MOST_AT_ONCE
from worker.services.running_services import Services, running_services
from worker.settings import isolated

ROWS_A_LESION = 4
"""A lesion's own row, two predictions, and the advice."""


@contextmanager
def fresh_services(say: Say) -> Iterator[Services]:
    with isolated(), TemporaryDirectory(prefix="dlr-benchmark-") as folder:
        say("starts PostgreSQL")
        with running_services(Path(folder), lambda _: None) as services:
            yield services


def write(say: Say, *, quick: bool) -> Figure:
    """Rows a second of results written in batches of studies, against the same results with a commit a lesion."""
    count, rounds = (64, 2) if quick else (640, 5)
    with fresh_services(say) as services:
        sessions = session_factory(make_engine(services.settings.require_database_url()))
        with sessions.begin() as session:
            for card in cards():
                ledger.register_model(session, card.record())
        numbers = iter(range(1_000_000))

        def rate(batch: int) -> float:
            claims = _claimed(sessions, [next(numbers) for _ in range(count)])
            results = [result_of(claim) for claim in claims]
            started = time.perf_counter()
            for place in range(0, count, batch):
                with sessions.begin() as session:
                    assert len(ledger.finish(session, results[place : place + batch])) == len(
                        results[place : place + batch]
                    )
            return count * ROWS_A_LESION / (time.perf_counter() - started)

        rate(MOST_AT_ONCE), rate(1)
        say("measures")
        ratio = in_turns(lambda: rate(MOST_AT_ONCE), lambda: rate(1), rounds)
    return Figure(
        "write",
        f"rows/s of results, {MOST_AT_ONCE} studies a transaction / one commit a lesion",
        ratio.median,
        ratio.spread,
        ratio.median >= 5,
        f"{statistics.median(ratio.ours):.0f} rows/s",
        f"{statistics.median(ratio.peers):.0f} rows/s",
    )


def _claimed(sessions: sessionmaker[Session], numbers: list[int]) -> list[Claim]:
    with sessions.begin() as session:
        studies = [ledger.record_study(session, study_of(number)).study_id for number in numbers]
        claimed = ledger.claim(session, studies, 3, lease_s=600)
    return list(claimed.claims.values())


def study_of(number: int) -> StudyRecord:
    lesion = LesionRecord("L1", (LesionImageRecord(f"1.2.3.{number}.1", 1, (10, 20, 30, 40)),), "4A")
    job = {"study_instance_uid": f"1.2.3.{number}"}
    return StudyRecord(f"1.2.3.{number}", f"{number:064x}", None, "routine", job, "benchmark", (lesion,))


def result_of(claim: Claim) -> StudyResultRecord:
    parts = tuple(
        PredictionRecord(
            card.name,
            card.version,
            ((card.classes[0], 0.25), (card.classes[1], 0.75)),
            0.75,
            card.positive_class,
            positive=True,
            threshold=0.5,
        )
        for card in cards()
    )
    advice = AssessmentRecord("upgraded", "4A", ">4A", "fig-s5/1")
    said = tuple(ImagePrediction(card.name, card.version, 0.75) for card in cards())
    image = ImageResultRecord("scored", region=(10, 20, 30, 40), region_source="job", predictions=said)
    lesion = LesionResultRecord(
        "L1", "scored", None, None, 47.0, "job", images=(image,), predictions=parts, assessment=advice
    )
    return StudyResultRecord(claim.study_id, claim.attempt, "done", None, None, "upgraded", 0.75, lesions=(lesion,))
