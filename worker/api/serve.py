"""Whether the HTTP interface may be served as it is set up, and serving it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from db.schema.roles import WEB
from db.session import make_engine, session_factory
from worker.api.application import make_application
from worker.api.idempotency import IdempotencyKeys
from worker.api.rate_limit import RateLimit
from worker.api.service import Service
from worker.api.tokens import Tokens
from worker.audit.notes import serving
from worker.broker.connections import connect
from worker.errors import Code, SetupRefused
from worker.imaging.archive import Archives
from worker.imaging.decoder_pool import DecoderPool
from worker.intake.accept_study import Intake
from worker.intake.fetching import Fetcher
from worker.intake.study_requests import StudyRequests
from worker.network.addresses import listed
from worker.network.http_connections import CONNECTIONS, Connection
from worker.network.port import require_free
from worker.network.server_tls import require_https
from worker.settings import Settings

logger = logging.getLogger(__name__)

LARGEST_HEAD_BYTES = 16 << 10
STOP_S = 10
"""How long requests that are under way may take once the process is to end, in seconds."""


class ApiConnection(Connection):
    """A connection over which files may come."""

    body_s = 600.0


def check(settings: Settings) -> None:
    """Refuse to serve what would not be safe.

    Raises:
        SetupRefused: ``setting_invalid``: there is no token, TLS is half set up, or other machines would reach the
            interface without TLS.
    """
    if not Tokens(settings.api_tokens).list():
        reason = "there is no token yet: run `dlr api token create NAME --scope SCOPE`, which prints it once"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    require_https(
        "DLR_API",
        settings.api_address,
        settings.api_certificate,
        settings.api_key,
        behind_proxy=settings.api_behind_proxy,
        sent="tokens",
    )


@contextmanager
def made(settings: Settings, intake: Intake, decoders: Callable[[], DecoderPool]) -> Iterator[Service]:
    """Put together what the routes need, until the context ends; nothing is connected yet.

    Args:
        settings: with both URLs of the database, and Redis's.
        intake: the way in (`worker.runtime.answered_intake`).
        decoders: give the process's decoders (`worker.runtime.decoders`).

    Raises:
        SetupRefused: ``setting_invalid``; a URL is missing, or files of a PACS's TLS cannot be read.
    """
    reading = make_engine(settings.require_web_database_url(), role=WEB, name="dlr api")
    redis = connect(settings.require_redis_url())
    try:
        yield Service(
            settings=settings,
            tokens=Tokens(settings.api_tokens),
            rate=RateLimit(settings.api_requests_per_s),
            intake=intake,
            fetcher=Fetcher(Archives(settings.dicomweb, settings.pacs), settings.storage_root, settings.limits),
            requests=StudyRequests(redis, settings.redis_key_prefix),
            keys=IdempotencyKeys(redis, settings.redis_key_prefix),
            decoders=decoders,
            writing=intake.sessions,
            reading=session_factory(reading),
        )
    finally:
        redis.close()
        reading.dispose()


def serve(settings: Settings, intake: Intake, decoders: Callable[[], DecoderPool]) -> None:
    """Serve the interface until SIGTERM.

    Raises:
        SetupRefused: as for `check` and `made`; or ``setting_invalid`` if the port is taken.
    """
    check(settings)
    require_free("DLR_API_PORT", settings.api_port, settings.api_address)
    proxies = listed(settings.api_behind_proxy)
    with made(settings, intake, decoders) as service, serving(service.reading, "dlr api"):
        logger.info("the HTTP interface is at %s:%d", settings.api_address, settings.api_port)
        uvicorn.run(
            make_application(service),
            host=settings.api_address,
            port=settings.api_port,
            ssl_certfile=settings.api_certificate,
            ssl_keyfile=settings.api_key,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            http=ApiConnection,
            h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
            timeout_graceful_shutdown=STOP_S,
        )
