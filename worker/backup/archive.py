"""The archive: one ZIP file whose last member, the manifest, has the length and the SHA-256 of every other.

A file that is cut short has no directory at its end, and one that was changed has other digests: neither is restored.
Digests tell damage, not forgery: who can write the file can write them anew.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from pydantic import ValidationError

from worker.backup.manifest import FORMAT, Manifest, Member
from worker.errors import Code, SetupRefused

MANIFEST = "manifest.json"
DATABASE = "database.dump"
ACCOUNTS = "accounts.json"
SETTINGS = "settings.json"
FILES = "files.jsonl"
MODELS = "models/"
"""The members; those that begin with the last are the registry's files, by their paths in it."""

NAME = re.compile(r"dlr-backup-\d{8}T\d{6}Z\.zip")
"""How the archives are called that `dlr backup create` writes."""

CHUNK = 1 << 20

_REQUIRED = (DATABASE, ACCOUNTS, SETTINGS, FILES)
_MODEL_FILE = re.compile(r"models/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST_MANIFEST = 64 << 20
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError)

OnProgress = Callable[[str, int, int | None], None]
"""Is told what is being done, how much of it is, and of how much, if that is known."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> int:
        """Write them."""


class _Counted:
    """Passes bytes on, counts them, and computes their digest."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._digest, self._count = target, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> int:
        self._digest.update(data)
        self._count += len(data)
        return self._target.write(data)

    def member(self) -> Member:
        return Member(bytes=self._count, sha256=self._digest.hexdigest())


class ArchiveWriter:
    """Writes an archive, one member after the other.

    Args:
        path: of a file that is there and empty.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w")
        self.members: dict[str, Member] = {}

    @contextmanager
    def member(self, name: str, *, compressed: bool = False) -> Iterator[Sink]:
        """Give what a member's bytes are written to, while it lasts."""
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        with self._zip.open(info, "w", force_zip64=True) as target:
            counted = _Counted(target)
            yield counted
        self.members[name] = counted.member()

    def add(self, name: str, content: bytes) -> None:
        """Write a small member."""
        with self.member(name) as sink:
            sink.write(content)

    def close(self, manifest: Manifest | None) -> None:
        """End the archive with its manifest; without one it is no archive, and is to be thrown away."""
        if manifest is not None:
            self._zip.writestr(MANIFEST, manifest.model_dump_json(indent=2))
        self._zip.close()


class Archive:
    """An archive to read from.

    Args:
        path: its file.

    Raises:
        SetupRefused: ``backup_invalid``: it is not there, cut short or something else; ``backup_newer``: it was written
            by a later version of this software.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _read_from(path):
            self._zip = zipfile.ZipFile(path)
        try:
            self.manifest = self._manifest()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def model_files(self) -> tuple[str, ...]:
        """The registry's files, by their paths in it."""
        return tuple(name.removeprefix(MODELS) for name in self.manifest.members if name.startswith(MODELS))

    def verify(self, on_progress: OnProgress = lambda *_: None) -> None:
        """Read all of it, and hold each member against its digest.

        Raises:
            SetupRefused: ``backup_invalid``.
        """
        total = sum(member.bytes for member in self.manifest.members.values())
        done = 0
        for name, member in self.manifest.members.items():
            digest = hashlib.sha256()
            for chunk in self.chunks(name):
                digest.update(chunk)
                done += len(chunk)
                on_progress("verifying, bytes", done, total)
            if digest.hexdigest() != member.sha256:
                raise _invalid(self.path, f"its {name} is not what was written")

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member's content in pieces; no more of it than the manifest says."""
        left = self.manifest.members[name].bytes
        with _read_from(self.path), self._zip.open(name) as member:
            while chunk := member.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise _invalid(self.path, f"its {name} is longer than its manifest says")
                yield chunk
        if left:
            raise _invalid(self.path, f"its {name} is cut short")

    def read(self, name: str) -> bytes:
        """Return a member that is small."""
        return b"".join(self.chunks(name))

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield a member's lines, without their ends."""
        rest = b""
        for chunk in self.chunks(name):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _manifest(self) -> Manifest:
        with _read_from(self.path):
            names = self._zip.namelist()
            if self._zip.getinfo(MANIFEST).file_size > _LONGEST_MANIFEST:
                raise _invalid(self.path, "its manifest is too long")
            content = self._zip.read(MANIFEST)
        _refuse_newer(self.path, content)
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError:
            raise _invalid(self.path, "its manifest cannot be read") from None
        known = set(manifest.members)
        if sorted(names) != sorted((*known, MANIFEST)) or not known.issuperset(_REQUIRED):
            raise _invalid(self.path, "its files are not those of its manifest")
        if any(not _MODEL_FILE.fullmatch(name) for name in known - set(_REQUIRED)):
            raise _invalid(self.path, "it has files that no backup has")
        return manifest


def _refuse_newer(path: Path, content: bytes) -> None:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise _invalid(path, "its manifest cannot be read") from None
    number = said.get("format") if isinstance(said, dict) else None
    if isinstance(number, int) and number > FORMAT:
        reason = f"{path.name} has format {number}, and this software reads {FORMAT}: restore it with a later version"
        raise SetupRefused(Code.BACKUP_NEWER, reason)


@contextmanager
def _read_from(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED:
        raise _invalid(path, "it is damaged, cut short or no backup") from None
    except OSError as error:
        raise _invalid(path, f"it cannot be read ({error.strerror or 'no such content'})") from None


def _invalid(path: Path, why: str) -> SetupRefused:
    return SetupRefused(Code.BACKUP_INVALID, f"{path}: {why}; nothing was restored from it")
