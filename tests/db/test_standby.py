"""A primary with a streaming standby: who writes to it follows the promotion, and what can be lost is what is said."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.faults.standby_process import Standby, standby_of
from db.migrate import upgrade
from db.outages import DatabaseAway
from db.schema.roles import OWNER, WRITER
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.db.samples import study
from tests.waiting import until
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.home import Home
from worker.settings.postgres_hosts import from_host_list

pytestmark = pytest.mark.slow


@pytest.fixture
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    primary = EmbeddedPostgres(Home(tmp_path_factory.mktemp("primary") / "home"))
    primary.start()
    try:
        upgrade(primary.url(OWNER))
        with standby_of(primary) as made:
            yield made
    finally:
        primary.stop()


def recorded(sessions: sessionmaker[Session], uid: str) -> bool:
    """Write, unless nobody can be written to for now."""
    try:
        with sessions.begin() as session:
            ledger.record_study(session, study(uid))
    except DatabaseAway:
        return False
    return True


def studies(sessions: sessionmaker[Session]) -> set[str]:
    with sessions() as session:
        return set(session.scalars(text("SELECT study_instance_uid FROM study")))


def test_what_a_synchronous_standby_confirmed_is_there_after_its_promotion(standby: Standby) -> None:
    sessions = session_factory(make_engine(from_host_list(standby.url(standby.primary.url(WRITER)))))
    standby.synchronous(on=True)
    written = {f"1.{number}" for number in range(20)}
    assert all(recorded(sessions, uid) for uid in written)
    standby.promote()
    until(lambda: recorded(sessions, "2.1"))
    assert studies(sessions) == written | {"2.1"}


def test_what_an_asynchronous_standby_had_not_received_is_lost_and_can_be_written_again(standby: Standby) -> None:
    sessions = session_factory(make_engine(from_host_list(standby.url(standby.primary.url(WRITER)))))
    assert recorded(sessions, "1.1")
    standby.until_level()
    standby.pause()
    assert recorded(sessions, "1.2")  # which the primary alone has
    standby.promote()
    until(lambda: recorded(sessions, "2.1"))
    assert studies(sessions) == {"1.1", "2.1"}
    assert recorded(sessions, "1.2")
    assert studies(sessions) == {"1.1", "1.2", "2.1"}
