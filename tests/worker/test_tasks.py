"""Patience with what is away, and silence about what went wrong."""

import pytest
from celery.exceptions import Reject
from sqlalchemy.exc import OperationalError, ProgrammingError

from db.errors import RoleRefused
from worker import tasks
from worker.errors import Code, ModelRefused, Unavailable
from worker.settings import get_settings


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0")
    monkeypatch.setattr(tasks, "LONGEST_WAIT_S", 0.01)
    get_settings.cache_clear()


AWAY = [
    Unavailable(Code.STORAGE_UNAVAILABLE),
    ModelRefused(Code.MODEL_NOT_ACTIVE),
    OperationalError("SELECT 'Doe^Jane'", None, Exception()),
    ProgrammingError("SELECT 'Doe^Jane'", None, Exception()),
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

    assert tasks.patiently(work) == "done"
    assert "waiting" in caplog.text
    assert "Jane" not in caplog.text


def test_a_worker_that_stops_gives_the_message_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks._stopping, "wait", lambda _seconds: True)

    def away() -> None:
        raise ConnectionError

    with pytest.raises(Reject) as rejected:
        tasks.patiently(away)
    assert rejected.value.requeue is True


def test_a_defect_leaves_the_task_as_the_type_of_its_exception_alone() -> None:
    def broken() -> None:
        raise KeyError("Doe^Jane")

    with pytest.raises(RuntimeError) as raised:
        tasks.patiently(broken)
    assert str(raised.value) == "KeyError"
    assert raised.value.__cause__ is None
