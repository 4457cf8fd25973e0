"""Redis answers with errors: each answer that is no lost connection, made on a real server, and taken back."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Thread
from unittest import mock

import psutil
from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from benchmarks.faults.waiting import wait_until
from worker.services import embedded_redis as room
from worker.services.embedded_redis import RULES, SECRET, USER, EmbeddedRedis
from worker.services.home import Home

PATIENCE_S = 240
NOBODY = ("127.0.0.1", 1)
ADMINISTRATOR = "administrator"
KEYS_TO_LOAD = 40_000
LOAD_DELAY_US = 100
"""So many keys, so slowly read: five seconds and more, in which it looks after its clients after every 1024 of them."""


@contextmanager
def administered() -> Iterator[None]:
    """Let each embedded Redis that is started have a user who may do everything, beside the workers' own."""
    user = f"user {ADMINISTRATOR} on >{ADMINISTRATOR} ~* &* +@all"
    with mock.patch.object(room, "RULES", f"{RULES}\n{user}"):
        yield


@dataclass(frozen=True, slots=True)
class Refusing:
    """An embedded Redis that was started while `administered`."""

    server: EmbeddedRedis

    def client(self) -> "Redis":
        """Connect the user who may do everything."""
        port = self.server.port
        return Redis(port=port, username=ADMINISTRATOR, password=ADMINISTRATOR, socket_timeout=60, retry=None)

    @contextmanager
    def configured(self, during: Mapping[str, object], after: Mapping[str, object]) -> Iterator[None]:
        """Set the server up otherwise while it lasts."""
        with self.client() as client:
            for name, value in during.items():
                client.config_set(name, value)
            try:
                yield
            finally:
                for name, value in after.items():
                    client.config_set(name, value)

    @contextmanager
    def replica(self) -> Iterator[None]:
        """Make it a replica of nobody."""
        with self.client() as client:
            client.slaveof(*NOBODY)
            try:
                yield
            finally:
                client.slaveof()

    @contextmanager
    def user(self, *rules: str) -> Iterator[None]:
        """Let the workers' user have other rules while it lasts, and connect anew."""
        secret = sha256(self.server.home.secret(SECRET).encode()).hexdigest()
        with self.client() as client:
            client.execute_command("ACL", "SETUSER", USER, *rules)
            self._hang_up(client)
            try:
                yield
            finally:
                client.execute_command("ACL", "SETUSER", USER, "reset", "on", f"#{secret}", *RULES.split())
                self._hang_up(client)

    @contextmanager
    def full_house(self) -> Iterator[None]:
        """Let nobody else connect."""
        with self.client() as client:
            client.ping()
            with self.configured({"maxclients": 1}, {"maxclients": 10000}):
                self._hang_up(client)
                yield

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Run a script that does not end."""
        with self.configured({"busy-reply-threshold": 100}, {}), self.client() as client:

            def run() -> None:
                with suppress(RedisError), self.client() as caller:
                    caller.eval("while true do end", 0)

            script = Thread(target=run, daemon=True)
            script.start()
            _until(lambda: _is_busy(client))
            try:
                yield
            finally:
                client.script_kill()
                script.join()

    @contextmanager
    def unsaved(self) -> Iterator[None]:
        """Let a snapshot fail, as it does on a full disk."""
        during = {"save": "3600 1", "rdb-key-save-delay": 10_000_000}
        with self.client() as client:
            client.set("saved", 1)
            with self.configured(during, {"save": "", "rdb-key-save-delay": 0}):
                client.bgsave()
                server = psutil.Process(int((self.server.home.path / "redis" / "redis.pid").read_text()))
                _until(lambda: _has_failed_to_save(client, server))
                yield
            client.delete("saved")

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Kill it, and let it read its data slowly. The context ends when it has."""
        keys = [f"loaded-{number}" for number in range(KEYS_TO_LOAD)]
        with self.client() as client:
            commands = client.pipeline(transaction=False)
            for key in keys:
                commands.set(key, 1)
            commands.execute()
        os.kill(int((self.server.home.path / "redis" / "redis.pid").read_text()), signal.SIGKILL)
        _until(lambda: not self.server.is_running)
        with (
            mock.patch.dict(room.CONFIGURATION, {"key-load-delay": str(LOAD_DELAY_US)}),
            mock.patch.object(EmbeddedRedis, "_answers", return_value=True),  # so that it is not waited for
        ):
            self.server.start()
        _until(self._is_loading)
        yield
        _until(lambda: not self._is_loading())
        with self.client() as client:
            client.delete(*keys)

    def _is_loading(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except BusyLoadingError:
            return True
        except RedisError:  # not listening yet
            return False
        return False

    @staticmethod
    def _hang_up(client: "Redis") -> None:
        client.execute_command("CLIENT", "KILL", "USER", USER)


@contextmanager
def refusing_redis(home: Path) -> Iterator[Refusing]:
    """Run an embedded Redis by itself that can be made to refuse."""
    server = EmbeddedRedis(Home(home))
    with administered():
        server.start()
        yield Refusing(server)
        server.stop()


@contextmanager
def _without_its_master(one: Refusing) -> Iterator[None]:
    stale = {"replica-serve-stale-data": "no"}, {"replica-serve-stale-data": "yes"}
    with one.configured(*stale), one.replica():
        yield


def _is_busy(client: "Redis") -> bool:
    try:
        client.get("busy")
    except ResponseError:
        return True
    return False


def _has_failed_to_save(client: "Redis", server: psutil.Process) -> bool:
    state = client.info("persistence")
    if state["rdb_bgsave_in_progress"]:  # and no rewrite of the log, for which a snapshot waits
        for snapshot in server.children():
            snapshot.kill()
    return state["rdb_last_bgsave_status"] == "err"


def _until(found: Callable[[], object]) -> None:
    wait_until(found, PATIENCE_S, lambda: "Redis did not become as it was to be")


REFUSALS: Mapping[str, Callable[[Refusing], AbstractContextManager[None]]] = {
    "READONLY": Refusing.replica,
    "NOREPLICAS": lambda one: one.configured({"min-replicas-to-write": 1}, {"min-replicas-to-write": 0}),
    "OOM": lambda one: one.configured({"maxmemory": 1}, {"maxmemory": 0}),
    "LOADING": Refusing.loading,
    "MASTERDOWN": _without_its_master,
    "WRONGPASS": lambda one: one.user("resetpass", ">another password"),
    "NOPERM": lambda one: one.user("-@write"),
    "BUSY": Refusing.busy,
    "MISCONF": Refusing.unsaved,
    "maxclients": Refusing.full_house,
}
"""How each answer is had of a server, by its first word or what it names."""


def redis_refuses(say: Say, *, quick: bool) -> Figure:
    """Let Redis give each answer for a while, again and again, while studies are pushed."""
    rounds, seconds = (1, 3.0) if quick else (5, 10.0)
    with administered(), fault_service(say, **{DEVICE_MS: "20"}) as service:
        refusing = Refusing(service.redis)
        service.start_workers()
        started = set(service.workers.values())
        studies: list[MadeStudy] = []
        for turn in range(rounds):
            for answer, refuse in REFUSALS.items():
                studies += _pushed_through(service, refuse(refusing), seconds)
                say(f"{answer}, {turn + 1} of {rounds}: {service.ended(studies)} of {len(studies)} studies have ended")
        ended = [process for process in started if process.poll() is not None]
        service.until_ended(studies, PATIENCE_S)
        verdict = verify(service, studies)
    return Figure(
        "Redis answers with errors",
        f"{', '.join(REFUSALS)}: {rounds} times each, for {seconds:.0f} s; {len(studies)} studies",
        f"{said(verdict)}; {len(ended)} workers ended",
        "0 lost, no worker ends",
        verdict.is_clean and not ended,
    )


def _pushed_through(service: FaultService, refusing: AbstractContextManager[None], seconds: float) -> list[MadeStudy]:
    """Push some studies before Redis refuses, and some meanwhile, which their sender pushes until they are taken."""
    before, meanwhile = service.studies.make(10), service.studies.make(5)
    for study in before:
        service.push(study)
    pushing = Thread(target=lambda: [service.push(study) for study in meanwhile])
    with refusing:
        pushing.start()
        time.sleep(seconds)
    pushing.join()
    return [*before, *meanwhile]
