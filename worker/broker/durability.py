"""Whether Redis keeps what it has accepted: a job that no worker has taken yet is known to Redis alone.

``INFO`` says what is needed, which the users of docs/administrator.md may ask for; ``CONFIG GET``, where a user may ask
for it, how often the append-only file reaches the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from worker.errors import Code, SetupRefused

ACCEPTED_BY = "DLR_REDIS_MAY_FORGET"


@dataclass(frozen=True, slots=True)
class Durability:
    """How well Redis keeps jobs, a sentence for each thing.

    Attributes:
        forgets: in what it is set up so that jobs are lost.
        risks: what else is to be known of it.
    """

    forgets: Sequence[str] = ()
    risks: Sequence[str] = ()

    def require(self, *, may_forget: bool) -> None:
        """Refuse a Redis that forgets, unless the site accepts it.

        Raises:
            SetupRefused: ``setting_invalid``.
        """
        if self.forgets and not may_forget:
            reason = (
                f"Redis may lose jobs: {'; '.join(self.forgets)}. Change its configuration, or set {ACCEPTED_BY}=true"
            )
            raise SetupRefused(Code.SETTING_INVALID, reason)


def durability_of(client: "Redis") -> Durability:
    """Look at how Redis is set up.

    Raises:
        RedisError: Redis is away. Where the user may not ask, that is one of the risks.
    """
    try:
        found: Mapping[str, Any] = client.info()
    except ResponseError:
        found = {}
    policy, has_file = found.get("maxmemory_policy"), found.get("aof_enabled")
    if policy is None or has_file is None:
        return Durability(risks=["cannot check whether it keeps accepted jobs: its user needs +info"])
    syncs = _config(client, "appendfsync") if has_file else None
    forgets = {
        "appendonly is off, so waiting jobs are lost when it stops": not has_file,
        "appendfsync is no, so a power failure loses the jobs of half a minute": syncs == "no",
        f"maxmemory-policy is {policy}, so it evicts jobs when its memory is full": policy != "noeviction",
    }
    risks = {"appendfsync is everysec: a power failure loses the jobs of the last second": syncs == "everysec"}
    return Durability(*([said for said, is_so in each.items() if is_so] for each in (forgets, risks)))


def _config(client: "Redis", name: str) -> str | None:
    """Return what the server is set up with; ``None`` where its user may not ask."""
    try:
        found: Mapping[str | None, str | None] = client.config_get(name)
    except ResponseError:
        return None
    return found.get(name)
