"""Three Redis servers and three Sentinels over them, real processes of this machine, with users and passwords."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from benchmarks.faults.waiting import wait_until
from worker.network.port import LOOPBACK, free_port
from worker.services.embedded_redis import RULES, embedded_binary

SERVICE, USER, PASSWORD, OF_SENTINELS = "dlr", "dlr", "workers-secret", "sentinels-secret"
NODES = 3
PATIENCE_S = 60.0

# https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/, "Sentinel ACL authentication".
USERS = (
    f"user default off\nuser {USER} on >{PASSWORD} {RULES}\n"
    "user replica on >replica +psync +replconf +ping\n"
    "user sentinel on >sentinel allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish "
    "+info +client|setname +client|kill +script|kill\n"
    "user administrator on >administrator ~* &* +@all\n"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM, the same for servers and clients; certificates are for the loopback address."""

    ca: Path
    certificate: Path
    key: Path

    def lines(self, port: int) -> str:
        return (
            f"port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients no\ntls-ca-cert-file {self.ca}\n"
            f"tls-cert-file {self.certificate}\ntls-key-file {self.key}\n"
        )


@dataclass
class SentinelSet:
    """The servers and the Sentinels, by their ports."""

    folder: Path
    program: Path
    tls: Tls | None = None
    ports: list[int] = field(default_factory=list)
    sentinel_ports: list[int] = field(default_factory=list)
    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def start(self) -> None:
        """Start everything, and wait until each Sentinel knows the others and both replicas."""
        self.ports = [free_port(self.folder / f"port-{number}") for number in range(NODES)]
        self.sentinel_ports = [free_port(self.folder / f"sentinel-port-{number}") for number in range(NODES)]
        (self.folder / "users.acl").write_text(USERS)
        for port in self.ports:
            self._write_node(port, None if port == self.ports[0] else self.ports[0])
            self.start_node(port)
        self._until(lambda: all(self.has_role(port, "slave") for port in self.ports[1:]), "both replicas")
        for port in self.sentinel_ports:
            self._write_sentinel(port)
            self._run(port, "--sentinel")
        self._until(self._is_complete, "the Sentinels")

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    # --- where it is

    def url(self, form: str = "redis+sentinel") -> str:
        """Return the URL with the workers' user, in our form or with ``sentinel`` in Celery's."""
        hosts = [f"{LOOPBACK}:{port}" for port in self.sentinel_ports]
        who = f"{USER}:{PASSWORD}@"
        if form == "sentinel":
            return ";".join(f"sentinel://{who}{host}/0" for host in hosts) + f"?master_name={SERVICE}"
        scheme = "rediss+sentinel" if self.tls else form
        return f"{scheme}://{who}{','.join(hosts)}/{SERVICE}/0"

    def environment(self, form: str = "redis+sentinel") -> dict[str, str]:
        """Return the settings of a site that has this."""
        ca = {} if self.tls is None else {"DLR_REDIS_CA": str(self.tls.ca)}
        return {"DLR_REDIS_URL": self.url(form), "DLR_REDIS_SENTINEL_PASSWORD": OF_SENTINELS, **ca}

    def celery(self) -> dict[str, Any]:
        """Return the settings of a sender's plain Celery."""
        url, _, _ = self.url("sentinel").partition("?")
        limits = {"socket_timeout": 2, "socket_connect_timeout": 2}
        of_sentinels = {"password": OF_SENTINELS, **limits}
        options = {"master_name": SERVICE, "sentinel_kwargs": of_sentinels, **limits}
        return {"broker_url": url, "broker_transport_options": options}

    def client(self, port: int, user: str = "administrator") -> "Redis":
        """Connect to one server."""
        return self._client(port, user, user)

    def primary(self) -> int | None:
        """Return the port of the newest primary that more than half of the Sentinels name."""
        named = [found for port in self.sentinel_ports if (found := self._named_by(port)) is not None]
        return next((port for port in self.ports if named.count(port) > NODES / 2), None)

    def has_role(self, port: int, role: str) -> bool:
        """Whether a server is ``master``, or a ``slave`` that has what its primary has."""
        try:
            with self.client(port) as client:
                said: Mapping[str, Any] = client.info("replication")
        except RedisError:
            return False
        return said["role"] == role and (role == "master" or said["master_link_status"] == "up")

    # --- what happens to it

    def start_node(self, port: int) -> None:
        """Start a server, as whatever it was."""
        self._run(port)

    def kill(self, port: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a server or a Sentinel."""
        self.processes[port].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[port].wait()

    def until_promoted(self, former: int) -> int:
        """Wait until the Sentinels name another primary, and it is one; return its port."""
        self._until(lambda: self._new_primary(former) is not None, "a promotion", 0.02)
        promoted = self._new_primary(former)
        assert promoted is not None
        return promoted

    def until_whole(self) -> None:
        """Wait until each server but the primary is its replica again, and the Sentinels agree."""
        self._until(self._is_whole, "the replicas")

    # --- within

    def _until(self, is_so: Callable[[], bool], what: str, every_s: float = 0.1) -> None:
        wait_until(is_so, PATIENCE_S, lambda: f"{what}: not within {PATIENCE_S:.0f} s", every_s)

    def _new_primary(self, former: int) -> int | None:
        return next((port for port in self.ports if port != former and self.has_role(port, "master")), None)

    def _is_whole(self) -> bool:
        primary = self.primary()
        return primary is not None and all(
            self.has_role(port, "master" if port == primary else "slave") for port in self.ports
        )

    def _is_complete(self) -> bool:
        states = [self._state(port) for port in self.sentinel_ports]
        return all(
            state is not None and state["num-other-sentinels"] == NODES - 1 and state["num-slaves"] == NODES - 1
            for state in states
        )

    def _named_by(self, sentinel: int) -> int | None:
        state = self._state(sentinel)
        return None if state is None else int(state["port"])

    def _state(self, sentinel: int) -> dict[str, Any] | None:
        try:
            with self._client(sentinel, None, OF_SENTINELS) as client:
                found: dict[str, Any] | None = client.sentinel_masters().get(SERVICE)
                return found
        except RedisError:
            return None

    def _client(self, port: int, user: str | None, password: str) -> "Redis":
        tls = {} if self.tls is None else {"ssl": True, "ssl_ca_certs": str(self.tls.ca)}
        limits = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": None}
        return Redis(LOOPBACK, port, username=user, password=password, **limits, **tls)

    def _write_node(self, port: int, primary: int | None) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        where = "" if primary is None else f"replicaof {LOOPBACK} {primary}\n"
        (folder / "server.conf").write_text(
            f"{self._at(port)}dir {folder}\nappendonly yes\nappendfsync always\n"
            f'save ""\nmaxmemory-policy noeviction\naclfile {self.folder / "users.acl"}\nmasteruser replica\n'
            f"masterauth replica\nmin-replicas-to-write 1\nmin-replicas-max-lag 3\nrepl-diskless-sync-delay 0\n{where}"
        )

    def _write_sentinel(self, port: int) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        (folder / "server.conf").write_text(
            f"{self._at(port)}dir {folder}\nrequirepass {OF_SENTINELS}\nsentinel sentinel-pass {OF_SENTINELS}\n"
            f"sentinel monitor {SERVICE} {LOOPBACK} {self.ports[0]} 2\nsentinel auth-user {SERVICE} sentinel\n"
            f"sentinel auth-pass {SERVICE} sentinel\nsentinel down-after-milliseconds {SERVICE} 2000\n"
            f"sentinel failover-timeout {SERVICE} 10000\nsentinel parallel-syncs {SERVICE} 2\n"
        )

    def _at(self, port: int) -> str:
        own = f"port {port}\n" if self.tls is None else self.tls.lines(port)
        return f"bind {LOOPBACK}\nprotected-mode no\n{own}"

    def _run(self, port: int, *arguments: str) -> None:
        folder = self.folder / str(port)
        with (folder / "log").open("ab") as log:
            command: Sequence[Any] = [self.program, folder / "server.conf", *arguments]
            self.processes[port] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def sentinel_set(program: Path | None = None, tls: Tls | None = None) -> Iterator[SentinelSet]:
    """Run three servers and three Sentinels in a folder that is gone afterwards.

    Args:
        program: a Redis other than the embedded Valkey.
        tls: for a program that speaks it.
    """
    with TemporaryDirectory(prefix="dlr-sentinels-") as place:
        servers = SentinelSet(Path(place), program or embedded_binary(), tls)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
