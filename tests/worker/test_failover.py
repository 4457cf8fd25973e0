"""Both servers fail over: what stays connected beside the workers follows by itself, and so does each new command."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import sessionmaker

from benchmarks.faults.sentinel_set import SentinelSet, sentinel_set
from benchmarks.faults.standby_process import Standby, standby_of
from db.migrate import upgrade
from db.outages import DATABASE_AWAY
from db.reads.study_queries import counts_by_state
from db.schema.records import Queued
from db.schema.roles import OWNER, READER, WRITER
from db.session import make_engine, session_factory
from tests import command_line
from tests.end_to_end.small_models import add_small_models
from tests.waiting import until
from tests.worker.imaging.dicom_files import picture, write
from worker.broker.connections import connect
from worker.broker.reconciler import Reconciler, RedisQueues
from worker.demo import run as demo
from worker.exporter.exporter import exporter_of
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.home import Home
from worker.services.running_services import Services
from worker.settings import get_settings

pytestmark = pytest.mark.slow

LEASE_S = 60.0


@dataclass
class Site:
    redis: SentinelSet
    standby: Standby
    folder: Path

    def fail_over(self) -> int:
        """Take both primaries away; return the former port of Redis."""
        former = self.redis.primary()
        assert former is not None
        self.redis.kill(former)
        self.standby.promote()
        self.redis.until_promoted(former)
        return former

    def submitted(self, study_instance_uid: str) -> int:
        folder = self.folder / study_instance_uid
        write(folder / "a.dcm", picture(), StudyInstanceUID=study_instance_uid)
        (folder / "lesions.json").write_text(json.dumps([{"birads": "4A"}]))
        return command_line.dlr("submit", folder, "--format", "json").returncode


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    primary = EmbeddedPostgres(Home(folder / "home"))
    primary.start()
    try:
        upgrade(primary.url(OWNER))
        with standby_of(primary) as standby, sentinel_set() as redis:
            standby.synchronous(on=True)
            for name, value in {
                **redis.environment(),
                "DLR_DATABASE_URL": standby.url(primary.url(WRITER)),
                "DLR_READER_URL": standby.url(primary.url(READER)),
                "DLR_STORAGE_ROOT": str(folder / "storage"),
                "DLR_MODELS_DIR": str(folder / "models"),
            }.items():
                monkeypatch.setenv(name, value)
            get_settings.cache_clear()
            yield Site(redis, standby, folder)
    finally:
        primary.stop()


def up(registry: CollectorRegistry) -> dict[str, float]:
    return {
        component: cast("float", registry.get_sample_value("dlr_component_up", {"component": component}))
        for component in ("postgresql", "redis")
    }


def reconciled(reconciler: Reconciler) -> bool:
    try:
        reconciler.reconcile()
    except (*DATABASE_AWAY, *REDIS_AWAY):
        return False
    return True


def test_the_exporter_the_reconciler_and_submit_follow_both_servers_to_their_new_primaries(site: Site) -> None:
    settings = get_settings()
    exporter = exporter_of(settings)
    sessions: sessionmaker[Any] = session_factory(make_engine(settings.require_database_url()))
    put_back: list[Queued] = []
    with connect(settings.require_redis_url()) as client:
        reconciler = Reconciler(sessions, put_back.append, RedisQueues(client, ""), LEASE_S)
        assert site.submitted("1.2.1") == 0
        until(lambda: up(exporter) == {"postgresql": 1, "redis": 1})
        assert reconciled(reconciler)
        site.fail_over()
        until(lambda: up(exporter) == {"postgresql": 1, "redis": 1})
        until(lambda: reconciled(reconciler))
        until(lambda: site.submitted("1.2.2") == 0)
        assert RedisQueues(client, "").count() >= 1
    with sessions() as session:
        assert counts_by_state(session)["queued"] == 2


def test_the_demo_pushes_through_sentinels(site: Site) -> None:
    services = SimpleNamespace(settings=get_settings())
    made = demo.push(cast("Services", services), seed=1)
    with connect(get_settings().require_redis_url()) as client:
        assert RedisQueues(client, "").waiting()["intake"] == len(made)


def drilled(site: Site) -> dict[str, dict[str, Any]]:
    """Drill, and fail over when asked to; return what it says of each check."""
    command = ["doctor", "--drill", "--staging", "dlr", "--failover", "--format", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli.main", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as drill:  # fmt: skip
        assert drill.stderr is not None
        heard = []
        for line in drill.stderr:
            heard.append(line)
            if line.startswith("promote the standby"):
                site.fail_over()
        assert drill.stdout is not None
        rows = json.loads(drill.stdout.read() or "[]")
    assert drill.returncode == 0, f"{rows}\n{''.join(heard)}"
    return {row["check"]: row for row in rows}


@pytest.mark.long
@pytest.mark.parametrize(
    ("synchronous", "rests_on"), [(True, "a synchronous standby"), (False, "the senders")], ids=["synchronous", "not"]
)
def test_a_drill_keeps_every_promise_while_both_servers_fail_over(
    site: Site, *, synchronous: bool, rests_on: str
) -> None:
    site.standby.synchronous(on=synchronous)
    (site.folder / "storage").mkdir(exist_ok=True)
    add_small_models(get_settings().models_dir)
    found = drilled(site)
    assert {(row["lost"], row["wrong"], row["kept"]) for row in found.values()} == {(0, 0, True)}
    promoted = found["a standby promoted"]
    assert promoted["rests_on"].startswith(rests_on)
    assert promoted["figure"].startswith("PostgreSQL, Redis: all ended")
