"""A primary and its standby in one URL: libpq's form is taken, and given back to who uses psql."""

import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from worker.errors import SetupRefused
from worker.services.home import database_url_of
from worker.settings import as_host_list, get_settings
from worker.settings.postgres_hosts import from_host_list

FORMS = [
    (
        "postgresql://u:p%40@a:5432,b:6432/dlr",
        {"host": "a,b", "port": "5432,6432", "user": "u", "password": "p@", "target_session_attrs": "read-write"},
    ),
    ("postgresql://u@a,b,c/dlr?target_session_attrs=any", {"host": "a,b,c", "target_session_attrs": "any"}),
    (
        "postgresql+psycopg2://u@a:5432,b/dlr?sslmode=require",
        {"host": "a,b", "sslmode": "require", "target_session_attrs": "read-write"},
    ),
    ("postgresql://u@a:5432/dlr", {"host": "a", "port": "5432"}),
]


@pytest.mark.parametrize(("url", "meant"), FORMS)
def test_the_driver_is_given_the_hosts_that_are_written(url: str, meant: dict[str, str]) -> None:
    engine = create_engine(make_url(from_host_list(url)).set(drivername="postgresql+psycopg2"))
    _, arguments = engine.dialect.create_connect_args(engine.url)
    assert {name: str(arguments.get(name)) for name in meant} == meant
    make_dsn(**arguments)  # libpq knows each of them


@pytest.mark.parametrize("url", [url for url, _ in FORMS if "psycopg2" not in url])
def test_what_is_printed_for_psql_is_what_was_written(url: str) -> None:
    written, printed = parse_dsn(url), parse_dsn(as_host_list(make_url(from_host_list(url))))
    assert printed["host"] == written["host"]
    assert {name: printed.get(name) for name in ("user", "password", "dbname")} == {
        name: written.get(name) for name in ("user", "password", "dbname")
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@,b/dlr",
        "postgresql://u@[::1]:5432,b/dlr",
        "postgresql://u@a:5432,:5433/dlr",
        "postgresql://u@a,b/d?x=1",
    ],
)
def test_a_list_that_is_none_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_DATABASE_URL", url)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith("DLR_DATABASE_URL: has a")


def test_a_password_of_its_own_goes_with_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_DATABASE_URL", "postgresql://u@a,b:6432/dlr")
    monkeypatch.setenv("DLR_DATABASE_PASSWORD", "p@ss")
    printed = database_url_of(get_settings(), "writer")
    assert printed == "postgresql://u:p%40ss@a:5432,b:6432/dlr?target_session_attrs=read-write"
