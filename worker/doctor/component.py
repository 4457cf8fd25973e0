"""What is said of one component, and how one is looked at: whatever keeps it from answering is told in our words."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import SQLAlchemyError

from db.errors import DatabaseRefused
from db.outages import DatabaseAway
from worker.errors import DlrError
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of
from worker.settings import Settings

LOOK_S = 5.0
"""How long a component may take to answer, in seconds."""


class Health(StrEnum):
    """How a component is: ``warning`` works, and somebody should look."""

    OK = "ok"
    WARNING = "warning"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Component:
    """One component: its name, how it is, its version if it has one, and a sentence without identifiers."""

    component: str
    health: Health
    version: str | None
    detail: str


Look = Callable[[Settings], Component]


def look_at(name: str, look: Look, settings: Settings) -> Component:
    """Look at one component; whatever keeps it from answering is told in our words, and keeps no other from it."""
    try:
        return look(settings)
    except Exception as error:  # noqa: BLE001  a row of its own, whatever it is
        return Component(name, Health.DOWN, None, _said_of(error))


def _said_of(error: Exception) -> str:
    match error:
        case DlrError():
            return f"{error.code}: {error.reason}"
        case DatabaseRefused():
            return str(error)
        case SQLAlchemyError():
            return _said_of_postgresql(error)
        case _ if isinstance(error, REDIS_AWAY):
            return f"Redis {reason_of(error)}"
        case ImportError():
            return f"this installation lacks {error.name}: install the extra that has it"
        case OSError(strerror=str() as strerror):
            return strerror if error.filename is None else f"{error.filename}: {strerror}"
        case _:
            return f"could not be checked: a defect of this software ({type(error).__qualname__})"


def _said_of_postgresql(error: SQLAlchemyError) -> str:
    if isinstance(error, DatabaseAway):
        return error.sentence if error.sqlstate else "PostgreSQL does not answer at DLR_DATABASE_URL"
    return f"PostgreSQL refuses (SQLSTATE {getattr(getattr(error, 'orig', None), 'pgcode', None)})"
