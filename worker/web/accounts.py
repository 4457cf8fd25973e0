"""Who may sign in: a file of names, roles and Argon2 hashes, which `dlr web user` writes."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, ValidationError

from worker.durable_files import held, write_private
from worker.errors import Code, SetupRefused

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_AT_ONCE = BoundedSemaphore(2)
"""A hash takes 64 MiB while it is computed, by design."""

_HASHER = PasswordHasher()


class WebRole(StrEnum):
    """``reader``: the worklist and its studies. ``radiologist``: may give verdicts as well. ``administrator``: as a
    reader, with the reasons of failures and the history.
    """

    READER = "reader"
    RADIOLOGIST = "radiologist"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in. ``hash`` is Argon2id's, with its parameters and its salt."""

    name: str
    role: WebRole
    hash: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    role: WebRole
    hash: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    accounts: dict[str, _Entry] = {}


@dataclass(frozen=True, slots=True)
class Accounts:
    """The file. It is read whenever it is asked, so that who was removed is out at once."""

    path: Path

    def list(self) -> list[Account]:
        """Return all accounts by name; none where there is no file.

        Raises:
            SetupRefused: ``setting_invalid``, where the file cannot be read or is not one of these.
        """
        try:
            read = _File.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError):
            reason = f"DLR_WEB_ACCOUNTS {self.path} cannot be read as a file of accounts"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        return [Account(name, entry.role, entry.hash) for name, entry in sorted(read.accounts.items())]

    def find(self, name: str) -> Account | None:
        """Return the account of this name."""
        return next((account for account in self.list() if account.name == name), None)

    def put(self, name: str, role: WebRole, password: str) -> bool:
        """Add an account, or give one another role and password; return whether it is new.

        Raises:
            SetupRefused: ``setting_invalid``; a name or a password that cannot be one, or the file as for `list`.
        """
        _check(name, password)
        with self._held():
            kept = {account.name: account for account in self.list()}
            new = name not in kept
            self._write({**kept, name: Account(name, role, _HASHER.hash(password))})
        return new

    def remove(self, name: str) -> bool:
        """Remove an account; return whether there was one. Its sessions end with it."""
        with self._held():
            kept = {account.name: account for account in self.list()}
            if name not in kept:
                return False
            del kept[name]
            self._write(kept)
        return True

    def _write(self, accounts: dict[str, Account]) -> None:
        entries = {name: {"role": one.role.value, "hash": one.hash} for name, one in sorted(accounts.items())}
        write_private(self.path, (json.dumps({"accounts": entries}, indent=2) + "\n").encode())

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One writer at a time."""
        try:
            with held(self.path.parent):
                yield
        except OSError as error:
            reason = f"DLR_WEB_ACCOUNTS {self.path} cannot be written: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None


def is_right(account: Account | None, password: str) -> bool:
    """Whether a password is an account's. It takes as long where there is no such account."""
    if len(password) > LONGEST_PASSWORD:
        return False
    with _AT_ONCE:
        try:
            _HASHER.verify(_nobodys_hash() if account is None else account.hash, password)
        except (VerificationError, InvalidHashError):
            return False
    return account is not None


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _HASHER.hash(os.urandom(16).hex())


def _check(name: str, password: str) -> None:
    if not NAME.fullmatch(name):
        reason = "a name has small letters, digits, dots, dashes and underscores, 64 at most, a letter or digit first"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        reason = f"a password has {SHORTEST_PASSWORD} characters or more, and {LONGEST_PASSWORD} at most"
        raise SetupRefused(Code.SETTING_INVALID, reason)
