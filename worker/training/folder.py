"""The folder that a training writes into: whose it is, who writes, and whether it is finished.

A new one is its owner's alone: lesions' scores are in it, with their pseudonyms and ages.

run.json              what the training is of: written first
log.csv               an epoch a line
checkpoint/           what it goes on from, until it is finished
weights.safetensors, scores.csv
card.json             written last: the training is finished
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.errors import Code, SetupRefused
from worker.inference.version_folder import CARD_FILE, WEIGHTS_FILE
from worker.training.checkpoint_files import write_json

RUN_FILE = "run.json"
LOG_FILE = "log.csv"
SCORES_FILE = "scores.csv"
_LOCK_FILE = ".lock"

Identity = Mapping[str, object]


class TrainingFolder:
    """The output folder of one training.

    Args:
        path: new, empty, or this very training's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.card_path = path / CARD_FILE
        self.weights_path = path / WEIGHTS_FILE
        self.scores_path = path / SCORES_FILE
        self.log_path = path / LOG_FILE
        self.checkpoints_path = path / "checkpoint"

    @property
    def is_finished(self) -> bool:
        """The training is over, and all is written."""
        return self.card_path.exists()

    @contextmanager
    def claimed(self, identity: Identity) -> Iterator[None]:
        """Be the only one who trains here.

        Args:
            identity: all that the weights depend on, by name; plain values.

        Raises:
            SetupRefused: ``training_differs``: another training's folder, or one with other things;
                ``already_running``; ``setting_invalid``: it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / _LOCK_FILE).open("w")
        except OSError:
            reason = "--output: the folder cannot be created or written to"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SetupRefused(Code.ALREADY_RUNNING, "another training runs in this folder") from None
            self._identify(identity)
            yield

    def _identify(self, identity: Identity) -> None:
        run = self.path / RUN_FILE
        plain = json.loads(json.dumps(identity))
        # A run that could not start, for want of weights say, has left nothing to go on with: any other may take it.
        if not any(path.name != RUN_FILE and not path.name.startswith(".") for path in self.path.iterdir()):
            write_json(run, plain)
            return
        try:
            known = dict(json.loads(run.read_bytes()))
        except FileNotFoundError:
            raise SetupRefused(Code.TRAINING_DIFFERS, "the folder contains other files: name a new one") from None
        except (ValueError, TypeError):
            raise SetupRefused(Code.TRAINING_DIFFERS, f"the folder's {RUN_FILE} cannot be read") from None
        if differing := _differing(known, plain):
            reason = f"it differs in {', '.join(differing)}: resume the folder's own training, or name a new folder"
            raise SetupRefused(Code.TRAINING_DIFFERS, reason)


def _differing(one: Mapping[str, object], other: Mapping[str, object], above: str = "") -> list[str]:
    """The names under which two documents differ, with dots between the levels."""
    names = []
    for name in dict.fromkeys((*one, *other)):
        first, second = one.get(name), other.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            names += _differing(first, second, f"{above}{name}.")
        elif first != second:
            names.append(f"{above}{name}")
    return names
