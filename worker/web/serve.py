"""Whether the page may be served as it is set up, and serving it."""

import logging
from functools import partial
from zoneinfo import ZoneInfo

import uvicorn
from sqlalchemy import Engine, NullPool
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from db.schema.roles import WEB
from db.session import make_engine, session_factory
from worker.audit.notes import serving
from worker.errors import Code, SetupRefused
from worker.imaging.decoder_pool import DecoderPool
from worker.logs import configure_logging
from worker.network.addresses import is_everywhere, listed
from worker.network.http_connections import CONNECTIONS, Connection
from worker.network.port import require_free
from worker.network.server_tls import require_https
from worker.settings import Settings
from worker.web import languages
from worker.web.accounts import Accounts
from worker.web.application import make_application
from worker.web.elsewhere import check_elsewhere, openid_of, vouching_of
from worker.web.heat_maps import HeatMaps
from worker.web.pictures import Pictures
from worker.web.searches import Searches
from worker.web.session_store import InDatabase, InMemory
from worker.web.sessions import PageKey, Sessions
from worker.web.site import Site

logger = logging.getLogger(__name__)

DECODERS = 2
"""Files that are read at once for pictures, at most."""

LARGEST_HEAD_BYTES = 16 << 10
STOP_S = 5
SEARCH_KEPT_S = 8 * 3600
LINK_KEPT_S = 1800
ATTEMPT_S = 600


def check(settings: Settings) -> None:
    """Refuse to serve what would not be safe.

    Raises:
        SetupRefused: ``setting_invalid``: nobody may sign in, TLS is half set up, there is no such language, or the
            page would be reached from other machines without TLS or without a name.
    """
    elsewhere = check_elsewhere(settings)
    if not elsewhere and not Accounts(settings.web_accounts).list():
        raise _refused("there is no account yet: run `dlr web user add NAME`, which asks for a password")
    if settings.web_language not in (None, *languages.codes()):
        raise _refused(f"DLR_WEB_LANGUAGE is none of the page's languages: {', '.join(languages.codes())}")
    require_https(
        "DLR_WEB",
        settings.web_address,
        settings.web_certificate,
        settings.web_key,
        behind_proxy=settings.web_behind_proxy,
        sent="passwords",
    )
    if not listed(settings.web_hosts) and (settings.web_behind_proxy or is_everywhere(settings.web_address)):
        raise _refused("DLR_WEB_HOSTS is not set: set the names under which browsers reach the page")


def is_encrypted(settings: Settings) -> bool:
    """Whether browsers speak TLS, to us or to a proxy before us."""
    return settings.web_certificate is not None or bool(listed(settings.web_behind_proxy))


def hosts_of(settings: Settings) -> list[str]:
    """Return the names under which the page may be reached."""
    return list(dict.fromkeys([*listed(settings.web_hosts), settings.web_address, "localhost", "127.0.0.1", "[::1]"]))


def page_url(settings: Settings, port: int | None = None) -> str:
    """Return the address of the page on this machine."""
    scheme = "https" if settings.web_certificate is not None else "http"
    host = f"[{settings.web_address}]" if ":" in settings.web_address else settings.web_address
    return f"{scheme}://{host}:{settings.web_port if port is None else port}"


def serve(settings: Settings) -> None:
    """Serve the page until SIGTERM.

    Raises:
        SetupRefused: as for `check`; or ``setting_invalid`` without a database, or if the port is taken.
    """
    check(settings)
    require_free("DLR_WEB_PORT", settings.web_port, settings.web_address)
    settings.require_web_database_url()
    key = PageKey() if settings.web_session_key is None else PageKey(settings.web_session_key.get_secret_value())
    proxies = listed(settings.web_behind_proxy)
    logger.info("the worklist page is at %s", page_url(settings))
    config = uvicorn.Config(
        partial(_served, settings, key),
        factory=True,
        workers=settings.web_workers,
        host=settings.web_address,
        port=settings.web_port,
        ssl_certfile=settings.web_certificate,
        ssl_keyfile=settings.web_key,
        proxy_headers=False,  # `worker.web.proxy` reads them, which has to know who the proxy is
        forwarded_allow_ips=proxies,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        http=Connection,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
        timeout_graceful_shutdown=STOP_S,
    )
    engine = make_engine(settings.require_web_database_url(), role=WEB, poolclass=NullPool)
    with serving(session_factory(engine), "dlr web"):
        if settings.web_workers == 1:
            uvicorn.Server(config).run()
        else:
            Multiprocess(config, sockets=[config.bind_socket()]).run()


def _served(settings: Settings, key: PageKey) -> ASGIApp:
    """Make the application of one process."""
    configure_logging(settings.log_level, settings.log_format)
    engine = make_engine(settings.require_web_database_url(), role=WEB)
    site, proxies = make_site(settings, engine, key), listed(settings.web_behind_proxy)
    return make_application(site, hosts_of(settings), proxies, vouching_of(settings))


def make_site(settings: Settings, engine: Engine, key: PageKey) -> Site:
    """Put together what the pages need; nothing is connected or started yet.

    Args:
        settings: what is set.
        engine: of the role ``dlr_web``.
        key: of all processes of this page.
    """
    reading = session_factory(engine)
    alone = settings.web_workers == 1 and settings.web_session_key is None
    store = InMemory() if alone else InDatabase(reading)
    accounts = Accounts(settings.web_accounts)
    decoders = DecoderPool(settings.limits, min(settings.decoders, DECODERS), settings.decode_timeout_s)
    return Site(
        reading=reading,
        accounts=accounts,
        sessions=Sessions(accounts, store, key, settings.web_session_s, settings.web_idle_minutes * 60),
        pictures=Pictures(settings.storage_root, decoders),
        searches=Searches(key.of("searches"), SEARCH_KEPT_S),
        links=Searches(key.of("links"), LINK_KEPT_S),
        attempts=Searches(key.of("attempts"), ATTEMPT_S),
        openid=openid_of(settings),
        secure=is_encrypted(settings),
        language=settings.web_language,
        heat_maps=HeatMaps(settings.web_heat_maps),
        viewer_url=settings.web_viewer_url,
        zone=None if settings.web_time_zone is None else ZoneInfo(settings.web_time_zone),
    )


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, reason)
