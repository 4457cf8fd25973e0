"""Sessions: a signed cookie for somebody who signed in, who is known for as long as the session lasts."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import Enum

from itsdangerous import BadData, URLSafeTimedSerializer

from db.writes.web_sessions import SignedIn
from worker.web.accounts import Account, Accounts, WebRole
from worker.web.session_store import SessionStore

SESSION_COOKIE = "dlr_session"
FORM_COOKIE = "dlr_form"


@dataclass(frozen=True, slots=True)
class PageKey:
    """The secret of a page, the same in all of its processes; each use has a key of its own, made of it."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def of(self, use: str) -> bytes:
        """Return the 32 bytes for a use."""
        return hmac.digest(self.secret.encode(), use.encode(), hashlib.sha256)


class SignedInBy(Enum):
    """How somebody signed in: by an account of this page, by an OpenID provider, or by a proxy, at each request."""

    ACCOUNT = "account"
    OPENID = "openid"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in. ``id`` is of this signing in alone."""

    id: str
    name: str
    role: WebRole
    by: SignedInBy = SignedInBy.ACCOUNT

    @property
    def signs_out_here(self) -> bool:
        """Whether this page can sign them out; a proxy would have them in again at once."""
        return self.by is not SignedInBy.PROXY

    @property
    def is_administrator(self) -> bool:
        """Whether reasons of failures and the history are shown."""
        return self.role is WebRole.ADMINISTRATOR

    @property
    def is_radiologist(self) -> bool:
        """Whether verdicts may be given."""
        return self.role is WebRole.RADIOLOGIST


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes and reads the cookies.

    Attributes:
        accounts: who there is.
        store: where it is known who has signed in.
        key: what the cookies are signed with.
        seconds: for which a session is valid.
        idle_s: seconds without a page after which it ends.
    """

    accounts: Accounts
    store: SessionStore
    key: PageKey
    seconds: int
    idle_s: int

    def begin(self, account: Account) -> str:
        """Return the cookie of a new session of an account."""
        return self._begin(account.name, account.role, _mark(account))

    def begin_vouched(self, name: str, role: WebRole) -> str:
        """Return the cookie of a new session of somebody for whom another system vouches."""
        return self._begin(name, role, None)

    def _begin(self, name: str, role: WebRole, mark: str | None) -> str:
        session_id = secrets.token_urlsafe(16)
        self.store.begin(_digest(session_id), name, role.value, mark, self.seconds)
        return self._serializer.dumps(session_id)

    def read(self, cookie: str | None, *, is_activity: bool = True) -> Session | None:
        """Return the session of a cookie; ``None`` if it was not made here, has expired, was ended or idle for too
        long, or its account was removed or given another password or role.

        Args:
            cookie: as the browser sent it.
            is_activity: somebody asks, and not a page by itself.
        """
        try:
            session_id = str(self._serializer.loads(cookie or "", max_age=self.seconds))
        except BadData:
            return None
        signed_in = self.store.find(_digest(session_id), self.idle_s)
        if signed_in is None or not self._is_still(signed_in):
            return None
        if is_activity and signed_in.is_due:
            self.store.note_seen(_digest(session_id))
        by = SignedInBy.OPENID if signed_in.mark is None else SignedInBy.ACCOUNT
        return Session(session_id, signed_in.name, WebRole(signed_in.role), by)

    def _is_still(self, signed_in: SignedIn) -> bool:
        """Whether the account is what it was; another system that vouched is asked at the next signing in."""
        if signed_in.mark is None:
            return True
        account = self.accounts.find(signed_in.name)
        return account is not None and hmac.compare_digest(_mark(account), signed_in.mark)

    def end(self, session: Session) -> None:
        """Sign somebody out: a copy of the cookie is worth nothing any more."""
        self.store.end(_digest(session.id))

    def form_token(self, holder: str) -> str:
        """Return the hidden field of a form (CSRF): of a session's id, or of the form cookie before there is one."""
        return self.key.of(f"form {holder}").hex()

    def is_our_form(self, holder: str | None, token: object) -> bool:
        """Whether a form was made by us for whoever sends it."""
        return (
            bool(holder)
            and isinstance(token, str)
            and hmac.compare_digest(self.form_token(holder or "").encode(), token.encode("utf-8", "replace"))
        )

    @property
    def _serializer(self) -> URLSafeTimedSerializer:
        with_sha256 = {"digest_method": hashlib.sha256}
        return URLSafeTimedSerializer(self.key.of("session"), salt="dlr-web session", signer_kwargs=with_sha256)


def _mark(account: Account) -> str:
    """Changes with an account's password and role; tells neither."""
    return hashlib.sha256(f"{account.role.value} {account.hash}".encode()).hexdigest()[:32]


def _digest(session_id: str) -> str:
    """Return what the database knows a session by: its rows give nobody a cookie."""
    return hashlib.sha256(session_id.encode()).hexdigest()
