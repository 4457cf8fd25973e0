"""An HTTP server that is delivered to: sessions with it, signed in, and what its answers mean."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.errors import Code, DlrError, StudyRefused, Unavailable
from worker.sending.destination import Busy

if TYPE_CHECKING:
    from requests import Session

CONNECT_S: Final = 5.0
"""How long a server may take to take the call, in seconds."""

MOST_BYTES: Final = 4 << 20
"""Of an answer no more is read."""

LONGEST_ASKED_S: Final = 3600.0
"""For no longer is a server left alone that asks for it, in seconds."""

OF_THE_MESSAGE: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
"""What a server says of this message, or that it wants no more. Any other status is of the address, the sign-in, the
form of every message or the moment, which a person or time mends."""

_EARLIER_S: Final = 30.0
"""So long before it expires, a token is no longer used, in seconds."""


class Answer(NamedTuple):
    """What a server answered: ``body`` has at most `MOST_BYTES`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """How a token is asked for (OAuth 2.0, RFC 6749, 4.4); the secret is the client's password (2.3.1)."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server.

    Attributes:
        url: without a slash at its end; no redirect of it is followed.
        timeout_s: the longest wait for a whole answer, in seconds.
        ca: PEM of whom to trust; ``None``: whom the system trusts.
        headers: of every request, such as those that sign in.
        credentials: by which a token is asked for; ``None``: there is none.
    """

    url: str
    timeout_s: float
    ca: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: ClientCredentials | None = None
    _tokens: dict[str, Any] = field(default_factory=dict, repr=False)

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """Keep one connection for several requests, signed in.

        Raises:
            Unavailable: ``destination_unavailable``; there is no token to be had.
        """
        from requests import Session

        with Session() as session:
            self._prepare(session)
            session.headers.update(self.headers)
            if self.credentials is not None:
                session.headers["Authorization"] = f"Bearer {self._token(self.credentials)}"
            yield session

    def ask(self, session: "Session", method: str, path: str = "", **options: Any) -> Answer:
        """Make a request.

        Raises:
            Unavailable: ``destination_unavailable``; no answer, or not over TLS as it has to be.
        """
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            with session.request(
                method,
                f"{self.url}{path}",
                timeout=(CONNECT_S, self.timeout_s),
                allow_redirects=False,
                stream=True,
                **options,
            ) as response:
                body = response.raw.read(MOST_BYTES, decode_content=True)
                answer = Answer(response.status_code, response.headers, body)
        except (RequestException, HTTPError, OSError):
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the server does not answer, or not with TLS") from None
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._tokens.clear()
        return answer

    def _token(self, credentials: ClientCredentials) -> str:
        if self._tokens.get("expires_at", 0) - _EARLIER_S < time.time():
            self._tokens.update(self._fetch_token(credentials))
        return str(self._tokens["access_token"])

    def _fetch_token(self, credentials: ClientCredentials) -> Mapping[str, Any]:
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.requests_client import OAuth2Session
        from requests import RequestException

        with OAuth2Session(credentials.client_id, credentials.client_secret, scope=credentials.scope) as session:
            self._prepare(session)
            try:
                token = session.fetch_token(
                    credentials.token_url,
                    grant_type="client_credentials",
                    timeout=(CONNECT_S, self.timeout_s),
                    allow_redirects=False,
                )
                return {"expires_at": time.time() + 60, **token, "access_token": token["access_token"]}
            except (AuthlibBaseError, RequestException, OSError, ValueError, KeyError, TypeError):
                reason = "the token server gives no token: is the client known there, with this secret and scope?"
                raise Unavailable(Code.DESTINATION_UNAVAILABLE, reason) from None

    def _prepare(self, session: "Session") -> None:
        from worker.network.timed_http import TimedAnswers

        for scheme in ("http://", "https://"):
            session.mount(scheme, TimedAnswers())
        session.trust_env = False  # neither a proxy nor a password that the settings do not name
        session.verify = True if self.ca is None else str(self.ca)


def fault_of(answer: Answer) -> DlrError:
    """Return what an answer that is no success means: for good, for a while that the server names, or for now."""
    said = f"the server answers HTTP {answer.status}"
    if answer.status in OF_THE_MESSAGE:
        return StudyRefused(Code.DESTINATION_REFUSED, said)
    wait_s = retry_after_s(answer.headers)
    if wait_s is not None and answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return Busy(said, wait_s)
    return Unavailable(Code.DESTINATION_UNAVAILABLE, said)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return for how long a server asks to be left alone, in seconds (RFC 9110, 10.2.3), or ``None``."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return min(float(said[:9]), LONGEST_ASKED_S)
    try:
        wait_s = parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), LONGEST_ASKED_S)
