"""Logs hold our sentences and nobody else's words."""

import json
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker.app import app
from worker.logs import JsonFormatter, PlainFormatter, configure_logging

SECRET = "Doe^Jane"


@contextmanager
def configured(level: str) -> Iterator[None]:
    """Have the process's logs as a worker has them, for a while."""
    root = logging.getLogger()
    handlers, before, filters = root.handlers[:], root.level, warnings.filters[:]
    try:
        configure_logging(level)
        yield
    finally:
        root.handlers[:], root.level = handlers, before
        warnings.filters[:] = filters


def formatted(name: str, level: int, message: str, *args: object, error: BaseException | None = None) -> str:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger(name).makeRecord(name, level, __file__, 1, message, args, exc_info)
    return PlainFormatter("%(name)s %(message)s").format(record)


def test_our_own_sentences_are_written_as_they_are() -> None:
    assert (
        formatted("worker.tasks", logging.WARNING, "refused: %s", "age_missing") == "worker.tasks refused: age_missing"
    )


def test_a_thread_that_ends_with_an_exception_is_one_line_of_json_without_its_text(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back at the end

    def broken() -> None:
        raise OSError(SECRET)

    with configured("ERROR"):
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("a defect of this software ended a thread")
    assert "OSError" in line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("Could not restore message: %r", ({"job": SECRET},)),
        ("Task %(name)s[%(id)s] %(description)s: %(exc)s", ({"name": "t", "id": "1", "exc": SECRET},)),
        (f"line one\n{SECRET}", ()),
    ],
)
def test_a_broker_s_or_celery_s_warning_loses_what_it_quotes(message: str, args: tuple[object, ...]) -> None:
    assert SECRET not in formatted("kombu.transport", logging.ERROR, message, *args)


def test_a_warning_of_any_other_library_says_only_whose_it_is() -> None:
    assert formatted("some.library", logging.WARNING, f"bad value {SECRET}") == "some.library warning of some.library"


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
@pytest.mark.parametrize("library", ["dicomweb_client.web", "some.library"])
def test_what_a_library_says_short_of_a_warning_is_left_out(
    capsys: pytest.CaptureFixture[str], library: str, level: int
) -> None:
    with configured("DEBUG"):
        logging.getLogger(library).log(level, "search for instances of study %s", SECRET)
        logging.getLogger("worker.tasks").log(level, "ours")
        logging.getLogger("celery.app.trace").log(level, "Celery's")
    said = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert said == ["ours", "Celery's"]


def test_an_exception_is_its_type_and_its_places_and_never_its_text() -> None:
    with pytest.raises(ValueError, match="Jane") as raised:
        int(SECRET)
    text = formatted("worker.tasks", logging.ERROR, "a defect", error=raised.value)
    assert SECRET not in text
    assert "ValueError" in text
    assert "test_logs.py" in text


def test_pydicom_s_warnings_reach_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    with configured("INFO"):
        logging.getLogger("pydicom").warning(SECRET)
        warnings.warn(SECRET, stacklevel=1)
        logging.getLogger("worker").warning("ours")
    shown = capsys.readouterr().err
    assert "ours" in shown
    assert SECRET not in shown


def as_json(message: str, *args: object, error: BaseException | None = None) -> dict[str, str]:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger("worker.tasks").makeRecord(
        "worker.tasks", logging.ERROR, __file__, 1, message, args, exc_info
    )
    line = JsonFormatter("%(message)s").format(record)
    assert "\n" not in line
    found: dict[str, str] = json.loads(line)
    return found


def test_a_line_of_json_says_when_how_bad_where_and_what() -> None:
    found = as_json("refused: %s", "age_missing")
    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "ERROR", "logger": "worker.tasks", "message": "refused: age_missing"}


def test_within_a_task_it_bears_the_task_s_opaque_id() -> None:
    @app.task(name="test.log", shared=False)  # type: ignore[untyped-decorator]
    def log() -> dict[str, str]:
        return as_json("scored")

    assert log.apply(task_id="6b2f").result["id"] == "6b2f"


def test_an_exception_s_text_is_in_no_line_of_json() -> None:
    with pytest.raises(ValueError) as caught:
        int(SECRET)
    found = as_json("a defect", error=caught.value)
    assert SECRET not in str(found)
    assert "ValueError" in found["message"]
    assert "test_logs.py" in found["message"]
