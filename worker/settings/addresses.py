"""What a setting may say of another system: an address, who is meant there, and how to sign in."""

import re
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, HttpUrl, SecretStr, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from worker.errors import Code, SetupRefused
from worker.image_access import Server
from worker.settings.postgres_hosts import from_host_list
from worker.settings.sentinels import SENTINEL, from_sentinels, is_behind_sentinels, of_one_server

_PORTS = range(1, 1 << 16)
_AE_TITLE = re.compile(r"(?=.*[^ ])[ -\[\]-~]{1,16}")
_NODE = re.compile(r"(?= *[^ @])[ -?A-\[\]-~]{1,16}@[^@\s]+:[0-9]{1,5}")
_NO_CONTROL = r"[^\\^\x00-\x1f\x7f-\x9f]"
_PERFORMER = re.compile(
    rf"{_NO_CONTROL}{{1,16}}\^{_NO_CONTROL}{{1,16}}\^(?![^^]*=){_NO_CONTROL}{{1,64}}\^{_NO_CONTROL}{{1,64}}"
)
_CODE = re.compile(rf"{_NO_CONTROL}{{1,16}}\^{_NO_CONTROL}{{1,16}}(?:\^{_NO_CONTROL}{{1,64}})?")
_LABEL = re.compile(r"[^\\\x00-\x1f\x7f-\x9f]{1,64}")
"""What may stand in an AE, an LO, an SH or a PN (PS3.5, table 6.2-1)."""


def with_password(url: SecretStr, password: SecretStr | None) -> URL:
    """Return an address with the password that a setting of its own has, if it has none itself."""
    parsed = make_url(url.get_secret_value())
    if password is None or parsed.password is not None:
        return parsed
    return parsed.set(password=password.get_secret_value())


def secret(url: URL) -> SecretStr:
    """Return an address, its password included, as one that prints as asterisks."""
    return SecretStr(url.render_as_string(hide_password=False))


def required(url: SecretStr | None, variable: str) -> str:
    """Return an address, or say how to get one.

    Raises:
        SetupRefused: ``setting_invalid``, with the variable's name.
    """
    if url is None:
        raise SetupRefused(
            Code.SETTING_INVALID,
            f"{variable} is not set, and no `dlr up` is running with this DLR_HOME: start one, or set the variable",
        )
    return url.get_secret_value()


def _is_viewer(url: str) -> str:
    _is_web(url)
    places = re.findall(r"\{([^{}]*)\}", url)
    rest = re.sub(r"\{[^{}]*\}", "", url)
    if not places or set(places) - {"study_instance_uid", "accession_number"} or re.search(r"[{}\s\"<>\\]", rest):
        raise ValueError("has to name {study_instance_uid} or {accession_number}, and nothing else in braces")
    if "{" in urlsplit(url).netloc:
        raise ValueError("has to name the same server for every study")
    return url


def _server(url: SecretStr, drivers: Collection[str], form: str) -> URL:
    try:
        parsed = make_url(url.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a URL such as {form}") from None
    if parsed.drivername not in drivers or (parsed.port is not None and parsed.port not in _PORTS):
        raise ValueError(f"has to be {form}")
    return parsed


def _is_postgresql(url: SecretStr) -> SecretStr:
    whole = SecretStr(from_host_list(url.get_secret_value()))
    parsed = _server(whole, ("postgresql", "postgresql+psycopg2"), "postgresql://user@host:5432/database")
    if parsed.query and not _libpq_knows(parsed):
        raise ValueError("has a parameter after the question mark that libpq does not know")
    return whole


def _libpq_knows(url: URL) -> bool:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import make_dsn

    try:
        make_dsn(**dict.fromkeys(url.query, ""))
    except ProgrammingError:
        return False
    return True


def _is_redis(url: SecretStr) -> SecretStr:
    form = (
        "redis://user@host:6379/0 or redis+sentinel://user@host:26379,host:26379/service/0, with rediss:// or "
        "rediss+sentinel:// for TLS: no cluster and no other broker"
    )
    whole = SecretStr(from_sentinels(url.get_secret_value()))
    parsed = _server(whole, ("redis", "rediss", *SENTINEL), form)
    of_sentinels = is_behind_sentinels(parsed)
    if not of_sentinels and (not parsed.host or not (parsed.database or "0").isdecimal()):
        raise ValueError(f"has to be {form}")
    if parsed.query and not _redis_py_knows(of_one_server(parsed) if of_sentinels else url.get_secret_value()):
        raise ValueError(
            "has a parameter after the question mark that redis-py does not know, or a wrong value for one"
        )
    return whole


def _redis_py_knows(url: str) -> bool:
    from redis import ConnectionPool, RedisError

    try:
        ConnectionPool.from_url(url).make_connection()  # which does not connect yet
    except (TypeError, ValueError, RedisError):
        return False
    return True


def _is_web(text: str) -> str:
    try:
        parsed = urlsplit(text)
        is_one = parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("has to be http://host:port or https://host:port")
    return text


def _is_node(text: str) -> str:
    if not _NODE.fullmatch(text) or int(text.rpartition(":")[2]) not in _PORTS:
        raise ValueError("has to be AET@host:port, with an AE title of up to 16 characters and a port up to 65535")
    return text


def _is_performer(text: str) -> str:
    if not _PERFORMER.fullmatch(text):
        raise ValueError("has to be value^scheme^name^organization")
    return text


def _is_ae_title(text: str) -> str:
    if not _AE_TITLE.fullmatch(text):
        raise ValueError("has to be an AE title: 1 to 16 ASCII characters without a backslash")
    return text


def _are_ae_titles(text: str) -> str:
    if not all(_AE_TITLE.fullmatch(name.strip()) for name in text.split(",") if name.strip()):
        raise ValueError(
            "has to be AE titles separated by commas, each of 1 to 16 ASCII characters without a backslash"
        )
    return text


def _are_codes(text: str) -> str:
    if not all(_CODE.fullmatch(code.strip()) for code in text.split(",") if code.strip()):
        raise ValueError("has to be codes separated by commas, each value^scheme or value^scheme^meaning")
    return text


def _is_label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("has to be 1 to 64 characters without a backslash or control characters")
    return text


AeTitle = Annotated[str, AfterValidator(_is_ae_title)]
"""The title of a DICOM application entity."""

AeTitles = Annotated[str, AfterValidator(_are_ae_titles)]
"""Such titles, separated by commas."""

Codes = Annotated[str, AfterValidator(_are_codes)]
"""Coded concepts, separated by commas: ``value^scheme`` or ``value^scheme^meaning``."""

Label = Annotated[str, AfterValidator(_is_label)]
"""A short text of a DICOM attribute (LO)."""

NodeAddress = Annotated[str, AfterValidator(_is_node)]
"""A DICOM node: ``AET@host:port``."""

Performer = Annotated[str, AfterValidator(_is_performer)]
"""Who is to do something, as a coded concept and an organization: ``value^scheme^name^organization``."""

PostgresUrl = Annotated[SecretStr, AfterValidator(_is_postgresql)]
"""The URL of a PostgreSQL, in the form that SQLAlchemy reads."""

RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis)]
"""The URL of one Redis server in the same form, or of the Sentinels that know where it is."""

ViewerUrl = Annotated[str, AfterValidator(_is_viewer)]
"""The URL of a viewer of images, with places for a study's values."""

WebUrl = Annotated[str, AfterValidator(_is_web)]
"""The URL of an HTTP server."""


class DicomwebServer(BaseModel):
    """A DICOMweb server, as DLR_DICOMWEB_SERVERS has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: HttpUrl
    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = None

    @model_validator(mode="after")
    def _signs_in_once(self) -> Self:
        if self.url.username or self.url.password:
            raise ValueError("the url must not contain a user or password: they have fields of their own")
        if (self.user is None) != (self.password is None) or (self.user and self.token):
            raise ValueError("give a token, or a user and a password, or neither")
        return self

    def with_headers(self) -> Server:
        """Return the server with the headers that sign in (RFC 6750, RFC 7617)."""
        headers = {}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        if self.user is not None and self.password is not None:
            pair = f"{self.user}:{self.password.get_secret_value()}".encode()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return Server(str(self.url).rstrip("/"), headers, self.ca)
