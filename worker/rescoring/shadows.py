"""The shadows: versions that score what arrives, as long as the registry says that they do."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from db.errors import ModelConflict
from db.writes import rescoring
from db.writes.rescoring import ScoresWanted
from worker.errors import ModelRefused, SetupRefused
from worker.inference.entry import Entry
from worker.inference.registry import Registry
from worker.rescoring.rescorer import Done, Model, Rescorer

logger = logging.getLogger(__name__)

IDLE_S: Final = 10.0
"""How often the ledger and the registry are looked at while there is nothing to do, in seconds."""

WHOLE_S: Final = 3600.0
"""How often all lesions are gone through and not only the new ones, and refused versions tried again, in seconds."""

Place = tuple[str, str, str]
"""A version's model, its name, and the SHA-256 of its weights."""


@dataclass(slots=True)
class _Loaded:
    model: Model
    key: int


@dataclass(slots=True)
class Shadows:
    """Scores with the shadows of a registry.

    Attributes:
        registry: says which versions are shadows, and since when.
        rescorer: goes through the ledger.
        load: loads a version.
    """

    registry: Registry
    rescorer: Rescorer
    load: Callable[[Entry], Model]
    _loaded: dict[Place, _Loaded] = field(default_factory=dict)
    _refused: set[Place] = field(default_factory=set)
    _seen: int = 0
    _whole_again: float = 0.0

    def run(self) -> None:
        """Score until the rescorer is stopped.

        Raises:
            Unavailable, DatabaseAway: something is away; call it again.
        """
        while not self.rescorer.stopped.is_set():
            done = self.look()
            if not done.lesions:
                self.rescorer.stopped.wait(IDLE_S)

    def look(self) -> Done:
        """Score what the shadows have not scored yet: of all that arrived since they became shadows, or what is new.

        Raises:
            Unavailable, DatabaseAway: something is away.
        """
        if time.monotonic() >= self._whole_again:
            self._whole_again = time.monotonic() + WHOLE_S
            self._seen = 0
            self._refused.clear()
        # In this order: if no study is open now, those of all lesions that were there before have ended.
        with self.rescorer.sessions() as session:
            latest = rescoring.latest_lesion(session)
        was_open = self.rescorer.live_work_waits()
        entries = self._sound()
        if not entries:
            return Done(is_whole=True)
        found = [(entry, self._loaded[_place(entry)]) for entry in entries]
        done = self.rescorer.run(
            {loaded.key: loaded.model for _, loaded in found},
            [ScoresWanted(loaded.key, entry.shadow_since) for entry, loaded in found],
            above=self._seen,
        )
        if done.is_whole and not was_open:
            self._seen = latest
        for entry, loaded in found:
            self._tell(entry, loaded.key, done)
        return done

    def _sound(self) -> list[Entry]:
        """Load what is new, and let go of what is no shadow any more."""
        entries = self.registry.shadows()
        places = {_place(entry) for entry in entries}
        for gone in self._loaded.keys() - places:
            del self._loaded[gone]
        for entry in entries:
            if _place(entry) not in self._loaded and _place(entry) not in self._refused:
                self._take(entry)
        return [entry for entry in entries if _place(entry) in self._loaded]

    def _take(self, entry: Entry) -> None:
        name, version = entry.card.name, entry.card.version
        try:
            model = self.load(entry)
            with self.rescorer.sessions.begin() as session:
                key = rescoring.register(session, entry.card.record())
        except (ModelRefused, SetupRefused, ModelConflict) as refused:
            code = refused.code.value if isinstance(refused, ModelRefused | SetupRefused) else "model_exists"
            logger.error("the shadow %s %s is skipped: %s", name, version, code)
            self._refused.add(_place(entry))
            return
        logger.info("shadow %s %s", name, version)
        self._loaded[_place(entry)] = _Loaded(model, key)
        self._seen = 0

    def _tell(self, entry: Entry, key: int, done: Done) -> None:
        refused = sum(count for (of, _), count in done.refused.items() if of == key)
        if done.scored[key] or refused:
            logger.info(
                "shadow %s %s: %d lesions scored, %d failed",
                entry.card.name, entry.card.version, done.scored[key], refused,
            )  # fmt: skip


def _place(entry: Entry) -> Place:
    return entry.card.name, entry.card.version, entry.card.weights_sha256
