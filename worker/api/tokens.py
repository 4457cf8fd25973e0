"""By what programs sign in: a file of names, scopes and SHA-256 hashes, which `dlr api token` writes.

A token is 256 random bits, so a plain hash of it is as good as a slow one: nobody guesses it.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from worker.durable_files import held, write_private
from worker.errors import Code, SetupRefused

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PREFIX: Final = "dlr_"
"""How each token begins, so that programs that look for secrets know one."""


class Scope(StrEnum):
    """What a token allows.

    ``jobs:write``: push jobs, whose files are in the storage or on a DICOMweb server. ``studies:write``: send the DICOM
    files themselves. ``studies:read``: a study's state and result. ``worklist:read``: the worklist. ``documents:read``:
    documents of a result, which name the patient. ``verdicts:write`` and ``pathology:write``: what became of lesions.
    """

    JOBS_WRITE = "jobs:write"
    STUDIES_WRITE = "studies:write"
    STUDIES_READ = "studies:read"
    WORKLIST_READ = "worklist:read"
    DOCUMENTS_READ = "documents:read"
    VERDICTS_WRITE = "verdicts:write"
    PATHOLOGY_WRITE = "pathology:write"


@dataclass(frozen=True, slots=True)
class Token:
    """A program that may sign in. ``sha256`` is of the token's text, in hexadecimal."""

    name: str
    scopes: frozenset[Scope]
    sha256: str
    created_at: datetime
    expires_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    scopes: list[Scope]
    sha256: str
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    tokens: dict[str, _Entry] = {}


@dataclass
class Tokens:
    """The file. Each time it is asked whether the file has changed, so that who was revoked is out at once."""

    path: Path
    _known: Mapping[str, Token] = field(default_factory=dict)
    _mark: tuple[int, int, int] | None = None

    def list(self) -> list[Token]:
        """Return all tokens by name; none where there is no file.

        Raises:
            SetupRefused: ``setting_invalid``, where the file cannot be read or is not one of these.
        """
        return list(self._read().values())

    def find(self, text: str) -> Token | None:
        """Return the token whose text this is, be it expired or not. How long that takes says nothing of any token."""
        digest = _digest(text)
        found = [token for token in self._read().values() if hmac.compare_digest(token.sha256, digest)]
        return found[0] if found else None

    def create(self, name: str, scopes: Collection[Scope], expires_at: datetime | None) -> str:
        """Make a token, and return its text, which is kept nowhere.

        Raises:
            SetupRefused: ``setting_invalid``; a name that cannot be one or is taken, no scope, a time that is over, or
                the file as for `list`.
        """
        _check(name, scopes, expires_at)
        text = f"{PREFIX}{secrets.token_urlsafe(32)}"
        with self._held():
            kept = self._read()
            if name in kept:
                reason = f"there is a token {name} already: revoke it (`dlr api token revoke {name}`), or take another"
                raise SetupRefused(Code.SETTING_INVALID, f"{reason} name")
            token = Token(name, frozenset(scopes), _digest(text), datetime.now(UTC), expires_at)
            self._write({**kept, name: token})
        return text

    def revoke(self, name: str) -> bool:
        """Remove a token; return whether there was one. Every process refuses it from its next request on."""
        with self._held():
            kept = dict(self._read())
            if kept.pop(name, None) is None:
                return False
            self._write(kept)
        return True

    def _read(self) -> Mapping[str, Token]:
        try:
            stat = self.path.stat()
            mark = stat.st_ino, stat.st_mtime_ns, stat.st_size
            if mark != self._mark:
                read = _File.model_validate_json(self.path.read_bytes())
                self._known = {name: _token(name, entry) for name, entry in sorted(read.tokens.items())}
                self._mark = mark
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError):
            reason = f"DLR_API_TOKENS {self.path} cannot be read as a file of tokens"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        return self._known

    def _write(self, tokens: Mapping[str, Token]) -> None:
        entries = {name: _entry(token) for name, token in sorted(tokens.items())}
        write_private(self.path, (json.dumps({"tokens": entries}, indent=2) + "\n").encode())

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One writer at a time."""
        try:
            with held(self.path.parent):
                yield
        except OSError as error:
            reason = f"DLR_API_TOKENS {self.path} cannot be written: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _token(name: str, entry: _Entry) -> Token:
    return Token(name, frozenset(entry.scopes), entry.sha256, entry.created_at, entry.expires_at)


def _entry(token: Token) -> dict[str, object]:
    return {
        "scopes": sorted(token.scopes),
        "sha256": token.sha256,
        "created_at": token.created_at.isoformat(),
        "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
    }


def _check(name: str, scopes: Collection[Scope], expires_at: datetime | None) -> None:
    if not NAME.fullmatch(name):
        reason = "a name has small letters, digits, dots, dashes and underscores, 64 at most, a letter or digit first"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    if not scopes:
        raise SetupRefused(Code.SETTING_INVALID, f"a token needs a scope: {', '.join(Scope)}")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise SetupRefused(Code.SETTING_INVALID, "the token would have expired already")
