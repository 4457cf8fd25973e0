"""What every page needs: the database, the sessions, the pictures, and how a template becomes an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import sessionmaker
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from worker.web import appearance, languages
from worker.web.accounts import Accounts
from worker.web.heat_maps import HeatMaps
from worker.web.languages import Language, gettext_noop
from worker.web.openid import OpenId
from worker.web.pictures import Pictures
from worker.web.proxy import VOUCHED
from worker.web.rendering import templates
from worker.web.searches import Searches
from worker.web.sessions import FORM_COOKIE, SESSION_COOKIE, Session, Sessions, SignedInBy
from worker.web.throttle import Throttle
from worker.web.vouching import Vouched

STATEMENT_TIMEOUT_S = 20
NO_ROLE = gettext_noop("Your account has no access to this worklist. Your administrator can give it a role.")


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of a running page.

    Attributes:
        reading: database sessions of the role ``dlr_web``.
        secure: the page is reached over TLS alone, so its cookies are too.
        language: of everybody, one of `languages.codes`; ``None``: each browser's own.
        zone: of the times; ``None``: this machine's.
        heat_maps: of lesions.
        viewer_url: of the PACS viewer (`worker.web.viewer`).
        searches: by readers.
        links: from other systems, which anybody can make.
        attempts: to sign in by OpenID Connect, each in its browser's cookie.
        openid: the provider; ``None``: accounts of this page alone.
    """

    reading: sessionmaker[DatabaseSession]
    accounts: Accounts
    sessions: Sessions
    pictures: Pictures
    searches: Searches
    links: Searches
    attempts: Searches
    secure: bool
    openid: OpenId | None = None
    language: str | None = None
    zone: ZoneInfo | None = None
    heat_maps: HeatMaps = field(default_factory=lambda: HeatMaps(None))
    viewer_url: str | None = None
    close_tries: Throttle = field(default_factory=lambda: Throttle(free=4, longest_wait_s=300))
    wide_tries: Throttle = field(default_factory=lambda: Throttle(free=20, longest_wait_s=60))

    @contextmanager
    def database(self) -> Iterator[DatabaseSession]:
        """Give a read-only transaction of a bounded time, in which all reads see the same moment."""
        with self.reading() as session:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            session.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
            yield session

    @contextmanager
    def recording(self) -> Iterator[DatabaseSession]:
        """Give a short transaction that writes, and commit it."""
        with self.reading.begin() as session:
            session.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
            yield session

    def session(self, request: Request, *, is_activity: bool = True) -> Session | None:
        """Return who asks; ``None`` for somebody who has not signed in.

        Raises:
            HTTPException: 403; the proxy vouches for somebody who has no role here.
        """
        vouched: Vouched | None = request.scope.get(VOUCHED)
        if vouched is not None:
            if vouched.role is None:
                raise HTTPException(403, NO_ROLE)
            return Session(f"proxy {vouched.name}", vouched.name, vouched.role, SignedInBy.PROXY)
        return self.sessions.read(request.cookies.get(SESSION_COOKIE), is_activity=is_activity)

    def language_of(self, request: Request) -> Language:
        """Return the language in which a request is answered."""
        if self.language is not None:
            return languages.language(self.language)
        return languages.asked_for(request.headers.get("accept-language", ""))

    def page(
        self, request: Request, template: str, who: Session | None, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Make a page."""
        language = self.language_of(request)
        token = "" if who is None else self.sessions.form_token(who.id)
        around = {
            "who": who,
            "form_token": token,
            "scheme": appearance.scheme_of(request),
            "shown_page": appearance.shown_page(request),
        }
        html = templates(language, self.zone).get_template(template).render(around | values)
        return HTMLResponse(html, status, {"Content-Language": language.code})

    def set_cookie(
        self,
        response: Response,
        name: str,
        value: str,
        seconds: int | None = None,
        *,
        samesite: Literal["strict", "lax"] = "strict",
    ) -> None:
        """Give the browser a cookie that no script can use, for as long as a session or as given.

        Args:
            response: that takes it along.
            name: the cookie's.
            value: the cookie's.
            seconds: that it lasts.
            samesite: ``strict``: it is sent with nothing that another site began.
        """
        age = self.sessions.seconds if seconds is None else seconds
        response.set_cookie(name, value, max_age=age, path="/", secure=self.secure, httponly=True, samesite=samesite)

    def drop_cookies(self, response: Response) -> None:
        """Take both cookies back."""
        for name in (SESSION_COOKIE, FORM_COOKIE):
            response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="strict")


def site_of(request: Request) -> Site:
    """Return the site that a request is at."""
    site = request.app.state.site
    assert isinstance(site, Site)  # noqa: S101
    return site
