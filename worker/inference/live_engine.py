"""The engines of the versions that are in service: others take their place while studies are scored.

A study has one engine for all of its lesions, so that no study is scored by a mixture. A former one answers what it was
given, and is closed then. Where a version has a share of the studies, there is an engine for them beside the others'.

Why so: docs/decisions/0061-a-version-is-taken-up-between-batches.md, 0067-a-new-version-may-have-a-share-first.md.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from db.errors import DatabaseRefused
from worker.errors import DlrError, ModelRefused
from worker.inference.engine import Engine
from worker.inference.model_card import MODEL_NAMES, ModelCard
from worker.inference.registry import Registry
from worker.inference.shares import Division, Versions, percent

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often it is looked which versions are in service, in seconds."""

AGAIN_S = 60.0
"""After how long versions are tried again that could not be taken up, in seconds."""


@dataclass
class _Held:
    """An engine, and how many studies are being given to it."""

    engine: Engine
    studies: int = 0
    is_former: bool = False


class LiveEngine:
    """Gives each study the engine of the versions that are in service at that moment; any number of threads at once.

    Args:
        registry: says which versions those are.
        load: loads a pair of them; raises DlrError where they cannot be.
        put_on_record: is given the cards of a new engine before any study is; what it raises keeps the engine out.

    Raises:
        ModelRefused, SetupRefused, Unavailable: the active versions cannot be loaded. What has a share is taken up by
            the first `take_up`.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[Versions], Engine],
        put_on_record: Callable[[tuple[ModelCard, ModelCard]], object],
    ) -> None:
        self._registry, self._load, self._put_on_record = registry, load, put_on_record
        self._lock, self._taking_up = threading.Lock(), threading.Lock()
        active = registry.division().active
        self._division = Division(active)
        self._held = {active: _Held(load(active))}
        self._refused_until: dict[Versions, float] = {}

    @property
    def studies(self) -> int:
        """So many studies at hand keep the device busy."""
        return self._active.studies

    @property
    def gather_s(self) -> float:
        """How long a result may wait for others', to be written with them, in seconds."""
        return self._active.gather_s

    @property
    def cards(self) -> tuple[ModelCard, ModelCard]:
        """The cards of DLR_LH and DLR_BM that are active."""
        return self._active.cards

    @property
    def held(self) -> tuple[Versions, ...]:
        """The pairs of versions of which there is an engine."""
        return tuple(self._held)

    @contextmanager
    def arriving(self, study_instance_uid: str, /) -> Iterator[Engine]:
        """Say that a study's lesions are on their way, and give the engine that is to have all of them."""
        with self._lock:
            held = self._held.get(self._division.of(study_instance_uid)) or self._held[self._division.active]
            held.studies += 1
        try:
            with held.engine.arriving():
                yield held.engine
        finally:
            with self._lock:
                held.studies -= 1
                is_done = held.is_former and not held.studies
            if is_done:
                _close(held.engine)

    def take_up(self) -> bool:
        """Look which versions are in service, and take up others than before; say whether it did.

        Where the active ones cannot be, what is there goes on; where one with a share cannot be, the active ones score
        its studies. The log says why. They are tried again later, and at once where somebody puts others into service.
        """
        with self._taking_up:
            wanted = self._wanted()
            if wanted is None:
                return False
            made = {versions: engine for versions in wanted.all if (engine := self._made(versions)) is not None}
            if wanted.active not in self._held and wanted.active not in made:
                for engine in made.values():
                    engine.close()
                return False
            if not made and wanted == self._division:
                return False
            self._replace(wanted, made)
            return True

    def run(self, interval_s: float, stopped: threading.Event) -> None:
        """Look every ``interval_s`` seconds until ``stopped``; a defect met on one look is not the next one's end."""
        while not stopped.wait(interval_s):
            try:
                self.take_up()
            except Exception as error:
                logger.error("a defect of this software", exc_info=error)

    def close(self) -> None:
        """Score what is waiting, and end the threads of the engines."""
        for held in self._held.values():
            held.engine.close()

    @property
    def _active(self) -> Engine:
        with self._lock:
            return self._held[self._division.active].engine

    def _wanted(self) -> Division | None:
        try:
            return self._registry.division()
        except ModelRefused:  # one is no longer active, or its card is damaged: nobody put another into service
            return None

    def _made(self, versions: Versions) -> Engine | None:
        """Load versions and put them on record; ``None`` where they are held, or cannot be taken up now."""
        if versions in self._held or time.monotonic() < self._refused_until.get(versions, 0.0):
            return None
        try:
            engine = self._load(versions)
        except DlrError as refused:
            self._refuse(versions, f"{refused.code}: {refused.reason}")
            return None
        try:
            self._put_on_record(engine.cards)
        except Exception as error:  # noqa: BLE001  the ledger refuses these versions, or is away
            engine.close()
            self._refuse(versions, str(error) if isinstance(error, DatabaseRefused) else type(error).__qualname__)
            return None
        return engine

    def _refuse(self, versions: Versions, why: str) -> None:
        self._refused_until[versions] = time.monotonic() + AGAIN_S
        goes_on = _named(self._division.active)
        logger.error("%s cannot be taken up (%s); %s goes on", _named(versions), why, goes_on)

    def _replace(self, wanted: Division, made: dict[Versions, Engine]) -> None:
        with self._lock:
            self._held |= {versions: _Held(engine) for versions, engine in made.items()}
            former = [self._held.pop(versions) for versions in tuple(self._held) if versions not in wanted.all]
            self._division = wanted
            for held in former:
                held.is_former = True
            done = [held.engine for held in former if not held.studies]
        self._refused_until = {one: at for one, at in self._refused_until.items() if one in wanted.all}
        logger.info("taken up: %s", _described(wanted))
        for engine in done:
            _close(engine)


def _close(engine: Engine) -> None:
    """Let an engine that no more studies are given to answer what it has; whoever asks does not wait for that."""
    threading.Thread(target=engine.close, name="closing", daemon=True).start()


def _named(versions: Versions) -> str:
    return " and ".join(f"{name} {version}" for name, version in zip(MODEL_NAMES, versions, strict=True))


def _described(division: Division) -> str:
    shares = [
        f"; {name} {one.version} for {percent(one.share)} of the studies" for name, one in division.shares.items()
    ]
    return _named(division.active) + "".join(shares)
