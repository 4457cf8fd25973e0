"""What the workers write to their logs: our own sentences, and nobody else's words.

A third party's message, a warning or an exception's text may quote a DICOM header or a row of the database, so those
are reduced to the type of the exception and the place in the code; what a library says short of a warning, such as
which address it asks for, is left out, Celery's own lines apart. The full story of a failure is in ``study_event``.
"""

import json
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType

from celery import current_task

logger = logging.getLogger(__name__)

_SILENT = (
    "pydicom",
    "pynetdicom",
    "highdicom",
    "PIL",
    "pylibjpeg",
    "openjpeg",
    "libjpeg",
    "sqlalchemy",
    "py.warnings",
    "urllib3",
)
_OWN = ("worker", "db", "alembic")
_TRUSTED = ("celery", "kombu")
_SHOWN = {"name", "id"}
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[-#0-9.]*[a-zA-Z]")


class PlainFormatter(logging.Formatter):
    """Formats a record without the text of exceptions, and without arguments that are not ours to show."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; a foreign error keeps its place and its type alone."""
        if record.exc_info or (record.levelno >= logging.WARNING and not record.name.startswith(_OWN)):
            record = logging.makeLogRecord(record.__dict__)
            if not record.name.startswith(_OWN):
                record.msg, record.args = _template(record), None
            record.exc_text = None
        return super().format(record)

    def formatException(  # noqa: N802  logging's own name
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the exception's type and the places it passed, never its text."""
        return story_of(ei[1])


class JsonFormatter(PlainFormatter):
    """Formats a record as one line of JSON, with the id of the task that wrote it: for inference the study's."""

    def format(self, record: logging.LogRecord) -> str:
        """Return an object with ``time`` (UTC), ``level``, ``logger``, ``message`` and, within a task, ``id``."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": super().format(record),
        }
        task = current_task
        return json.dumps(line | ({"id": task.request.root_id} if task else {}), ensure_ascii=False)


def story_of(error: BaseException | None) -> str:
    """Return an exception's type and the places that it passed, and never its text, which may quote a header."""
    if error is None:
        return ""
    places = [
        f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return "\n".join([*places, type(error).__qualname__])


def is_for_the_log(record: logging.LogRecord) -> bool:
    """Whether a record is ours or Celery's, or at least a warning, of which the formatter shows no words."""
    return record.levelno >= logging.WARNING or record.name.startswith((*_OWN, *_TRUSTED))


def _template(record: logging.LogRecord) -> str:
    """The record's first line, with every argument that could quote something left blank."""
    line = str(record.msg).lstrip().split("\n", 1)[0]
    if record.args:
        named = record.args if isinstance(record.args, Mapping) else {}
        return _PLACEHOLDER.sub(lambda found: str(named[found[1]]) if found[1] in _SHOWN & named.keys() else "…", line)
    return line if record.name.startswith(_TRUSTED) else f"{record.levelname.lower()} of {record.name}"


def _say_end(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        logger.error("a defect of this software ended a thread", exc_info=ended.exc_value)


def configure_logging(level: str, form: str = "json") -> None:
    """Send the process's logs to standard error, silence third parties, and keep Python's warnings out of them.

    A thread that ends with an exception is logged too: Python would print its text.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = PlainFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonFormatter("%(message)s") if form == "json" else text)
    handler.addFilter(is_for_the_log)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # A line when a task is done is enough: it has the time that the task took.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    for name in _SILENT:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
    warnings.simplefilter("ignore")
    threading.excepthook = _say_end
