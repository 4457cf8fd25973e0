"""Whether Redis lets its user do what the workers need: managed servers leave commands out, or deny them to all users.

Each command is put into a transaction that is discarded. Redis says at once whether it knows it, and whether this user
may give it, and does nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from worker.broker.redis_scripts import TAKEN
from worker.errors import Code, SetupRefused

CLUSTER: Final = (
    "is a cluster (cluster_enabled), which cannot be used, since a message moves between several keys in one step: "
    "DLR_REDIS_URL must name a server outside of a cluster, or Sentinels"
)
NEEDED: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (("EVALSHA", "0" * 40, "1", TAKEN), "cannot take messages"),
    (("SCRIPT", "LOAD", "return 0"), "cannot take messages"),
)
"""What no worker can do without, and what it cannot do then."""

WANTED: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (
        ("BGREWRITEAOF",),
        "identifiers of pushed jobs stay in its append-only file, and in its backups, until it rewrites that by itself",
    ),
)
"""What they can do without, and what is lost."""

SENTENCE: Final = "denies this user {command} (a managed server, or its ACL), so {lacks}"
NO_REPLICA: Final = "has no replica in sync now, so that no failover is possible"
ALONE: Final = (
    "min-replicas-to-write is 0: a primary that is cut off from its replicas goes on accepting jobs, which a failover "
    "loses"
)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this Redis cannot do, a sentence for each thing.

    Attributes:
        lacks: without which no worker can work.
        risks: what else is to be known of it.
    """

    lacks: Sequence[str]
    risks: Sequence[str]

    def require(self) -> None:
        """Refuse a Redis with which no worker can work.

        Raises:
            SetupRefused: ``setting_invalid``.
        """
        if self.lacks:
            raise SetupRefused(Code.SETTING_INVALID, f"Redis {'; '.join(self.lacks)}")


def abilities_of(client: "Redis", *, is_behind_sentinels: bool = False) -> Abilities:
    """Ask Redis what it can do.

    Args:
        client: of the server, as the workers' user.
        is_behind_sentinels: whether replicas are expected.

    Raises:
        RedisError: Redis is away.
    """
    try:
        found: dict[str, Any] = client.info()
    except ResponseError:
        found = {}
    if str(found.get("cluster_enabled")) == "1" or found.get("redis_mode") == "cluster":
        return Abilities([CLUSTER], [])
    needed, wanted = (_denied(client, commands) for commands in (NEEDED, WANTED))
    return Abilities(needed, [*wanted, *(_of_replication(found) if is_behind_sentinels and found else [])])


def _of_replication(found: dict[str, Any]) -> list[str]:
    said = {
        NO_REPLICA: int(found.get("connected_slaves", 0)) == 0,
        ALONE: "min_slaves_good_slaves" not in found,  # which INFO has where that is set
    }
    return [sentence for sentence, is_so in said.items() if is_so]


def _denied(client: "Redis", commands: Sequence[tuple[tuple[str, ...], str]]) -> list[str]:
    """Return a sentence for each command that this user may not give, or that is not there."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("MULTI")  # type: ignore[no-untyped-call]
        connection.read_response()
        denied: dict[str, None] = {}
        for command, lacks in commands:
            connection.send_command(*command)  # type: ignore[no-untyped-call]
            try:
                connection.read_response()
            except ResponseError as error:
                if isinstance(error, NoPermissionError) or "unknown" in str(error):
                    denied[SENTENCE.format(command=_name(command), lacks=lacks)] = None
        connection.send_command("DISCARD")  # type: ignore[no-untyped-call]
        connection.read_response()
        return list(denied)
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
        client.connection_pool.release(connection)


def _name(command: tuple[str, ...]) -> str:
    return "EVALSHA and SCRIPT" if command[0] in ("EVALSHA", "SCRIPT") else command[0]
