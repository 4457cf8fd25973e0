"""PyTorch's scores of noise, kept for the next start: to import PyTorch takes longer than all else that a worker does.

They are of these cards, weights and noise, by this PyTorch and this version of the software, or they are not looked at.
What a device scores is compared with them at each start all the same.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.lib.format import read_array, write_array

from worker import __version__
from worker.durable_files import write_private
from worker.inference.model_card import ModelCard
from worker.inference.runner import Logits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptReference:
    """The scores of one pair of versions.

    Attributes:
        folder: has those of each pair; it is made where it is missing.
        cards: of DLR_LH and DLR_BM.
        compared: images of noise.
    """

    folder: Path
    cards: Sequence[ModelCard]
    compared: int

    def read(self) -> Logits | None:
        """Return the logits, as `worker.inference.runner.Runner.run`; ``None``: none are kept that can be read."""
        try:
            logits = read_array(BytesIO(self._path.read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        shape = (self.compared, sum(card.passes for card in self.cards), len(self.cards[0].classes))
        return logits if logits.shape == shape and logits.dtype == np.float32 else None

    def write(self, logits: Logits) -> None:
        """Keep logits; where nothing can be written, the next start takes as long as this one."""
        written = BytesIO()
        write_array(written, logits, allow_pickle=False)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, written.getvalue())
        except OSError as error:
            logger.info("PyTorch's scores were not kept for the next start: %s", error.strerror)

    @property
    def _path(self) -> Path:
        of = [version("torch"), __version__, self.compared, *(card.to_json() for card in self.cards)]
        return self.folder / f"{hashlib.sha256(json.dumps(of).encode()).hexdigest()}.npy"
