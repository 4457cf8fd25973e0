"""The engine of the versions that are in service: another one takes its place while studies are scored.

A study has one engine for all of its lesions, so that no study is scored by a mixture. The former one answers what it
was given, and is closed then.

Why so: docs/decisions/0061-a-version-is-taken-up-between-batches.md.
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

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often it is looked which versions are in service, in seconds."""

AGAIN_S = 60.0
"""After how long versions are tried again that could not be taken up, in seconds."""

Versions = tuple[str, ...]
"""Of DLR_LH and DLR_BM."""


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
        load: loads them; raises DlrError where they cannot be.
        put_on_record: is given the cards of a new engine before any study is; what it raises keeps the engine out.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[], Engine],
        put_on_record: Callable[[tuple[ModelCard, ModelCard]], object],
    ) -> None:
        self._registry, self._load, self._put_on_record = registry, load, put_on_record
        self._lock = threading.Lock()
        self._held = _Held(load())
        self._not_before = 0.0
        self._refused: Versions | None = None

    @property
    def studies(self) -> int:
        """So many studies at hand keep the device busy."""
        return self._held.engine.studies

    @property
    def gather_s(self) -> float:
        """How long a result may wait for others', to be written with them, in seconds."""
        return self._held.engine.gather_s

    @property
    def cards(self) -> tuple[ModelCard, ModelCard]:
        """The cards of DLR_LH and DLR_BM that the next study is scored by."""
        return self._held.engine.cards

    @contextmanager
    def arriving(self) -> Iterator[Engine]:
        """Say that a study's lesions are on their way, and give the engine that is to have all of them."""
        with self._lock:
            held = self._held
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

        Where they cannot be, what is there goes on, and the log says why; they are tried again later, and at once where
        somebody puts others into service.
        """
        wanted = self._wanted()
        if wanted is None or wanted == _versions(self.cards):
            self._refused = None
            return False
        if wanted == self._refused and time.monotonic() < self._not_before:
            return False
        try:
            engine = self._load()
        except DlrError as refused:
            return self._keep(wanted, f"{refused.code}: {refused.reason}")
        try:
            self._put_on_record(engine.cards)
        except Exception as error:  # noqa: BLE001  the ledger refuses these versions, or is away
            engine.close()
            return self._keep(wanted, str(error) if isinstance(error, DatabaseRefused) else type(error).__qualname__)
        self._replace(engine)
        return True

    def run(self, interval_s: float, stopped: threading.Event) -> None:
        """Look every ``interval_s`` seconds until ``stopped``; a defect met on one look is not the next one's end."""
        while not stopped.wait(interval_s):
            try:
                self.take_up()
            except Exception as error:
                logger.error("a defect of this software", exc_info=error)

    def close(self) -> None:
        """Score what is waiting, and end the threads of the engine."""
        self._held.engine.close()

    def _wanted(self) -> Versions | None:
        try:
            return tuple(self._registry.active(name).card.version for name in MODEL_NAMES)
        except ModelRefused:  # one is no longer active, or its card is damaged: nobody put another into service
            return None

    def _keep(self, wanted: Versions, why: str) -> bool:
        self._refused, self._not_before = wanted, time.monotonic() + AGAIN_S
        logger.error("%s cannot be taken up (%s); %s goes on", _named(wanted), why, _named(_versions(self.cards)))
        return False

    def _replace(self, engine: Engine) -> None:
        with self._lock:
            former, self._held = self._held, _Held(engine)
            former.is_former = True
            is_done = not former.studies
        self._refused = None
        logger.info(
            "%s is taken up in place of %s", _named(_versions(engine.cards)), _named(_versions(former.engine.cards))
        )
        if is_done:
            _close(former.engine)


def _close(engine: Engine) -> None:
    """Let an engine that no more studies are given to answer what it has; whoever asks does not wait for that."""
    threading.Thread(target=engine.close, name="closing", daemon=True).start()


def _versions(cards: tuple[ModelCard, ModelCard]) -> Versions:
    return tuple(card.version for card in cards)


def _named(versions: Versions) -> str:
    return " and ".join(f"{name} {version}" for name, version in zip(MODEL_NAMES, versions, strict=True))
