"""A version in the registry, and what a check says of it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from worker.errors import Code
from worker.inference.model_card import ModelCard
from worker.inference.version_folder import CARD_FILE, weights_files


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a model in the registry.

    Attributes:
        card: its card.
        active: workers score with it the studies that they start from now on.
        folder: its files'.
        shadow_since: when it became a shadow, if it is one.
        share: of the studies that it scores first, while another one is active; above 0, below 1.
        forced: when it was last put into service, its card had no metrics, or did not state its use.
    """

    card: ModelCard
    active: bool
    folder: Path
    shadow_since: datetime | None = None
    share: float | None = None
    forced: bool = False

    @property
    def model(self) -> str:
        """Whose version it is: ``DLR_LH`` or ``DLR_BM``."""
        return self.card.name

    @property
    def card_path(self) -> Path:
        """The card's file."""
        return self.folder / CARD_FILE

    @property
    def weights_paths(self) -> tuple[Path, ...]:
        """The weights' files: one, or one for each member of an ensemble."""
        return tuple(self.folder / name for name in weights_files(self.card))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says of one version: ``code`` is ``None`` when it is sound, else ``reason`` says what is wrong."""

    name: str
    version: str
    active: bool
    code: Code | None
    reason: str
