"""What is read to watch the service, from the views that ``dlr_reader`` sees: counts and cards, and no study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Double, Interval, bindparam, text
from sqlalchemy.orm import Session

from db.schema.vocabulary import BM_MODEL, LH_MODEL

_OPEN = text(
    "SELECT state, priority, studies, oldest_received_at FROM study_count WHERE state IN ('queued', 'running')"
)
_ENDED = text("SELECT state, priority, worklist_class, studies FROM study_count WHERE worklist_class IS NOT NULL")
_NOW = text("SELECT now()")
# What was set for one user alone says nothing of the others.
_READ_ONLY = text("""
    SELECT pg_is_in_recovery() OR setting = 'on' AND source NOT IN ('user', 'database user', 'client', 'session')
    FROM pg_settings WHERE name = 'default_transaction_read_only'
""")
_FAILED = text("SELECT state, coalesce(error_code, ''), count(*) FROM failed_study GROUP BY 1, 2")
_OUTCOMES = text("""
    SELECT outcome, lh_version, bm_version, count(*) FROM lesion_result
    WHERE outcome IS NOT NULL AND scored_at >= now() - :window GROUP BY 1, 2, 3
""").bindparams(bindparam("window", type_=Interval()))
_CARDS = text("SELECT name, version, card FROM model_card ORDER BY name, version")

_BINNED = """
    SELECT site, width_bucket({column}, :inner_edges) AS bin, count(*) FROM lesion_result
    WHERE {version} = :version AND scored_at >= now() - :window AND {column} IS NOT NULL GROUP BY 1, 2
"""
_COLUMNS = {LH_MODEL: ("lh_version", "high_risk_probability"), BM_MODEL: ("bm_version", "malignant_probability")}


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many studies of a state and priority wait for their result, and for how long the first of them has."""

    state: str
    priority: str
    studies: int
    oldest: timedelta


@dataclass(frozen=True, slots=True)
class EndedCount:
    """How many studies of a state, priority and worklist class there are."""

    state: str
    priority: str
    worklist_class: str
    studies: int


@dataclass(frozen=True, slots=True)
class FailedCount:
    """How many studies a person has to look at, by state and error code; no code: an empty text."""

    state: str
    code: str
    studies: int


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many lesions had an outcome, under one version of each model."""

    outcome: str
    lh_version: str
    bm_version: str
    lesions: int


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A model's card as the ledger has it."""

    name: str
    version: str
    card: Mapping[str, Any]


def is_read_only(session: Session) -> bool:
    """Whether the server takes no writes: it is a standby, or it or the database was made read-only."""
    return bool(session.scalar(_READ_ONLY))


def open_studies(session: Session) -> list[OpenCount]:
    """Count the studies that are queued or running. Quick, however long the ledger is."""
    now: datetime = session.scalars(_NOW).one()
    return [OpenCount(row[0], row[1], row[2], now - row[3]) for row in session.execute(_OPEN)]


def ended_studies(session: Session) -> list[EndedCount]:
    """Count all current studies that have ended. Reads the whole ledger."""
    return [EndedCount(*row) for row in session.execute(_ENDED)]


def failed_studies(session: Session) -> list[FailedCount]:
    """Count what is in the view ``failed_study``."""
    return [FailedCount(*row) for row in session.execute(_FAILED)]


def recent_outcomes(session: Session, window: timedelta) -> list[OutcomeCount]:
    """Count the outcomes of the lesions that were scored within the window."""
    return [OutcomeCount(*row) for row in session.execute(_OUTCOMES, {"window": window})]


def model_cards(session: Session) -> list[StoredCard]:
    """Return the card of each version of a model that a worker has loaded."""
    return [StoredCard(*row) for row in session.execute(_CARDS)]


def binned_ages(
    session: Session, name: str, version: str, edges: Sequence[float], window: timedelta
) -> dict[str | None, list[int]]:
    """Count the ages of the lesions that a version of a model scored within the window, in years, by site and bin.

    Args:
        session: of any role.
        name: ``DLR_LH`` or ``DLR_BM``.
        version: of the model.
        edges: of the bins, rising; a value outside counts in the bin next to it.
        window: how far back.

    Returns:
        The counts of each site; those of lesions whose site is not known under ``None``.
    """
    return _binned(session, "age_years", _COLUMNS[name][0], version, edges, window)


def binned_probabilities(
    session: Session, name: str, version: str, edges: Sequence[float], window: timedelta
) -> dict[str | None, list[int]]:
    """Count the positive probabilities that a version gave within the window, by site and bin (see `binned_ages`)."""
    version_column, column = _COLUMNS[name]
    return _binned(session, column, version_column, version, edges, window)


def _binned(
    session: Session, column: str, version_column: str, version: str, edges: Sequence[float], window: timedelta
) -> dict[str | None, list[int]]:
    statement = text(_BINNED.format(column=column, version=version_column)).bindparams(
        bindparam("inner_edges", type_=ARRAY(Double())), bindparam("window", type_=Interval())
    )
    asked = {"inner_edges": list(edges[1:-1]), "version": version, "window": window}
    counted: dict[str | None, list[int]] = {}
    for site, place, lesions in session.execute(statement, asked):
        counted.setdefault(site, [0] * (len(edges) - 1))[place] = lesions
    return counted
