"""Several PostgreSQL servers in one URL: libpq's form, ``host:5432,host:5432``, and the one that SQLAlchemy reads.

Of several servers one can be written, the primary; libpq asks each in turn (``target_session_attrs``, PostgreSQL's
documentation, "Specifying Multiple Hosts").
"""

import re
from typing import Final

from sqlalchemy.engine import URL

WRITABLE: Final = "target_session_attrs=read-write"
_PORT: Final = 5432
_LIST = re.compile(
    r"(?P<scheme>postgresql(?:\+psycopg2)?)://(?:(?P<who>[^@/?]*)@)?(?P<hosts>[^/?]*,[^/?]*)"
    r"(?P<path>/[^?]*)?(?:\?(?P<query>.*))?"
)


def from_host_list(text: str) -> str:
    """Return a URL with libpq's list of hosts as SQLAlchemy reads it, asking for a writable server unless it says else.

    Raises:
        ValueError: a host is missing, or an address of IPv6.
    """
    found = _LIST.fullmatch(text)
    if found is None:
        return text
    hosts = [host if re.search(r":[0-9]+$", host) else f"{host}:{_PORT}" for host in found["hosts"].split(",")]
    if "[" in found["hosts"]:
        raise ValueError("has an IPv6 address among several hosts, which the driver cannot take: use names")
    if any(host.startswith(":") for host in hosts):
        raise ValueError("has a host without a name between its commas")
    query = [*(f"host={host}" for host in hosts), *filter(None, (found["query"] or "").split("&"))]
    if not any(part.startswith("target_session_attrs=") for part in query):
        query.append(WRITABLE)
    who = f"{found['who']}@" if found["who"] else ""
    return f"{found['scheme']}://{who}{found['path'] or '/'}?{'&'.join(query)}"


def as_host_list(url: URL) -> str:
    """Return a URL as libpq and psql read it, its password included."""
    hosts = url.query.get("host", "")
    if isinstance(hosts, str):
        return url.render_as_string(hide_password=False)
    before, after = (
        url.difference_update_query(["host"]).set(host="-").render_as_string(hide_password=False).split("-/", 1)
    )
    return f"{before}{','.join(hosts)}/{after}"
