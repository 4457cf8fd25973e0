"""The registry: each version of each model in a folder of its own, and which one is active.

    <models_dir>/<name>/<version>/card.json
    <models_dir>/<name>/<version>/weights.safetensors
    <models_dir>/active.json                            {"DLR_LH": "<version>", "DLR_BM": "<version>"}

A version is never changed once it is there, and what is half written is never seen: folders and files appear by rename.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.errors import Code, ModelRefused, SetupRefused
from worker.inference.card import MODEL_NAMES, ModelCard, ModelName, load_card

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"
ACTIVE_FILE = "active.json"
_LOCK_FILE = ".lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a model in the registry."""

    card: ModelCard
    active: bool
    folder: Path

    @property
    def card_path(self) -> Path:
        """The card's file."""
        return self.folder / CARD_FILE

    @property
    def weights_path(self) -> Path:
        """The weights' file."""
        return self.folder / WEIGHTS_FILE


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says of one version: ``code`` is ``None`` when it is sound, else ``reason`` says what is wrong."""

    name: str
    version: str
    active: bool
    code: Code | None
    reason: str


class Registry:
    """The models that this installation has.

    Args:
        models_dir: its folder; made when the first model is added.
    """

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir

    def add(self, card_path: Path, weights_path: Path) -> ModelCard:
        """Add a version of a model, once its card and weights are found to be sound.

        Adding it again does nothing, unless its weights were damaged since: that mends them.

        Raises:
            ModelRefused: ``card_invalid``, ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``;
                ``model_exists``, when the registry has other content under this version.
            SetupRefused: ``setting_invalid``, when the registry can not be written.
        """
        with _written():
            return self._add(card_path, weights_path)

    def _add(self, card_path: Path, weights_path: Path) -> ModelCard:
        card = load_card(card_path)
        folder = self._models_dir / card.name / card.version
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder.parent))
        try:
            staging.chmod(0o755)
            _write(staging / CARD_FILE, card.to_json().encode())
            _copy(weights_path, staging / WEIGHTS_FILE)
            _verify(card, staging / WEIGHTS_FILE)
            _sync(staging)
            with self._locked():
                if folder.exists():
                    _refuse_other_content(card, folder)
                    _mend(folder, staging)
                else:
                    staging.rename(folder)
                    _sync(folder.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return card

    def list(self) -> tuple[Entry, ...]:
        """Return each version with a readable card, by name and time; ``check`` tells of the others."""
        entries = []
        for name, version in self._versions():
            try:
                entries.append(self._entry(name, version))
            except ModelRefused:
                continue
        return tuple(sorted(entries, key=lambda entry: (entry.card.name, entry.card.created_at, entry.card.version)))

    def count_unreadable(self) -> int:
        """Return how many versions ``list`` leaves out."""
        return len(self._versions()) - len(self.list())

    def activate(self, name: str, version: str) -> ModelCard:
        """Make a version the one that workers use from their next start on.

        Raises:
            ModelRefused: ``model_not_found``; or its card or weights are not sound.
            SetupRefused: ``setting_invalid``, when the registry can not be written.
        """
        entry = self._entry(name, version)
        _verify(entry.card, entry.weights_path)
        with _written(), self._locked():
            chosen = {**self._active_versions(), entry.card.name: entry.card.version}
            temporary = self._models_dir / f".{ACTIVE_FILE}"
            _write(temporary, (json.dumps(chosen, indent=2) + "\n").encode())
            temporary.replace(self._models_dir / ACTIVE_FILE)
            _sync(self._models_dir)
        return entry.card

    def active(self, name: ModelName) -> Entry:
        """Return the active version of a model.

        Raises:
            ModelRefused: ``model_not_active``; ``model_not_found`` or ``card_invalid``, when its folder was damaged.
        """
        version = self._active_versions().get(name)
        if version is None:
            raise ModelRefused(Code.MODEL_NOT_ACTIVE, f"no version of {name} is active (`dlr models activate`)")
        return self._entry(name, version)

    def is_ready(self) -> bool:
        """Return whether both models are active and their files are there; reads no weights."""
        try:
            return all(self.active(name).weights_path.is_file() for name in MODEL_NAMES)
        except ModelRefused:
            return False

    def is_sound(self, entry: Entry) -> bool:
        """Return whether a version's weights are those of its card."""
        return self._finding(entry.card.name, entry.card.version, active=entry.active).code is None

    def check(self) -> tuple[Finding, ...]:
        """Verify each version's card, hash and shapes, and that each active version is there."""
        active = self._active_versions()
        known = self._versions()
        gone = tuple(place for place in active.items() if place not in known)
        return tuple(
            self._finding(name, version, active=active.get(name) == version) for name, version in (*known, *gone)
        )

    def _finding(self, name: str, version: str, *, active: bool) -> Finding:
        try:
            entry = self._entry(name, version)
            _verify(entry.card, entry.weights_path)
        except ModelRefused as refused:
            return Finding(name, version, active, refused.code, refused.reason)
        return Finding(name, version, active, None, "")

    def _versions(self) -> tuple[tuple[str, str], ...]:
        folders = [(name, self._models_dir / name) for name in MODEL_NAMES]
        return tuple(
            (name, version.name)
            for name, folder in folders
            if folder.is_dir()
            for version in sorted(folder.iterdir())
            if version.is_dir() and not version.name.startswith(".")
        )

    def _entry(self, name: str, version: str) -> Entry:
        # Looked up in the listing, so that no name leads out of the registry.
        if (name, version) not in self._versions():
            raise ModelRefused(Code.MODEL_NOT_FOUND, f"the registry has no {name} {version} (`dlr models list`)")
        folder = self._models_dir / name / version
        card = load_card(folder / CARD_FILE)
        if (card.name, card.version) != (name, version):
            raise ModelRefused(Code.CARD_INVALID, f"the folder of {name} {version} holds {card.name} {card.version}")
        return Entry(card, self._active_versions().get(card.name) == version, folder)

    def _active_versions(self) -> dict[str, str]:
        """Read what is active. A file that can not be read says that nothing is, so activating mends it."""
        try:
            chosen = json.loads((self._models_dir / ACTIVE_FILE).read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(chosen, dict):
            return {}
        return {name: chosen[name] for name in MODEL_NAMES if isinstance(chosen.get(name), str)}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._models_dir / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _verify(card: ModelCard, weights_path: Path) -> None:
    import torch

    from worker.inference.weights import load_network

    load_network(card, weights_path, torch.device("cpu"))


def _refuse_other_content(card: ModelCard, folder: Path) -> None:
    known = load_card(folder / CARD_FILE)
    compared = [field for field in ModelCard.model_fields if field != "created_at"]
    differing = [field for field in compared if getattr(known, field) != getattr(card, field)]
    if differing:
        reason = (
            f"{card.name} {card.version} is there already with another {', '.join(differing)}; give it a new version"
        )
        raise ModelRefused(Code.MODEL_EXISTS, reason)


def _mend(folder: Path, staging: Path) -> None:
    card, weights_path = load_card(folder / CARD_FILE), folder / WEIGHTS_FILE
    try:
        _verify(card, weights_path)
    except ModelRefused:
        (staging / WEIGHTS_FILE).replace(weights_path)
        _sync(folder)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except OSError:
        reason = "DLR_MODELS_DIR: the registry can not be written; is there room, and is this user allowed to?"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError:
        raise ModelRefused(Code.WEIGHTS_MISSING) from None
    _sync(target)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
