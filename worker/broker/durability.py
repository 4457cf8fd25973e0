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
class Keeping:
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
            reason = f"Redis would lose jobs: {'; '.join(self.forgets)}. Set it up otherwise, or {ACCEPTED_BY}=true"
            raise SetupRefused(Code.SETTING_INVALID, reason)


def keeping(client: "Redis") -> Keeping:
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
        return Keeping(risks=["whether it keeps what it accepts can not be looked at: its user needs +info"])
    syncs = _config(client, "appendfsync") if has_file else None
    forgets = {
        "appendonly is off, so it loses the jobs that wait when it ends": not has_file,
        "appendfsync is no, so it loses the jobs of half a minute with the power": syncs == "no",
        f"maxmemory-policy is {policy}, so it drops jobs when its memory is full": policy != "noeviction",
    }
    risks = {"appendfsync is everysec: the jobs of the last second are lost with the power": syncs == "everysec"}
    return Keeping(*([said for said, is_so in each.items() if is_so] for each in (forgets, risks)))


def _config(client: "Redis", name: str) -> str | None:
    """Return what the server is set up with; ``None`` where its user may not ask."""
    try:
        found: Mapping[str | None, str | None] = client.config_get(name)
    except ResponseError:
        return None
    return found.get(name)
