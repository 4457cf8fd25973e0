"""What Redis answers when it can not do as it is asked, and what a person is told of it.

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

ANSWERS: Final[Mapping[str, str]] = {
    # After a failover a client may still be connected to the server that was the master.
    "READONLY": "is a read-only replica: DLR_REDIS_URL has to lead to the master",
    "NOREPLICAS": "takes no writes: fewer replicas are in step than its min-replicas-to-write asks for",
    "OOM": "is out of memory: maxmemory is reached, so it takes no more messages",
    "LOADING": "is loading its data, as it does when it starts",
    "MASTERDOWN": "is a replica that has lost its master",
    "NOAUTH": "wants a password: set DLR_REDIS_PASSWORD",
    "WRONGPASS": "refuses the user or the password of DLR_REDIS_URL and DLR_REDIS_PASSWORD",
    "NOPERM": "does not let this user do what is needed: mend its access list (deploy/valkey/users.acl has one)",
    "MISCONF": "can not write to its disk (is it full?), so it takes no writes",
    "BUSY": "is busy with somebody's script",
    "UNKILLABLE": "is busy with somebody's script",
    "EXECABORT": "refused part of a transaction, and did none of it",
    "UNBLOCKED": "broke a wait off, as it does when it becomes a replica",
    "NOGOODSLAVE": "has no replica that could take over",
    "CLUSTERDOWN": "is a cluster that is down",
    "TRYAGAIN": "is a cluster that is moving its keys",
    "MOVED": "is a cluster, which Celery can not use: DLR_REDIS_URL has to lead to one server",
    "ASK": "is a cluster, which Celery can not use: DLR_REDIS_URL has to lead to one server",
    "CROSSSLOT": "is a cluster, which Celery can not use: DLR_REDIS_URL has to lead to one server",
    "DENIED": "is in protected mode, and lets nobody in from another machine",
    "WRONGTYPE": "has a key of the queues' that is of another kind: does another program use this database?",
}
"""The first word of an answer, and what it means of Redis."""

_SENTENCES: Final[Mapping[str, str]] = {
    "max number of clients reached": "has as many clients as its maxclients allows",
    "invalid password": f"{ANSWERS['WRONGPASS']} (WRONGPASS)",
    "ACL failure in script": f"{ANSWERS['NOPERM']} (NOPERM)",
    "without any password configured": "has no password, and DLR_REDIS_URL or DLR_REDIS_PASSWORD gives one",
    "no password is set": "has no password, and DLR_REDIS_URL or DLR_REDIS_PASSWORD gives one",
    "DB index is out of range": "has no database of the number at the end of DLR_REDIS_URL",
    "unknown command": "does not know a command that is needed: it takes Redis 6.2 or later, or Valkey",
}
"""What is told by a sentence behind the word ERR."""

AWAY: Final = (RedisError, BrokerError)
"""What redis-py and kombu raise when Redis is away, or answers that it can not."""

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
        return "refused the request with an answer that is not known here: its own log may say more"
    return "does not answer at DLR_REDIS_URL: is it running, and is the address right?"


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
            return "shows a certificate that is not trusted: see DLR_REDIS_CA and the host of DLR_REDIS_URL"
        case ssl.SSLError():
            return (
                "does not speak TLS as DLR_REDIS_URL says, or asks for a certificate of ours (rediss:// or redis://?)"
            )
        case socket.gaierror():
            return "does not answer: the name of the host in DLR_REDIS_URL is not known"
        case RedisTimeoutError() | TimeoutError():
            return "does not answer in time at DLR_REDIS_URL"
        case OSError(errno=errno.ECONNREFUSED | errno.EHOSTUNREACH | errno.ENETUNREACH as number):
            why = os.strerror(number).lower()
            return f"does not answer at DLR_REDIS_URL ({why}): is it running, and is the address right?"
        case _:
            return None
