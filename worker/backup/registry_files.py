"""The registry's files, out of an archive: a version that is here stays, and one that is not is put in place whole."""

import hashlib
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.backup.archive import MODELS, Archive
from worker.durable_files import replace as replace_file
from worker.durable_files import sync
from worker.errors import Code, ModelRefused
from worker.inference.active_versions import ACTIVE_FILE, HISTORY_FILE, SHADOW_FILE, SHARE_FILE, written
from worker.inference.version_folder import CARD_FILE

STATE_FILES = (HISTORY_FILE, SHADOW_FILE, SHARE_FILE, ACTIVE_FILE)
"""In the order in which they are put in place: what is active is said last."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something of the backup that was not put in place, since there is another one here: what, and its name."""

    what: str
    name: str


@dataclass(frozen=True, slots=True)
class RegistryPlan:
    """What is to be put into a registry.

    Attributes:
        found: the archive.
        folder: the registry's.
        versions: those that are not there, by their folders below it, each with the names of its files.
    """

    found: Archive
    folder: Path
    versions: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, found: Archive, folder: Path) -> "RegistryPlan":
        """Look at what is there.

        Raises:
            ModelRefused: ``model_exists``: a version is there with other content.
        """
        by_version: dict[str, list[str]] = defaultdict(list)
        for name in found.model_files:
            if name not in STATE_FILES:
                by_version["/".join(name.split("/")[:2])].append(name)
        missing = {}
        for version, names in by_version.items():
            if not (folder / version).exists():
                missing[version] = tuple(names)
            elif any(_says_what_it_is(name) and not _is_same(folder / name, found, name) for name in names):
                reason = f"the registry here has another {version} than {found.path.name}; move it away first"
                raise ModelRefused(Code.MODEL_EXISTS, reason)
        return cls(found, folder, missing)

    def put_in_place(self, *, replace: bool) -> tuple[int, list[Kept]]:
        """Add the missing versions, then what says which are in service; return how many, and what was kept.

        Args:
            replace: also where the registry here says something else.

        Raises:
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        with written():
            for version, names in self.versions.items():
                self._put(version, names)
            kept = [name for name in STATE_FILES if not self._put_state(name, replace=replace)]
        return len(self.versions), [Kept("registry", name) for name in kept]

    def _put(self, version: str, names: tuple[str, ...]) -> None:
        place = self.folder / version
        place.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".restoring-", dir=place.parent))
        try:
            staging.chmod(0o755)
            for name in names:
                target = staging / Path(name).relative_to(version)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    file.writelines(self.found.chunks(MODELS + name))
                sync(target)
            sync(staging)
            staging.rename(place)
            sync(place.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _put_state(self, name: str, *, replace: bool) -> bool:
        """Put one file in place, and say whether what is there now is the backup's."""
        if name not in self.found.model_files:
            return True
        place, content = self.folder / name, self.found.read(MODELS + name)
        if place.exists() and not replace:
            return place.read_bytes() == content
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(place, content)
        return True


def _says_what_it_is(name: str) -> bool:
    """Whether a file is a version's card or weights, which never change; a check of its calibration is made anew."""
    return name.endswith((f"/{CARD_FILE}", ".safetensors"))


def _is_same(path: Path, found: Archive, name: str) -> bool:
    member = found.manifest.members[MODELS + name]
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256
    except OSError:
        return False
