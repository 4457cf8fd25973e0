"""With a CA, PostgreSQL and Redis are spoken to over TLS alone, and a server that is not who it says is refused."""

from pathlib import Path

import pytest
import trustme
from kombu import Connection
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from db.session import make_engine
from tests.conftest import Database
from tests.tls_proxy import tls_in_front_of
from tests.waiting import patience
from worker.app import celery_settings
from worker.errors import SetupRefused
from worker.settings import get_settings


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def client_files(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = authority.issue_cert("worker@hospital.example")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    (tmp_path / "client.key").chmod(0o600)


def set_up(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    get_settings.cache_clear()


def select_one() -> object:
    with make_engine(get_settings().require_database_url()).connect() as connection:
        return connection.scalar(text("SELECT 1"))


def port_of(url: str) -> int:
    port = make_url(url).port
    assert port is not None
    return port


def with_port(url: str, port: int, scheme: str) -> str:
    return make_url(url).set(port=port, drivername=scheme, host="localhost").render_as_string(hide_password=False)


def test_postgresql_is_spoken_to_over_tls_with_a_client_certificate(
    database: Database, authority: trustme.CA, client_files: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(database.writer_url)
    with tls_in_front_of(port, authority, "localhost", postgres=True, client_ca=authority) as proxy:
        url = with_port(database.writer_url, proxy, "postgresql")
        set_up(
            monkeypatch,
            DLR_DATABASE_URL=url,
            DLR_DATABASE_CA=tmp_path / "ca.pem",
            DLR_DATABASE_CERTIFICATE=tmp_path / "client.pem",
            DLR_DATABASE_KEY=tmp_path / "client.key",
        )
        assert select_one() == 1


@pytest.mark.parametrize("wrong", ["authority", "name", "no tls"])
def test_a_postgresql_that_is_not_who_it_says_is_refused(
    database: Database, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    port = port_of(database.writer_url)
    signer = trustme.CA() if wrong == "authority" else authority
    with tls_in_front_of(port, signer, "other" if wrong == "name" else "localhost", postgres=True) as proxy:
        at = port if wrong == "no tls" else proxy
        url = with_port(database.writer_url, at, "postgresql")
        set_up(monkeypatch, DLR_DATABASE_URL=url, DLR_DATABASE_CA=tmp_path / "ca.pem")
        with pytest.raises(OperationalError):
            select_one()


def test_redis_is_spoken_to_over_tls_by_redis_py_and_by_celery(
    redis_url: str,
    authority: trustme.CA,
    client_files: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tls_in_front_of(port_of(redis_url), authority, "localhost", client_ca=authority) as proxy:
        set_up(
            monkeypatch,
            DLR_REDIS_URL=with_port(redis_url, proxy, "rediss"),
            DLR_REDIS_CA=tmp_path / "ca.pem",
            DLR_REDIS_CERTIFICATE=tmp_path / "client.pem",
            DLR_REDIS_KEY=tmp_path / "client.key",
        )
        url = get_settings().require_redis_url()
        assert Redis.from_url(url, socket_timeout=patience(5)).ping()
        options = celery_settings(get_settings())
        with Connection(options["broker_url"], ssl=options["broker_use_ssl"], transport_options={}) as connection:
            connection.default_channel.client.ping()


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_redis_that_is_not_who_it_says_is_refused(
    redis_url: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    signer = trustme.CA() if wrong == "authority" else authority
    with tls_in_front_of(port_of(redis_url), signer, "other" if wrong == "name" else "localhost") as proxy:
        url = with_port(redis_url, proxy, "rediss")
        set_up(monkeypatch, DLR_REDIS_URL=url, DLR_REDIS_CA=tmp_path / "ca.pem")
        with pytest.raises(RedisConnectionError):
            Redis.from_url(get_settings().require_redis_url(), socket_timeout=patience(5)).ping()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"DLR_REDIS_URL": "redis://h/0", "DLR_REDIS_CA": "/ca"}, "DLR_REDIS_CA"),
        ({"DLR_REDIS_URL": "rediss://h/0?ssl_cert_reqs=none"}, "DLR_REDIS_URL"),
        ({"DLR_DATABASE_URL": "postgresql://h/d?sslmode=require", "DLR_DATABASE_CA": "/ca"}, "DLR_DATABASE_CA"),
        ({"DLR_DATABASE_URL": "postgresql://h/d", "DLR_DATABASE_KEY": "/key"}, "DLR_DATABASE_KEY"),
    ],
)
def test_settings_that_would_weaken_it_are_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: str
) -> None:
    set_up(monkeypatch, **values)
    with pytest.raises(SetupRefused, match="setting_invalid") as refused:
        get_settings()
    assert named in refused.value.reason


def test_without_tls_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, DLR_REDIS_URL="redis://u:p@h:1/0", DLR_DATABASE_URL="postgresql://u:p@h/d")
    assert get_settings().require_redis_url() == "redis://u:p@h:1/0"
    assert "ssl" not in get_settings().require_database_url()
    assert "broker_use_ssl" not in celery_settings(get_settings())


@pytest.mark.parametrize(
    ("server", "address"), [("DATABASE", "postgresql://u@h/d"), ("REDIS", "rediss://h/0")], ids=["PostgreSQL", "Redis"]
)
@pytest.mark.parametrize("file", ["CA", "CERTIFICATE", "KEY"])
def test_a_file_for_tls_that_can_not_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str, address: str, file: str
) -> None:
    monkeypatch.setenv(f"DLR_{server}_URL", address)
    for name in ("CA", "CERTIFICATE", "KEY"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"DLR_{server}_{name}", str(tmp_path / name))
    (tmp_path / file).unlink()
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason == f"DLR_{server}_{file} cannot be read"
