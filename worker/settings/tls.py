"""Transport security, as parameters of the servers' URLs. Certificates are always verified, and the host's name too."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

VERIFYING_MODES = ("verify-ca", "verify-full")
"""libpq's sslmodes under which a server that the CA did not sign is refused."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files for one server, in PEM: whom to trust (``None``: whom the system trusts), and who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def postgres_url(url: URL, files: TlsFiles) -> URL:
    """Return the URL with libpq's parameters; with a CA the server has to prove that it is the host of the URL.

    Raises:
        ValueError: the settings contradict each other; the sentence names them and holds no value.
    """
    if files.ca is None:
        if files != TlsFiles():
            raise ValueError("DLR_DATABASE_CERTIFICATE and DLR_DATABASE_KEY need DLR_DATABASE_CA")
        return url
    if url.query.get("sslmode", VERIFYING_MODES[0]) not in VERIFYING_MODES:
        raise ValueError("DLR_DATABASE_CA is set, but the URL's sslmode verifies nothing: remove sslmode from the URL")
    return _with(
        url, {"sslmode": "verify-full", "sslrootcert": files.ca, "sslcert": files.certificate, "sslkey": files.key}
    )


def redis_url(url: URL, files: TlsFiles) -> URL:
    """Return the URL with the parameters of redis-py and kombu; ``redis://`` has none.

    Raises:
        ValueError: as for `postgres_url`.
    """
    if not url.drivername.startswith("rediss"):
        if files != TlsFiles():
            raise ValueError(
                "DLR_REDIS_CA, DLR_REDIS_CERTIFICATE and DLR_REDIS_KEY need a DLR_REDIS_URL with rediss:// (or "
                "rediss+sentinel://)"
            )
        return url
    if url.query.get("ssl_cert_reqs", "required") != "required":
        raise ValueError("DLR_REDIS_URL turns certificate verification off: remove ssl_cert_reqs from it")
    return _with(
        url,
        {
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": "true",
            "ssl_ca_certs": files.ca,
            "ssl_certfile": files.certificate,
            "ssl_keyfile": files.key,
        },
    )


def _with(url: URL, parameters: dict[str, str | Path | None]) -> URL:
    missing = {name: str(value) for name, value in parameters.items() if value is not None and name not in url.query}
    return url.update_query_dict(missing)
