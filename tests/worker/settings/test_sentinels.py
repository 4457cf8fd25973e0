"""The URL of a Redis behind Sentinels: in both forms that are read, and as the libraries are given it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from worker.errors import SetupRefused
from worker.settings import as_written, celery_url, described, get_settings, sentinel_address
from worker.settings.sentinels import from_sentinels

ALIKE = [
    (
        "redis+sentinel://u:p%40ss@a:1,b/pacs/3",
        "sentinel://u:p%40ss@a:1/3;sentinel://b:26379/3?master_name=pacs",
    ),
    ("redis+sentinel://:pw@a,b,c/pacs", "sentinel://a:26379/0;sentinel://:pw@b;sentinel://c?master_name=pacs"),
    ("redis+sentinel://[::1]:1,[fe80::1]/pacs/0", "sentinel://[::1]:1/0;sentinel://[fe80::1]:26379/0?master_name=pacs"),
]


@pytest.mark.parametrize(("ours", "celerys"), ALIKE)
def test_both_forms_mean_the_same(ours: str, celerys: str) -> None:
    assert sentinel_address(from_sentinels(ours)) == sentinel_address(from_sentinels(celerys))


def test_an_address_names_the_sentinels_their_service_and_who_signs_in() -> None:
    address = sentinel_address(from_sentinels("redis+sentinel://u:p%40ss@a:1,b/pacs/3?health_check_interval=10"))
    assert address is not None
    assert address.sentinels == (("a", 1), ("b", 26379))
    assert address.service == "pacs"
    assert address.of_redis == {"username": "u", "password": "p@ss", "db": 3, "health_check_interval": 10}
    assert not address.of_sentinels
    assert not address.tls
    assert celery_url(address) == "sentinel://u:p%40ss@a:1/3;sentinel://u:p%40ss@b:26379/3"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://u:p@h/1", "redis://[::1]/0"])
def test_the_address_of_one_server_stays_as_it_is(url: str) -> None:
    assert from_sentinels(url) == url
    assert as_written(url) == url
    assert sentinel_address(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1,h:2",
        "redis+sentinel://u:hunter2@h:99999/pacs",
        "redis+sentinel:///pacs/0",
        "redis+sentinel://h:1;h:2/pacs",
        "redis+sentinel://h/pacs/first",
        "redis+sentinel://h/pacs/0/1",
        "redis+sentinel://u:hunter2@h/pacs/0?foo=bar",
        "sentinel://u:hunter2@h:26379/0",
        "sentinel://u:hunter2@h/0;redis://h/0?master_name=pacs",
    ],
)
def test_what_names_no_sentinels_or_no_service_is_refused_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", url)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith("DLR_REDIS_URL: has ")
    assert "hunter2" not in refused.value.reason


@given(
    hosts=st.lists(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True), min_size=1, max_size=5),
    password=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
)
def test_any_password_and_number_of_hosts_reaches_both_libraries(hosts: list[str], password: str) -> None:
    made = make_url("redis+sentinel://u@h/pacs/1").set(password=password, host=",".join(f"{host}:1" for host in hosts))
    url = from_sentinels(made.render_as_string(hide_password=False))
    assert from_sentinels(as_written(url)) == url
    address = sentinel_address(url)
    assert address is not None
    assert [host for host, _ in address.sentinels] == hosts
    assert address.of_redis["password"] == password
    assert all(str(make_url(part).password) == password for part in celery_url(address).split(";"))


def test_the_sentinels_have_a_user_and_a_password_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", "redis+sentinel://u@a,b/pacs/0")
    monkeypatch.setenv("DLR_REDIS_PASSWORD", "of redis")
    monkeypatch.setenv("DLR_REDIS_SENTINEL_USER", "watcher")
    monkeypatch.setenv("DLR_REDIS_SENTINEL_PASSWORD", "of sentinels")
    address = sentinel_address(get_settings().require_redis_url())
    assert address is not None
    assert address.of_sentinels == {"username": "watcher", "password": "of sentinels"}
    assert address.of_redis == {"username": "u", "password": "of redis", "db": 0}
    (shown,) = [row.value for row in described(get_settings()) if row.variable == "DLR_REDIS_URL"]
    assert shown == "redis+sentinel://u:***@a:26379,b:26379/pacs/0?sentinel_username=watcher" or shown == (
        "redis+sentinel://u:***@a,b/pacs/0?sentinel_username=watcher"
    )


def test_a_password_of_sentinels_that_are_not_there_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", "redis://a/0")
    monkeypatch.setenv("DLR_REDIS_SENTINEL_PASSWORD", "hunter2")
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert "need a DLR_REDIS_URL with redis+sentinel://" in refused.value.reason
    assert "hunter2" not in refused.value.reason


def test_over_tls_the_same_files_are_for_redis_and_for_its_sentinels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("DLR_REDIS_URL", "rediss+sentinel://u@a,b/pacs/0")
    monkeypatch.setenv("DLR_REDIS_CA", str(tmp_path / "ca.pem"))
    address = sentinel_address(get_settings().require_redis_url())
    assert address is not None
    assert address.tls
    security = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": str(tmp_path / "ca.pem")}
    assert {name: address.of_redis[name] for name in security} == security
    assert address.of_sentinels == {"ssl": True, **security}
