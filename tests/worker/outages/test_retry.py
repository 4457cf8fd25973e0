"""Patience with what is away, and silence about what went wrong."""

import signal
import threading

import pytest
from psycopg2.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from sqlalchemy.exc import DataError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from db.errors import RoleRefused
from db.outages import DATABASE_AWAY, DatabaseAway
from worker.errors import Code, ModelRefused, Unavailable
from worker.outages import retry
from worker.settings import get_settings


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0")
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.01)
    get_settings.cache_clear()


AWAY = [
    Unavailable(Code.STORAGE_UNAVAILABLE),
    ModelRefused(Code.MODEL_NOT_ACTIVE),
    DatabaseAway(ReadOnlySqlTransaction("Doe^Jane"), "the database is read-only"),
    PoolExhausted("Doe^Jane"),
    ConnectionError("Doe^Jane"),
    RoleRefused("GRANT dlr_writer"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_work_is_done_again_until_what_is_away_is_back(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    left = [error, error]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert retry.retry_while_away(work) == "done"
    assert "waiting" in caplog.text
    assert "Jane" not in caplog.text


def test_a_worker_that_stops_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.stopping, "wait", lambda _seconds: True)

    def away() -> None:
        raise ConnectionError

    with pytest.raises(retry.Stopping):
        retry.retry_while_away(away)


DENIED = DatabaseAway(InsufficientPrivilege("Doe^Jane"), "the user no longer has the right")
DENIED.sqlstate = "42501"


@pytest.mark.parametrize("error", [DENIED, RoleRefused("GRANT dlr_writer")], ids=["right", "role"])
def test_a_right_that_stays_missing_ends_the_process_once_and_nothing_is_lost(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(retry, "RIGHT_WAIT_S", 0.0)
    monkeypatch.setattr(retry, "_ending", threading.Event())
    monkeypatch.setattr(retry.os, "kill", lambda _pid, number: asked.append(number))

    def denied() -> None:
        raise error

    for _ in range(2):
        with pytest.raises(retry.Stopping):  # of which a message goes back to its queue
            retry.retry_while_away(denied)
    assert asked == [signal.SIGTERM]
    assert "this process ends" in caplog.text
    assert "Jane" not in caplog.text


def test_a_right_that_is_granted_in_time_costs_a_wait_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.os, "kill", lambda *_: pytest.fail("it was granted in time"))
    left = [DENIED, ConnectionError(), DENIED]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert retry.retry_while_away(work) == "done"


def test_what_is_not_to_be_waited_for_is_raised_at_once() -> None:
    def refused() -> None:
        raise ModelRefused(Code.MODEL_NOT_ACTIVE)

    with pytest.raises(ModelRefused):
        retry.retry_while_away(refused, DATABASE_AWAY)


def test_a_value_that_the_database_refuses_is_not_waited_for() -> None:
    def refused() -> None:
        raise DataError("SELECT 'Doe^Jane'", None, Exception())

    with pytest.raises(DataError):
        retry.retry_while_away(refused)
