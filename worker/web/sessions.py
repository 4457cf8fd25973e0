"""Sessions: a signed cookie that says who signed in, for as long as it is valid and the account is what it was."""

import hashlib
import hmac
import math
import secrets
import time
from dataclasses import dataclass, field
from threading import Lock

from itsdangerous import BadData, URLSafeTimedSerializer

from worker.web.accounts import Account, Accounts, WebRole

SESSION_COOKIE = "dlr_session"
FORM_COOKIE = "dlr_form"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in. ``id`` is of this signing in alone."""

    id: str
    name: str
    role: WebRole

    @property
    def is_administrator(self) -> bool:
        """Whether reasons of failures and the history are shown."""
        return self.role is WebRole.ADMINISTRATOR

    @property
    def is_radiologist(self) -> bool:
        """Whether verdicts may be given."""
        return self.role is WebRole.RADIOLOGIST


@dataclass(slots=True)
class Sessions:
    """Makes and reads the cookies. The key that signs is this object's own and is kept nowhere: it ends with it.

    Attributes:
        accounts: who there is.
        seconds: for which a session is valid.
        idle_s: seconds without a page after which it ends.
    """

    accounts: Accounts
    seconds: int
    idle_s: int
    _key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _active: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, account: Account) -> str:
        """Return the cookie of a new session."""
        told = {"id": secrets.token_urlsafe(16), "name": account.name, "mark": _mark(account)}
        now = time.time()
        with self._lock:
            self._active = {one: at for one, at in self._active.items() if now - at < self.idle_s}
            self._active[told["id"]] = now
        return self._serializer.dumps(told)

    def read(self, cookie: str | None, *, is_activity: bool = True) -> Session | None:
        """Return the session of a cookie; ``None`` if it was not made here, has expired, was ended or idle for too
        long, or its account was removed or given another password or role.

        Args:
            cookie: as the browser sent it.
            is_activity: somebody asks, and not a page by itself.
        """
        try:
            told = self._serializer.loads(cookie or "", max_age=self.seconds)
        except BadData:
            return None
        account = self.accounts.find(told["name"])
        if account is None or not hmac.compare_digest(_mark(account), told["mark"]):
            return None
        return Session(told["id"], account.name, account.role) if self._is_active(told["id"], is_activity) else None

    def _is_active(self, session_id: str, is_activity: bool) -> bool:
        now = time.time()
        with self._lock:
            if now - self._active.get(session_id, -math.inf) >= self.idle_s:
                return False
            if is_activity:
                self._active[session_id] = now
        return True

    def end(self, session: Session) -> None:
        """Sign somebody out: a copy of the cookie is worth nothing any more."""
        with self._lock:
            self._active.pop(session.id, None)

    def form_token(self, holder: str) -> str:
        """Return the hidden field of a form (CSRF): of a session's id, or of the form cookie before there is one."""
        return hmac.new(self._key.encode(), f"form {holder}".encode(), hashlib.sha256).hexdigest()

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
        return URLSafeTimedSerializer(self._key, salt="dlr-web session", signer_kwargs=with_sha256)


def _mark(account: Account) -> str:
    """Changes with an account's password and role; tells neither."""
    return hashlib.sha256(f"{account.role.value} {account.hash}".encode()).hexdigest()[:32]
