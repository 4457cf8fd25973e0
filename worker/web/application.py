"""The application: which address is which page, and what surrounds each of them."""

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers as RequestHeaders
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.outages import DATABASE_AWAY
from worker.errors import DlrError
from worker.logs import story_of
from worker.outages.retry import kind_of
from worker.web import finding, images, listing, openid_pages, pages, signing_in, verdicts
from worker.web.languages import gettext_noop
from worker.web.proxy import Proxy, Vouching
from worker.web.rendering import HERE
from worker.web.site import NO_ROLE, Site, site_of
from worker.web.verdict_form import LARGEST_BYTES, MOST_FIELDS

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""Headers of every answer."""

TLS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}

SENTENCES = {
    400: gettext_noop("The request could not be understood."),
    403: gettext_noop("This form is not yours, or has expired. Go back, reload the page, and submit it again."),
    404: gettext_noop("There is no such page, or the study is no longer on the list."),
    405: gettext_noop("This is not possible here."),
    413: gettext_noop("The request is too large."),
    500: gettext_noop("An error occurred. Details are in the log."),
    503: gettext_noop("The service is not responding. Nothing is lost; please try again in a minute."),
}
"""What a reader is told instead of a page, by its status."""

UNKNOWN_HOST = (
    "This page is not configured for the host name in the request. If it should be, for example behind a proxy, the "
    "administrator adds the name to DLR_WEB_HOSTS.\n"
)
"""For whoever sets the page up, and in English: it is seen before there is a page."""

NAMES_TOLD = 100
"""Names that the log tells of at most; anybody can make some up."""

_PORT = re.compile(r":\d*\Z")
_NAME = re.compile(r"[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\]")


class Headers:
    """Adds headers to every answer, errors included."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class KnownHosts:
    """Refuses a request under a name that this page does not go by, and says which setting makes it one.

    The setting is in the answer and, once for each name, in the log: whoever sets a proxy up sees the one or the other.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = tuple(host.casefold() for host in hosts)
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host = _PORT.sub("", RequestHeaders(scope=scope).get("host", "")).casefold()
        if any(host == known or (known.startswith("*") and host.endswith(known[1:])) for known in self._hosts):
            await self._app(scope, receive, send)
            return
        self._tell(host)
        await PlainTextResponse(UNKNOWN_HOST, 400)(scope, receive, send)

    def _tell(self, host: str) -> None:
        name = host if _NAME.fullmatch(host) else "(not a name)"
        if name not in self._told and len(self._told) < NAMES_TOLD:
            self._told.add(name)
            logger.warning("refused: a request for the host %s, which DLR_WEB_HOSTS does not name", name)


def make_application(
    site: Site, hosts: list[str], proxies: Sequence[str] = (), vouching: Vouching | None = None
) -> ASGIApp:
    """Make the application.

    Args:
        site: what its pages need.
        hosts: the names under which it may be reached; a request with another ``Host`` is refused.
        proxies: addresses of proxies whose headers count.
        vouching: what they say of whoever signed in to them; ``None``: nothing that counts.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        site.pictures.decoders.close()

    reader, form = signing_in.for_readers, signing_in.for_forms_of_readers
    a_study = "/studies/{study_id:uuid}"
    an_image = f"{a_study}/lesions/{{ordinal}}/images/{{image}}"
    routes = [
        Route("/", reader(listing.worklist)),
        Route("/state", reader(listing.worklist_state, sign_in=False)),
        Route("/search", form(finding.search), methods=["POST"]),
        Route("/search/{word}", reader(finding.found)),
        Route("/open", finding.open_by_link, methods=["GET", "POST"]),
        Route("/open/{word}", finding.opened),
        Route("/place", reader(listing.place)),
        Route("/refused", reader(pages.refused)),
        Route(a_study, reader(pages.study)),
        Route(f"{a_study}/reading", form(verdicts.mark_read, LARGEST_BYTES, MOST_FIELDS), methods=["POST"]),
        Route(f"{a_study}/state", reader(pages.study_state, sign_in=False)),
        Route(f"{an_image}/{{kind}}.png", reader(images.picture, sign_in=False)),
        Route("/scheme", form(pages.choose_scheme), methods=["POST"]),
        Route(f"{an_image}/heat/{{model}}.png", reader(images.heat_map, sign_in=False)),
        Route("/sign-in", signing_in.sign_in_page),
        Route("/sign-in", signing_in.sign_in, methods=["POST"]),
        Route("/sign-in/openid", openid_pages.begin),
        Route("/sign-in/callback", openid_pages.come_back),
        Route("/sign-out", form(signing_in.sign_out), methods=["POST"]),
        Route("/sign-out/openid", openid_pages.leave),
        Route("/signed-out", openid_pages.signed_out),
        Route("/healthz", _healthz),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    application = Starlette(
        routes=routes,
        middleware=[Middleware(KnownHosts, hosts=hosts)],
        exception_handlers={
            HTTPException: _refusal,
            **dict.fromkeys((DlrError, *DATABASE_AWAY), _failure),
            Exception: _defect,
        },
        lifespan=lifespan,
    )
    application.state.site = site
    # Outside of everything, so that the answer to a defect has them too.
    return Headers(Proxy(application, proxies, vouching), HEADERS | (TLS_HEADERS if site.secure else {}))


def _healthz(_request: Request) -> Response:
    return Response(status_code=204)


def _refusal(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = error.detail if isinstance(error, HTTPException) and error.detail == NO_ROLE else None
    return _said(request, status, said)


def _failure(request: Request, error: Exception) -> Response:
    """A server that is away, or a setting that a person has to mend."""
    logger.error("a page could not be rendered: %s\n%s", kind_of(error), story_of(error))
    return _said(request, 503)


def _defect(request: Request, _error: Exception) -> Response:
    return _said(request, 500)  # the server logs where it was


def _said(request: Request, status: int, said: str | None = None) -> Response:
    site = site_of(request)
    sentence = said or SENTENCES.get(status, SENTENCES[400 if status < 500 else 500])
    return site.page(request, "error.html", None, status, sentence=sentence)
