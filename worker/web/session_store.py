"""Where it is known who has signed in: in the memory of the one process that serves the page, or in the database."""

import logging
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.writes import web_sessions
from db.writes.web_sessions import SignedIn
from worker.outages.retry import kind_of

logger = logging.getLogger(__name__)


class SessionStore(Protocol):
    """Knows sessions by a key, a digest of what the browser keeps."""

    def begin(self, key: str, name: str, role: str, mark: str | None, longest_s: int) -> None:
        """Begin a session; forget those that nobody has used for ``longest_s`` seconds."""

    def find(self, key: str, idle_s: int) -> SignedIn | None:
        """Return whose session it is; ``None``: it was ended, or nobody has been seen in it for ``idle_s`` seconds."""

    def note_seen(self, key: str) -> None:
        """Note that somebody is there."""

    def end(self, key: str) -> None:
        """End a session."""


@dataclass(slots=True)
class InMemory:
    """Of a process that serves the page alone: its sessions end with it, and the database may be a standby."""

    _known: dict[str, tuple[SignedIn, float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, key: str, name: str, role: str, mark: str | None, longest_s: int) -> None:
        """Begin a session."""
        now = time.time()
        with self._lock:
            self._known = {one: known for one, known in self._known.items() if now - known[1] < longest_s}
            self._known[key] = SignedIn(name, role, mark, is_due=True), now

    def find(self, key: str, idle_s: int) -> SignedIn | None:
        """Return whose session it is."""
        with self._lock:
            signed_in, seen = self._known.get(key, (None, 0.0))
        return signed_in if time.time() - seen < idle_s else None

    def note_seen(self, key: str) -> None:
        """Note that somebody is there."""
        with self._lock:
            if key in self._known:
                self._known[key] = self._known[key][0], time.time()

    def end(self, key: str) -> None:
        """End a session."""
        with self._lock:
            self._known.pop(key, None)


@dataclass(frozen=True, slots=True)
class InDatabase:
    """Of all processes that serve the page: what one of them begins or ends is begun or ended for each.

    Attributes:
        sessions: of ``dlr_web``.
    """

    sessions: sessionmaker[Session]

    def begin(self, key: str, name: str, role: str, mark: str | None, longest_s: int) -> None:
        """Begin a session."""
        with self.sessions.begin() as session:
            web_sessions.begin(session, key, name, role, mark, longest_s)

    def find(self, key: str, idle_s: int) -> SignedIn | None:
        """Return whose session it is."""
        with self.sessions() as session:
            return web_sessions.find(session, key, idle_s)

    def note_seen(self, key: str) -> None:
        """Note that somebody is there; a database that cannot be written for now signs nobody out."""
        try:
            with self.sessions.begin() as session:
                web_sessions.note_seen(session, key)
        except (*DATABASE_AWAY, SQLAlchemyError) as error:
            logger.warning("it is not noted that somebody is active: %s", kind_of(error))

    def end(self, key: str) -> None:
        """End a session."""
        with self.sessions.begin() as session:
            web_sessions.end(session, key)
