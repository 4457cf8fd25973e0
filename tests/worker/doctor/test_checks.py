"""The rows of `dlr doctor`: one for every component, whatever another does."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from db.session import make_engine
from tests.command_line import dlr
from tests.conftest import Database
from worker.doctor.component import Component, Health, look_at
from worker.doctor.installation import performer
from worker.doctor.postgresql import postgres, reading_order
from worker.network.port import free_port
from worker.performing.claims import Claim, Claims, State
from worker.settings import Settings, get_settings

ALL = [
    "dlr-worker", "PostgreSQL", "schema", "Redis", "queues", "studies", "reading order", "workers", "models",
    "device", "storage", "Flower", "worklist page", "delivery", "work items",
]  # fmt: skip


def rows(**variables: object) -> dict[str, Mapping[str, str]]:
    done = dlr("doctor", "--format", "json", **variables)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert [row["component"] for row in found] == ALL
    return {row["component"]: row for row in found}


def test_with_nothing_running_every_component_has_its_row() -> None:
    found = rows()
    for name in ("PostgreSQL", "Redis", "queues", "studies", "workers", "delivery"):
        assert found[name]["health"] == "down"
        assert "dlr up" in found[name]["detail"]
    assert "dlr doctor" not in found["workers"]["detail"]


def test_with_redis_down_the_others_are_looked_at(database: Database, tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port(tmp_path / 'port')}/0"
    found = rows(DLR_DATABASE_URL=database.writer_url, DLR_REDIS_URL=nobody)
    assert [found[name]["health"] for name in ("PostgreSQL", "schema", "studies", "reading order")] == ["ok"] * 4
    assert found["reading order"]["version"] == "suspicion/2"
    for name in ("Redis", "queues", "workers"):
        assert found[name]["health"] == "down"
        assert "connection refused" in found[name]["detail"]


BUILDING = (
    "INSERT INTO reading_order_policy (label, document, digest, before_all, state) "
    "SELECT 'site/1', document, digest, '{}', 'building' FROM reading_order_policy"
)


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        ("UPDATE reading_order_policy SET placed_at = NULL", "dlr db upgrade"),
        (BUILDING, "site/1 is being applied"),
    ],
)
def test_places_that_are_still_to_be_computed_are_told(
    database: Database, statement: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(database.writer_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    monkeypatch.setenv("DLR_DATABASE_URL", database.writer_url)
    get_settings.cache_clear()
    found = look_at("reading order", reading_order, get_settings())
    assert (found.health, detail in found.detail) == (Health.WARNING, True)


def test_with_postgresql_down_the_others_are_looked_at(redis_url: str, tmp_path: Path) -> None:
    nobody = f"postgresql://u:p@127.0.0.1:{free_port(tmp_path / 'port')}/dlr"
    found = rows(DLR_DATABASE_URL=nobody, DLR_REDIS_URL=redis_url)
    assert [found[name]["health"] for name in ("Redis", "queues")] == ["ok"] * 2
    assert [found[name]["health"] for name in ("PostgreSQL", "schema", "studies", "delivery")] == ["down"] * 4
    assert "Redis" not in found["PostgreSQL"]["detail"]


def test_a_table_for_people_has_every_row_too() -> None:
    done = dlr("doctor")
    assert done.returncode == 1
    for name in ALL:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/srv/models/active.json"), "/srv/models/active.json"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL"), "PIL"),
        (ZeroDivisionError("Doe^Jane"), "defect"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_keeps_a_component_from_answering_is_told_as_what_it_is(error: Exception, said: str) -> None:
    def look(_settings: object) -> Component:
        raise error

    row = look_at("models", look, get_settings())
    assert (row.component, row.health) == ("models", Health.DOWN)
    assert said in row.detail
    assert "Redis" not in row.detail
    assert "Jane" not in row.detail


def test_a_table_that_somebody_holds_is_told_as_that(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_DATABASE_URL", database.writer_url)
    get_settings.cache_clear()
    with make_engine(database.superuser_url, role=None).begin() as holder:
        holder.execute(text("LOCK TABLE study"))
        found = postgres(get_settings())
    assert (found.health, "55P03" in found.detail) == ("down", True)


def test_work_items_that_were_given_up_or_that_nobody_performs_are_a_warning(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, perform_manager="RIS@ris:104")
    claims = Claims.of(settings.storage_root, "RIS@ris:104")
    claims.folder.mkdir(parents=True)
    assert performer(settings).health is Health.WARNING, "nobody has performed any"
    claims.looked()
    held = Claim(uid="1.2.3", transaction_uid="2.25.1", job={}, workitem=None, claimed_at=datetime.now(UTC))
    claims.keep(held)
    assert performer(settings) == Component("work items", Health.OK, None, "1 held, 0 given up")
    claims.keep(held.now(State.GIVEN_UP))
    assert performer(settings) == Component("work items", Health.WARNING, None, "0 held, 1 given up")
