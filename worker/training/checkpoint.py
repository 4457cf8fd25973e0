"""What a training needs to go on as if it had never stopped, after any epoch.

    <output>/checkpoint/state.json                  how far it is, and what the optimizer has besides tensors
    <output>/checkpoint/epoch-<n>.safetensors       network and optimizer after n epochs
    <output>/checkpoint/best-<n>.safetensors        network after the epoch with the best validation AUC

``state.json`` is renamed into place last, and names the files that belong to it. No state of a random generator
is kept: each epoch's is made of the seed and the epoch's number.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.training.checkpoint_files import damaged, read_tensors, write_json, write_tensors

STATE_FILE = "state.json"
_NETWORK, _OPTIMIZER = "network.", "optimizer."


@dataclass(slots=True)
class Progress:
    """How far a training is.

    Attributes:
        epochs: that are done.
        history: of each, for the log.
        best_auc: the best validation AUC; below 0 before the first epoch.
        best_epoch: from 1; 0 before the first.
    """

    epochs: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_auc: float = -1.0
    best_epoch: int = 0


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: is made by the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, progress: Progress, network: nn.Module, optimizer: Optimizer) -> None:
        """Keep what an epoch ended with; what it replaces is removed afterwards."""
        self._folder.mkdir(exist_ok=True)
        state = optimizer.state_dict()
        if progress.best_epoch == progress.epochs:
            write_tensors(self._best(progress), network.state_dict())
        tensors = {f"{_NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}
        tensors |= {
            f"{_OPTIMIZER}{number}.{name}": tensor
            for number, values in state["state"].items()
            for name, tensor in values.items()
        }
        write_tensors(self._last(progress), tensors)
        document = {"param_groups": state["param_groups"]} | {
            name: getattr(progress, name) for name in Progress.__slots__
        }
        write_json(self._folder / STATE_FILE, document)
        kept = {STATE_FILE, self._best(progress).name, self._last(progress).name}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def restore(self, network: nn.Module, optimizer: Optimizer) -> Progress:
        """Put network and optimizer back to where the last checkpoint was; without one, leave them as they are.

        Raises:
            SetupRefused: ``weights_unavailable``; a file of it is not there, or not whole.
        """
        state = self._folder / STATE_FILE
        try:
            document = json.loads(state.read_bytes())
            progress = Progress(**{name: document[name] for name in Progress.__slots__})
        except FileNotFoundError:
            return Progress()
        except (ValueError, KeyError, TypeError):
            raise damaged(state) from None
        tensors = read_tensors(self._last(progress))
        network.load_state_dict(_under(_NETWORK, tensors))
        _restore_optimizer(optimizer, document["param_groups"], _under(_OPTIMIZER, tensors))
        return progress

    def take_best(self, progress: Progress, network: nn.Module) -> None:
        """Put the network to what it was after its best epoch."""
        network.load_state_dict(read_tensors(self._best(progress)))

    def remove(self) -> None:
        """Remove them, once the training is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last(self, progress: Progress) -> Path:
        return self._folder / f"epoch-{progress.epochs}.safetensors"

    def _best(self, progress: Progress) -> Path:
        return self._folder / f"best-{progress.best_epoch}.safetensors"


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: Optimizer, groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".")
        like = parameters[int(number)]
        # In the parameter's own memory format: another one may round differently.
        value = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
