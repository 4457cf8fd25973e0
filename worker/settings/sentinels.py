"""The URL of a Redis behind Sentinels: several hosts, which no URL has by itself, and the service that they watch.

One form is written, ``redis+sentinel://user:password@host:26379,host:26379/service/0`` (``rediss+sentinel`` for TLS),
and Celery's is read too: ``sentinel://user:password@host:26379/0;sentinel://host:26379/0?master_name=service``. Within
this software the hosts stand in brackets, which SQLAlchemy's URLs keep.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url

SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
"""The schemes; the second one speaks TLS with Redis and with its Sentinels."""

PORT: Final = 26379
USER, PASSWORD = "sentinel_username", "sentinel_password"
"""The parameters with which to sign in to the Sentinels."""

_HOSTS = re.compile(r"(?P<before>rediss?\+sentinel://(?:[^@/?]*@)?)(?P<hosts>[^/?]*)(?P<rest>[/?].*)?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:,\s]+)(?::(?P<port>[0-9]{1,5}))?")
_PATH = re.compile(r"(?P<service>[A-Za-z0-9._-]+)(?:/(?P<database>[0-9]+)?)?")
_PORTS = range(1, 1 << 16)


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where a Redis is that its Sentinels find.

    Attributes:
        sentinels: host and port of each.
        service: the name under which they watch it.
        of_sentinels: redis-py's arguments of a connection to a Sentinel: who signs in, and TLS.
        of_redis: those of a connection to Redis, its database and user included.
        tls: whether both speak TLS.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    of_sentinels: Mapping[str, Any]
    of_redis: Mapping[str, Any]
    tls: bool


def is_behind_sentinels(url: URL) -> bool:
    """Whether Sentinels know where this Redis is."""
    return url.drivername in SENTINEL


def from_sentinels(text: str) -> str:
    """Return a URL of Sentinels, in either form, with its hosts in brackets; any other as it is.

    Raises:
        ValueError: it is none of both; the sentence holds no value.
    """
    if text.startswith("sentinel://"):
        text = _from_celery(text)
    found = _HOSTS.fullmatch(text)
    if found is None:
        return text
    url = f"{found['before']}[{_without_brackets(found['hosts'])}]{found['rest'] or ''}"
    sentinel_address(url)
    return url


def as_written(url: str) -> str:
    """Return a URL as a person writes it: without brackets around several hosts."""
    found = _HOSTS.fullmatch(url)
    return url if found is None else f"{found['before']}{_without_brackets(found['hosts'])}{found['rest'] or ''}"


def sentinel_address(text: str) -> SentinelAddress | None:
    """Take a URL apart; ``None`` where it is that of one server.

    Raises:
        ValueError: hosts, service or database are missing or wrong, or redis-py does not know a parameter.
    """
    from redis.connection import parse_url

    url = make_url(text)
    if not is_behind_sentinels(url):
        return None
    path = _PATH.fullmatch(url.database or "")
    hosts = tuple(_hosts(url.host or ""))
    if not hosts or path is None:
        raise ValueError(
            "has to name Sentinels and their service: redis+sentinel://user@host:26379,host:26379/service/0"
        )
    tls = url.drivername.startswith("rediss")
    known: dict[str, Any] = parse_url(of_one_server(url))  # type: ignore[no-untyped-call]
    of_redis = {name: value for name, value in known.items() if name not in ("host", "connection_class")}
    signs_in = {name.removeprefix("sentinel_"): url.query[name] for name in (USER, PASSWORD) if name in url.query}
    security = {name: value for name, value in of_redis.items() if name.startswith("ssl_")}
    return SentinelAddress(
        sentinels=hosts,
        service=path["service"],
        of_sentinels={**signs_in, **({"ssl": True, **security} if tls else {})},
        of_redis=of_redis,
        tls=tls,
    )


def of_one_server(url: URL) -> str:
    """Return the URL as that of a single server, for what libraries make of its user, database and parameters."""
    own = {name: value for name, value in url.query.items() if name not in (USER, PASSWORD)}
    database = (url.database or "").partition("/")[2] or "0"
    plain = URL.create(url.drivername.partition("+")[0], url.username, url.password, "host", None, database, own)
    return plain.render_as_string(hide_password=False)


def celery_url(address: SentinelAddress) -> str:
    """Return the form that kombu and Flower read; the service is a transport option of theirs."""
    user, password = (quote(str(address.of_redis.get(name, "")), safe="") for name in ("username", "password"))
    who = f"{user}:{password}@" if user or password else ""
    hosts = ((f"[{host}]" if ":" in host else host, port) for host, port in address.sentinels)
    return ";".join(f"sentinel://{who}{host}:{port}/{address.of_redis['db']}" for host, port in hosts)


def _without_brackets(hosts: str) -> str:
    """Take the brackets off several hosts, and not off an address of IPv6."""
    inner = hosts[1:-1] if hosts.startswith("[") and hosts.endswith("]") else hosts
    return inner if all(_HOST.fullmatch(part) for part in inner.split(",")) else hosts


def _hosts(text: str) -> Iterator[tuple[str, int]]:
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        if found is None or int(found["port"] or PORT) not in _PORTS:
            raise ValueError("has a Sentinel that is not host:port, or they are not separated by commas")
        yield found["host"].strip("[]"), int(found["port"] or PORT)


def _from_celery(text: str) -> str:
    parts = [make_url(part) for part in text.split(";")]
    queries = dict(parameter for part in parts for parameter in part.query.items())
    service = queries.pop("master_name", None)
    if service is None or any(part.drivername != "sentinel" or not part.host for part in parts):
        raise ValueError(
            "has to name the Sentinels' service: sentinel://host:26379/0;sentinel://host:26379/0?master_name=service, "
            "or redis+sentinel://user@host:26379,host:26379/service/0 (rediss+sentinel:// for TLS)"
        )
    first = next((part for part in parts if part.password), parts[0])
    hosts = ",".join(
        f"{f'[{part.host}]' if ':' in str(part.host) else part.host}:{part.port or PORT}" for part in parts
    )
    database = next((part.database for part in parts if part.database), "0")
    return URL.create(
        SENTINEL[0], first.username, first.password, hosts, database=f"{service}/{database}", query=queries
    ).render_as_string(hide_password=False)
