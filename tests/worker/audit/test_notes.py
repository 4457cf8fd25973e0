"""Who starts and stops is noted, also where the process ends by a signal."""

import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.schema.audit import Audited
from db.writes import audit
from tests.conftest import Database
from tests.db.samples import writing
from worker.audit.notes import serving

STARTED, STOPPED = Audited.APPLICATION_STARTED, Audited.APPLICATION_STOPPED


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """The signals that would have ended the process."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def noted(sessions: sessionmaker[Session]) -> list[Audited]:
    with sessions() as session:
        return [one.event for one in audit.not_sent(session, 10)]


def test_a_server_that_is_told_to_end_notes_that_it_stops_and_is_ended_by_the_signal(
    sessions: sessionmaker[Session], ended: list[int]
) -> None:
    with serving(sessions, "dlr web"):
        assert noted(sessions) == [STARTED]
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")
    assert (noted(sessions), ended) == ([STARTED, STOPPED], [signal.SIGTERM])


def test_a_server_that_ends_or_fails_by_itself_notes_that_too(
    sessions: sessionmaker[Session], ended: list[int]
) -> None:
    with serving(sessions, "dlr web"):
        pass
    with pytest.raises(OSError, match="in use"), serving(sessions, "dlr web"):
        raise OSError("in use")
    assert (noted(sessions), ended) == ([STARTED, STOPPED] * 2, [])
