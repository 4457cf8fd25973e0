"""What the drill asks of the site's servers: which one answers, and how far a commit has to reach."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from worker.broker.connections import connect
from worker.errors import Code, SetupRefused
from worker.settings import Settings

# The timeline is the first eight digits of a segment's name, and another one after each promotion.
_PRIMARY = """
SELECT concat_ws(' ', inet_server_addr(), inet_server_port(), left(pg_walfile_name(pg_current_wal_lsn()), 8),
                 pg_postmaster_start_time())
"""
_SYNCHRONOUS = """
SELECT current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') <> 'local'
       AND current_setting('synchronous_commit') <> 'off'
"""
_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name LIKE 'dlr ' || :application || '-%' AND pid <> pg_backend_pid()
"""


_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dlr ' || :name || ' %'"


@dataclass(frozen=True, slots=True)
class Primaries:
    """Who answers now: a mark of each server, which another one does not have."""

    postgres: str
    redis: str


def require_staging(settings: Settings, named: str) -> None:
    """Refuse servers that were not named as staging.

    Args:
        settings: of the site.
        named: the database's name, as a person gave it.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    database = make_url(settings.require_database_url()).database
    if named != database:
        reason = (
            f"--staging names the database {named}, and DLR_DATABASE_URL leads to {database}: a drill fills the "
            "worklist with phantoms, so name the database of the staging servers, and never production's"
        )
        raise SetupRefused(Code.SETTING_INVALID, reason)


def primaries(session: Session, settings: Settings) -> Primaries:
    """Ask both servers who they are."""
    with connect(settings.require_redis_url()) as client:
        of_redis: dict[str, Any] = client.info("server")
    return Primaries(str(session.scalar(text(_PRIMARY))), str(of_redis["run_id"]))


def is_synchronous(session: Session) -> bool:
    """Whether a commit waits for a standby."""
    return bool(session.scalar(text(_SYNCHRONOUS)))


def is_connected(session: Session, name: str) -> bool:
    """Whether a worker has a session: it looks into the ledger each second, once it has started."""
    return bool(session.scalar(text(_CONNECTED), {"name": name}))


def cut_connections(session: Session, application: str) -> int:
    """End the sessions of one application, as a failing network does; say how many those were."""
    return int(session.scalar(text(_CUT), {"application": application}) or 0)
