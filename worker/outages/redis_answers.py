"""What Redis answers when it cannot do as it is asked, and what a person is told of it.

Redis's error answers begin with a word of their own (https://redis.io/docs/latest/develop/reference/protocol-spec/,
"Simple errors"). None of them is a reason to end a worker: it waits, as for a Redis that is away. An answer's text is
never shown, since redis-py puts the command before it, and a command may hold a job.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

ANSWERS: Final[Mapping[str, str]] = {
    # After a failover a client may still be connected to the server that was the master.
    "READONLY": "is a read-only replica: DLR_REDIS_URL must name the master, or its Sentinels",
    "NOREPLICAS": "refuses writes: fewer replicas are in sync than min-replicas-to-write requires",
    "OOM": "is out of memory: maxmemory is reached, so it refuses messages",
    "LOADING": "is starting and still loading its data",
    "MASTERDOWN": "is a replica that has lost its master",
    "NOAUTH": "requires a password: set DLR_REDIS_PASSWORD",
    "WRONGPASS": "refuses the user or the password of DLR_REDIS_URL and DLR_REDIS_PASSWORD",
    "NOPERM": "denies this user a command that is needed: fix its ACL (see deploy/valkey/users.acl)",
    "MISCONF": "cannot write to its disk (is it full?), so it refuses writes",
    "BUSY": "is busy with a script",
    "UNKILLABLE": "is busy with a script",
    "EXECABORT": "refused part of a transaction and discarded all of it",
    "UNBLOCKED": "ended a blocking command, as it does when it becomes a replica",
    "NOGOODSLAVE": "has no replica that could take over",
    "CLUSTERDOWN": "is a cluster that is down",
    "TRYAGAIN": "is a cluster that is migrating its keys",
    "MOVED": "is a cluster, which Celery cannot use: DLR_REDIS_URL must name a single server",
    "ASK": "is a cluster, which Celery cannot use: DLR_REDIS_URL must name a single server",
    "CROSSSLOT": "is a cluster, which Celery cannot use: DLR_REDIS_URL must name a single server",
    "DENIED": "is in protected mode and refuses connections from other machines",
    "WRONGTYPE": "has a queue key of another type: does another program use this database?",
}
"""The first word of an answer, and what it means of Redis."""

_SENTENCES: Final[Mapping[str, str]] = {
    "max number of clients reached": "has reached its maxclients limit",
    "invalid password": f"{ANSWERS['WRONGPASS']} (WRONGPASS)",
    "ACL failure in script": f"{ANSWERS['NOPERM']} (NOPERM)",
    "without any password configured": "has no password, but DLR_REDIS_URL or DLR_REDIS_PASSWORD sets one",
    "no password is set": "has no password, but DLR_REDIS_URL or DLR_REDIS_PASSWORD sets one",
    "DB index is out of range": "has no database with the number at the end of DLR_REDIS_URL",
    "unknown command": "lacks a command that is needed: use Redis 6.2 or later, or Valkey",
}
"""What is told by a sentence behind the word ERR."""

NO_SENTINEL: Final = "no Sentinel of DLR_REDIS_URL answers"
NO_PRIMARY: Final = "the Sentinels know no primary of this service that is up"
NOT_PRIMARY: Final = "the server that the Sentinels name is not the primary yet"
"""What a connection is refused with while Sentinels look for another primary."""

AWAY: Final = (RedisError, BrokerError)
"""What redis-py and kombu raise when Redis is away, or answers that it cannot."""

REFUSALS: Final = (ResponseError, InvalidResponse)
"""What redis-py raises of an answer that kombu takes for the end of a worker."""

_OF_A_PIPELINE: Final = "caused error: "
_WORD: Final = re.compile(r"-?\b(" + "|".join(ANSWERS) + r")\b")


def reason_of(error: BaseException) -> str:
    """Say of Redis what an error means, as the rest of a sentence that begins with "Redis".

    Args:
        error: of redis-py, of kombu, or one that either of them caused.
    """
    for cause in _causes(error):
        if isinstance(cause, ResponseError | RedisConnectionError) and (answer := _answer(cause)):
            return answer
    for cause in _causes(error):
        if lost := _lost(cause):
            return lost
    if any(isinstance(cause, REFUSALS) for cause in _causes(error)):
        return "refused the request with an unknown error: its own log may say more"
    return "does not answer at DLR_REDIS_URL: is it running, and is the address correct?"


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that Redis has no room for a message more."""
    return reason_of(error).startswith(ANSWERS["OOM"])


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _answer(error: RedisError) -> str | None:
    """Find an answer of the table; a script's holds that of the command which was refused in it."""
    text = str(error).rpartition(_OF_A_PIPELINE)[2]
    word = error.status_code if error.status_code in ANSWERS else None
    if word is None and isinstance(error, ResponseError):
        found = _WORD.match(text) or (_WORD.search(text) if "script" in text else None)
        word = found and found[1]
    if word is not None:
        return f"{ANSWERS[word]} ({word})"
    return next((said for sentence, said in _SENTENCES.items() if sentence in text), None)


def _lost(error: BaseException) -> str | None:
    """Say how there came to be no connection."""
    match error:
        case ssl.SSLCertVerificationError():
            return "presents an untrusted certificate: check DLR_REDIS_CA and the host of DLR_REDIS_URL"
        case ssl.SSLError():
            return "does not use TLS as DLR_REDIS_URL says, or requires a client certificate (rediss:// or redis://?)"
        case socket.gaierror():
            return "does not answer: the host name in DLR_REDIS_URL cannot be resolved"
        case MasterNotFoundError() if str(error) in (NO_SENTINEL, NO_PRIMARY, NOT_PRIMARY):
            return f"has no primary: {error}"
        case RedisTimeoutError() | TimeoutError():
            return "does not answer in time at DLR_REDIS_URL"
        case OSError(errno=errno.ECONNREFUSED | errno.EHOSTUNREACH | errno.ENETUNREACH as number):
            why = os.strerror(number).lower()
            return f"does not answer at DLR_REDIS_URL ({why}): is it running, and is the address correct?"
        case _:
            return None
