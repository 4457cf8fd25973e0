"""What this installation is made of: the product, its contracts, its schema, its lock and its main distributions."""

import hashlib
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import worker
from worker.contract import VERSIONS

DISTRIBUTION = "dlr-worker"


class Version(NamedTuple):
    """A row of ``dlr --version --verbose``. ``detail`` is empty where there is nothing to say."""

    component: str
    version: str
    detail: str = ""


def versions() -> list[Version]:
    """Return the versions, the product's first. No server is asked."""
    lock = _lock()
    locked = _locked(lock) if lock is not None else {}
    return [
        Version(DISTRIBUTION, worker.__version__),
        Version("Python", platform.python_version(), f"{platform.system()} {platform.machine()}"),
        Version("contracts", ", ".join(str(version) for version in sorted(VERSIONS)), "of jobs that are read"),
        Version("schema", _schema_head(), "the newest migration of this version"),
        _of_lock(lock, locked),
        *(Version(name, found, _against(found, locked.get(name))) for name, found in _main_distributions()),
    ]


def _schema_head() -> str:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head() or "none"


def _lock() -> Path | None:
    """Return the lock that came with this installation."""
    files = metadata.files(DISTRIBUTION) or []
    found = (Path(str(file.locate())) for file in files if file.name == "uv.lock")
    return next((place for place in found if place.is_file()), None)


def _locked(lock: Path) -> dict[str, set[str]]:
    """Return the versions that a lock has of each distribution; there are several where Python's version decides."""
    found: dict[str, set[str]] = {}
    for one in tomllib.loads(lock.read_text("utf-8"))["package"]:
        found.setdefault(one["name"], set()).add(one["version"])
    return found


def _of_lock(lock: Path | None, locked: Mapping[str, set[str]]) -> Version:
    if lock is None:
        return Version("lock", "none", "uv.lock is not part of this installation")
    installed = {_normalized(one.name): one.version for one in metadata.distributions()}
    known = {
        name: version for name, version in installed.items() if name in locked and name not in (DISTRIBUTION, "pip")
    }
    others = sorted(name for name, version in known.items() if _against(version, locked[name]))
    detail = f"{len(known) - len(others)} distributions are in the versions of uv.lock"
    if others:
        detail += f"; in others: {', '.join(others)}"
    return Version("lock", f"sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}", detail)


def _main_distributions() -> Iterator[tuple[str, str]]:
    """Yield what the product itself asks for and has, its extras included."""
    asked = metadata.requires(DISTRIBUTION) or []
    names = {_normalized(match[0]) for one in asked if (match := re.match(r"[\w.-]+", one))}
    for name in sorted(names - {DISTRIBUTION}):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _against(version: str, locked: set[str] | None) -> str:
    public, _, local = version.partition("+")
    if not locked or version in locked:
        return ""
    if public in locked:
        return f"the build {local} of another index"
    return f"uv.lock has {' or '.join(sorted(locked))}"


def _normalized(name: str) -> str:
    """PyPA's normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
