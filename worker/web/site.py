"""What every page needs: the database, the sessions, the pictures, and how a template becomes an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import text
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import sessionmaker
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from worker import __version__
from worker.web import words
from worker.web.accounts import Accounts
from worker.web.pictures import Pictures
from worker.web.sessions import FORM_COOKIE, SESSION_COOKIE, Session, Sessions
from worker.web.throttle import Throttle

HERE = Path(__file__).parent
STATEMENT_TIMEOUT_S = 20


def _environment() -> Environment:
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader, autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "words": words,
        "version": __version__,
        "zone": words.zone,
    }
    environment.filters |= {"moment": words.moment, "second": words.second, "probability": words.probability}
    return environment


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of a running page.

    Attributes:
        reading: database sessions of the role ``dlr_web``.
        secure: the page is reached over TLS alone, so its cookies are too.
    """

    reading: sessionmaker[DatabaseSession]
    accounts: Accounts
    sessions: Sessions
    pictures: Pictures
    secure: bool
    close_tries: Throttle = field(default_factory=lambda: Throttle(free=4, longest_wait_s=300))
    wide_tries: Throttle = field(default_factory=lambda: Throttle(free=20, longest_wait_s=60))
    templates: Environment = field(default_factory=_environment, repr=False)

    @contextmanager
    def database(self) -> Iterator[DatabaseSession]:
        """Give a read-only transaction of a bounded time, in which all reads see the same moment."""
        with self.reading() as session:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            session.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
            yield session

    def session(self, request: Request) -> Session | None:
        """Return who asks; ``None`` for somebody who has not signed in."""
        return self.sessions.read(request.cookies.get(SESSION_COOKIE))

    def page(self, template: str, who: Session | None, status: int = 200, **values: Any) -> HTMLResponse:
        """Make a page."""
        token = "" if who is None else self.sessions.form_token(who.id)
        text_of = self.templates.get_template(template).render(who=who, form_token=token, **values)
        return HTMLResponse(text_of, status)

    def set_cookie(self, response: Response, name: str, value: str) -> None:
        """Give the browser a cookie that no script and no other site can use."""
        response.set_cookie(
            name, value, max_age=self.sessions.seconds, path="/", secure=self.secure, httponly=True, samesite="strict"
        )

    def drop_cookies(self, response: Response) -> None:
        """Take both cookies back."""
        for name in (SESSION_COOKIE, FORM_COOKIE):
            response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="strict")


def site_of(request: Request) -> Site:
    """Return the site that a request is at."""
    site = request.app.state.site
    assert isinstance(site, Site)  # noqa: S101
    return site
