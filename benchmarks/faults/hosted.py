"""A service on several hosts: PostgreSQL, Redis and the storage on one each, an intake and an inference worker on two.

Its servers are those of the other rows, started again on hosts of their own. The storage is a DICOMweb server: workers
of several hosts that read one file system would meet the partitions of that file system, and not of ours.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import make_url

from benchmarks.faults.hosts import NETWORK, Hosts, hosts
from benchmarks.faults.service import ROOT, FaultService, fault_service
from benchmarks.faults.studies import MadeStudy
from benchmarks.measuring import Say
from db.schema.roles import OWNER, WRITER
from worker.services.embedded_postgres import HBA, SETTINGS, EmbeddedPostgres
from worker.services.embedded_redis import CONFIGURATION, EmbeddedRedis
from worker.services.home import Home
from worker.services.server_process import ServerProgram

WORKERS = ("worker-a", "worker-b")
STORAGE_PORT = 8042
LOOK_S = 0.5


@dataclass
class HostedPostgres(EmbeddedPostgres):
    """The PostgreSQL of a home, on a host; ``before`` stands before its command."""

    def __init__(self, home: Home, on: Hosts, before: Sequence[str] = ()) -> None:
        super().__init__(home)
        self._on, self._before = on, before
        self.address = on.address("postgres")

    def start(self) -> None:
        """Start it on its host, at its address there."""
        own = self.home.folder("postgres") / "data" / "pg_hba.conf"
        own.write_text(f"{HBA}host all all {NETWORK}.0.0/16 scram-sha-256\n")
        with self._on.on("postgres"), mock.patch.dict(SETTINGS, listen_addresses=self.address):
            super().start()

    def _url(self, *arguments: str) -> str:
        return _at(self.address, super()._url(*arguments))

    def _starting(
        self, program: ServerProgram, arguments: Sequence[str]
    ) -> "AbstractContextManager[subprocess.Popen[bytes]]":
        return super()._starting(*_after(self._before, program, arguments))


@dataclass
class HostedRedis(EmbeddedRedis):
    """The Redis of a home, on a host; ``before`` stands before its command."""

    def __init__(self, home: Home, on: Hosts, before: Sequence[str] = ()) -> None:
        super().__init__(home)
        self._on, self._before = on, before
        self.address = on.address("redis")

    def start(self) -> None:
        """Start it on its host, at its address there."""
        with self._on.on("redis"), mock.patch.dict(CONFIGURATION, bind=self.address):
            super().start()

    def _url(self, *arguments: str) -> str:
        return _at(self.address, super()._url(*arguments))

    def _starting(
        self, program: ServerProgram, arguments: Sequence[str]
    ) -> "AbstractContextManager[subprocess.Popen[bytes]]":
        return super()._starting(*_after(self._before, program, arguments))


class HostedService:
    """What the rows do with a service on several hosts.

    Attributes:
        hosts: where it runs.
        service: its workers and servers.
        urls: of its servers, by their settings.
    """

    def __init__(
        self, on: Hosts, service: FaultService, urls: Mapping[str, str], before: Mapping[str, list[str]]
    ) -> None:
        self.hosts = on
        self.service = service
        self.urls = urls
        self._before = dict(before)
        service.before = lambda name: [*on.within(host_of(name)), *self._before.get(host_of(name), [])]

    def give(self, host: str, *before: str) -> None:
        """Let what is started on a host from now on have this before its command."""
        self._before[host] = list(before)

    def start_workers(self, hosts: Sequence[str] = WORKERS) -> None:
        """Start an intake and an inference worker on each."""
        for host in hosts:
            for queue in ("intake", "inference"):
                self.service.start_worker(f"{queue}-{host}")

    def until_back(self, make: Callable[[int], list[MadeStudy]], seconds: float) -> tuple[float, list[MadeStudy]]:
        """Push studies until each inference worker has scored one that it claimed from now on, and each host answers.

        Returns:
            How long that took, in seconds, and the studies.
        """
        since = self.service.sql("SELECT clock_timestamp() AS now")[0]["now"]
        wanted = {self.service.workers[f"inference-{host}"].pid for host in WORKERS}
        pushed: list[MadeStudy] = []

        def all_did() -> bool:
            more = make(2)
            pushed.extend(more)
            for study in more:
                self.push(study)
            rows = self.service.sql(_SCORED_SINCE, since)
            return wanted <= {int(row["worker"].rpartition(":")[2]) for row in rows}

        took = self.service.until(all_did, seconds, "a study scored by each worker", LOOK_S)
        return took, pushed

    def push(self, study: MadeStudy) -> None:
        """Push a study whose images are on the storage's host."""
        self.service.push(in_storage(study))


def host_of(worker: str) -> str:
    """Return the host that is the end of a worker's name."""
    return worker.partition("-")[2]


def in_storage(study: MadeStudy) -> MadeStudy:
    """Return the study with its images on the DICOMweb server."""
    return replace(study, job={**study.job, "images": {"kind": "dicomweb", "server": "storage"}})


@contextmanager
def service_on_hosts(
    say: Say, before: Mapping[str, list[str]] | None = None, **environment: str
) -> Iterator[HostedService]:
    """Run a service on hosts, which are gone afterwards; workers are started by `HostedService.start_workers`.

    Args:
        say: is told what goes on.
        before: what stands before the commands of a host, by its name.
        environment: of the workers.

    Raises:
        NotPossibleHere: no hosts can be made.
    """
    with hosts() as on, fault_service(say, **environment) as service, ExitStack() as stack:
        home, settings = service.services.home, service.services.settings
        service.postgres.stop()
        service.redis.stop()
        before = before or {}
        postgres = HostedPostgres(home, on, before.get("postgres", ()))
        redis = HostedRedis(home, on, before.get("redis", ()))
        for server in (postgres, redis):
            stack.callback(server.stop)
            server.start()
        urls: dict[str, Any] = {
            "database_url": postgres.url(WRITER),
            "database_owner_url": postgres.url(OWNER),
            "redis_url": redis.url(),
        }
        service.services = replace(
            service.services, postgres=postgres, redis=redis, settings=settings.model_copy(update=urls)
        )
        service.postgres = postgres
        stack.enter_context(_storage(on, settings.storage_root))
        by_setting = {f"DLR_{name.upper()}": str(url) for name, url in urls.items()}
        server = f"http://{on.address('storage')}:{STORAGE_PORT}/dicom-web"
        service.give_workers(
            **by_setting,
            DLR_DICOMWEB_SERVERS=json.dumps({"storage": {"url": server}}),
        )
        stack.callback(service.kill_workers)
        yield HostedService(on, service, by_setting, before)


@contextmanager
def _storage(on: Hosts, folder: Path) -> Iterator[None]:
    command = ["-m", "tests.dicomweb_server", str(folder), on.address("storage"), str(STORAGE_PORT)]
    process = subprocess.Popen([*on.within("storage"), sys.executable, *command], cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _after(before: Sequence[str], program: ServerProgram, arguments: Sequence[str]) -> tuple[ServerProgram, list[str]]:
    """Return the program with a command before it, once it has given up root; its leftovers are cleared already."""
    if not before:
        return program, [*arguments]
    return replace(program, binary=Path(before[0])), [*before[1:], str(program.binary), *arguments]


def _at(address: str, url: str) -> str:
    return make_url(url).set(host=address).render_as_string(hide_password=False)


_SCORED_SINCE = """
SELECT DISTINCT e.detail ->> 'worker' AS worker FROM study_event e JOIN study s ON s.id = e.study_id
WHERE e.event = 'claimed' AND e.at > %s AND s.state = 'done'
"""
