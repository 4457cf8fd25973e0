"""What a person is told about an error that ends a command: its stable code and one sentence."""

import errno

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from db.errors import DatabaseRefused
from db.outages import DatabaseAway
from worker.extras import extra_with, hint
from worker.outages.redis_answers import AWAY, reason_of
from worker.validation_errors import flaws_of

MOST_FLAWS = 5
"""Things that are told of a document of ours that is not what its schema says."""

DATABASE_AWAY = (
    "PostgreSQL does not answer at DLR_DATABASE_URL: is it running (`dlr up`), and are the address and password right?"
)


def sentence_of(error: Exception) -> tuple[str, str] | None:
    """Return the code and the sentence of an error of a service, a setting or a disk; ``None`` of a defect."""
    match error:
        case ModuleNotFoundError(name=str(package)) if extra := extra_with(package):
            return "setting_invalid", f"this needs the package {package}: {hint(extra)}"
        case DatabaseRefused():
            return "setting_invalid", str(error)
        case DatabaseAway(sqlstate=None):
            return "service_unavailable", DATABASE_AWAY
        case DatabaseAway():
            return "service_unavailable", error.sentence
        case DBAPIError():
            return "internal_error", f"PostgreSQL refused the request (SQLSTATE {getattr(error.orig, 'pgcode', None)})"
        case ValidationError():
            flaws = [f"{'.'.join(map(str, flaw.place))} {flaw.sentence}" for flaw in flaws_of(error)]
            return "internal_error", f"{error.title}: {'; '.join(flaws[:MOST_FLAWS])}"
        case _ if isinstance(error, AWAY):
            recorded = "What was recorded stays on record: submit it again to queue it"
            return "service_unavailable", f"Redis {reason_of(error)}. {recorded}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EROFS):
            return "setting_invalid", f"a file cannot be written ({error.strerror})"
        case OSError(errno=errno.EIO | errno.EACCES | errno.EPERM | errno.ENAMETOOLONG | errno.EEXIST | errno.ENOTDIR):
            return "setting_invalid", f"a file cannot be read or written ({error.strerror})"
        case _:
            return None
