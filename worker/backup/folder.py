"""The folder of archives: what is in it, and what each says of itself."""

from dataclasses import dataclass
from pathlib import Path

from worker.backup.archive import NAME, Archive
from worker.backup.manifest import Manifest
from worker.errors import Code, SetupRefused


@dataclass(frozen=True, slots=True)
class Listed:
    """One archive: what it says of itself, or why it cannot be read. Its members were not read."""

    path: Path
    bytes: int
    manifest: Manifest | None
    refused: SetupRefused | None = None


def archives_in(folder: Path) -> list[Path]:
    """Return a folder's archives, the latest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def listed(folder: Path) -> list[Listed]:
    """Return what each archive of a folder says of itself, the latest first."""
    return [listed_one(path) for path in archives_in(folder)]


def listed_one(path: Path) -> Listed:
    """Return what one archive says of itself."""
    try:
        with Archive(path) as found:
            return Listed(path, path.stat().st_size, found.manifest)
    except SetupRefused as refused:
        return Listed(path, path.stat().st_size, None, refused)


def named(folder: Path, name: Path) -> Path:
    """Return the archive that a person means: a path, or the name of one in the folder; ``latest`` is the latest.

    Raises:
        SetupRefused: ``backup_invalid``: there is none.
    """
    if name.is_file():
        return name
    found = archives_in(folder)
    if str(name) == "latest" and found:
        return found[0]
    if (folder / name).is_file():
        return folder / name
    raise SetupRefused(Code.BACKUP_INVALID, f"there is no backup {name}, here or in {folder} (`dlr backup list`)")
