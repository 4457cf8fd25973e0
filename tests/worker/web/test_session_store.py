"""Who has signed in, in memory and in the database: the same, but that the database is shared."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import create_engine, text

from db.schema.roles import WEB
from db.session import driver_url, make_engine, session_factory
from tests.conftest import Database
from worker.web import session_store
from worker.web.session_store import InDatabase, InMemory, SessionStore

ANNA = ("anna", "reader", "mark")
IDLE_S = 60


@dataclass(frozen=True)
class Kept:
    """A store, and a way to let time pass for it."""

    store: SessionStore
    pass_s: Callable[[float], None]


@pytest.fixture(params=["memory", "database"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    if request.param == "memory":
        now = [1000.0]
        monkeypatch.setattr(session_store.time, "time", lambda: now[0])
        yield Kept(InMemory(), lambda seconds: now.__setitem__(0, now[0] + seconds))
        return
    database: Database = request.getfixturevalue("database")
    engine, owner = make_engine(database.web_url, role=WEB), create_engine(driver_url(database.owner_url))

    def pass_s(seconds: float) -> None:
        past = "UPDATE web_session SET seen_at = seen_at - make_interval(secs => :seconds)"
        with owner.begin() as connection:
            connection.execute(text(past), {"seconds": seconds})

    yield Kept(InDatabase(session_factory(engine)), pass_s)
    engine.dispose()
    owner.dispose()


def is_in(store: SessionStore, key: str) -> bool:
    return store.find(key, IDLE_S) is not None


def test_who_signed_in_is_found_by_their_key_alone(kept: Kept) -> None:
    kept.store.begin("a", *ANNA, 100)
    found = kept.store.find("a", IDLE_S)
    assert found is not None
    assert found[:3] == ANNA
    assert not is_in(kept.store, "b")


def test_who_is_seen_again_stays_and_who_is_not_is_out(kept: Kept) -> None:
    kept.store.begin("a", *ANNA, 1000)
    kept.pass_s(59)
    assert is_in(kept.store, "a")
    kept.store.note_seen("a")
    kept.pass_s(59)
    assert is_in(kept.store, "a")
    kept.pass_s(2)
    assert not is_in(kept.store, "a")


def test_who_signs_out_is_out_and_nobody_else(kept: Kept) -> None:
    for key in ("a", "b"):
        kept.store.begin(key, *ANNA, 100)
    kept.store.end("a")
    assert (is_in(kept.store, "a"), is_in(kept.store, "b")) == (False, True)
    kept.store.note_seen("a")
    assert not is_in(kept.store, "a")


def test_what_nobody_has_used_for_longer_than_a_session_lasts_is_forgotten(kept: Kept) -> None:
    kept.store.begin("a", *ANNA, 100)
    kept.pass_s(101)
    kept.store.begin("b", *ANNA, 100)
    assert kept.store.find("a", 10_000) is None


def test_that_somebody_is_there_is_not_written_down_at_each_page(database: Database) -> None:
    engine = make_engine(database.web_url, role=WEB)
    store = InDatabase(session_factory(engine))
    store.begin("a", *ANNA, 100)
    found = store.find("a", IDLE_S)
    assert found is not None
    assert not found.is_due
    engine.dispose()
