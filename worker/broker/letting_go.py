"""A connection that is not used again once the server refused something on it."""

from typing import Any

from redis import Connection, SSLConnection
from redis.exceptions import NoScriptError

from worker.outages.redis_answers import REFUSALS


class LetGo(Connection):
    """A connection that is made anew after a refusal.

    After a failover the address of the master leads to another server, and whoever stays connected talks to the replica
    that the former one has become.
    """

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect, and forget what the server did not know."""
        super().on_connect_check_health(*args, **kwargs)
        # What redis-py offers a server when it connects, an older one or Valkey may refuse.
        self.reset_should_reconnect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read an answer, and see whether it is a refusal."""
        try:
            return super().read_response(*args, **kwargs)
        except REFUSALS as refusal:
            if not isinstance(refusal, NoScriptError):
                self.mark_for_reconnect()  # type: ignore[no-untyped-call]
            raise


class LetGoOverTls(LetGo, SSLConnection):
    """The same over TLS."""
