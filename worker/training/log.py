"""The log of a training, an epoch a line: CSV, or events for TensorBoard."""

import csv
import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from worker.errors import Code, SetupRefused
from worker.training.checkpoint import Progress
from worker.training.checkpoint_files import write_bytes
from worker.training.config import Log
from worker.training.folder import TrainingFolder

COLUMNS = ("epoch", "loss", "validation_auc", "seconds")


def require(log: Log) -> None:
    """Make sure that a log can be written.

    Raises:
        SetupRefused: ``setting_invalid``; TensorBoard is not installed.
    """
    if log is Log.TENSORBOARD and find_spec("tensorboard") is None:
        reason = "--log tensorboard needs the package: pip install tensorboard"
        raise SetupRefused(Code.SETTING_INVALID, reason)


def writer(log: Log, folder: TrainingFolder) -> Callable[[Progress], None]:
    """Make what is told of each epoch; of those before a resumption it has them all at once."""
    match log:
        case Log.CSV:
            return lambda progress: write_bytes(folder.log_path, _csv(progress))
        case Log.TENSORBOARD:
            return _TensorBoard(folder)
        case Log.NONE:
            return lambda _progress: None


def _csv(progress: Progress) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    lines.writerows(progress.history)
    return text.getvalue().encode()


class _TensorBoard:
    """Events in ``tensorboard/``; after a resumption they are written anew, and take the place of the earlier ones."""

    def __init__(self, folder: TrainingFolder) -> None:
        self._path = folder.path / "tensorboard"
        self._writer: Any = None
        self._written = 0

    def __call__(self, progress: Progress) -> None:
        """Write the epochs that are new."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._path), purge_step=1)
        for line in progress.history[self._written :]:
            for name in ("loss", "validation_auc"):
                self._writer.add_scalar(name, line[name], int(line["epoch"]))
        self._written = progress.epochs
        self._writer.flush()
