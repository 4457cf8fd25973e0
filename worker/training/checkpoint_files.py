"""The files of a training, there whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.durable_files import replacing, write_private
from worker.errors import Code, SetupRefused


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read.

    Raises:
        SetupRefused: ``setting_invalid``; it cannot be written.
    """
    with _written():
        write_private(path, content, alone=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a document; floats come back as they are."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, never as a pickle."""
    with _written(), replacing(path) as draft:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, draft)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote.

    Raises:
        SetupRefused: ``weights_unavailable``; it is not there, or not whole.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError):
        raise damaged(path) from None
    return tensors


def damaged(path: Path) -> SetupRefused:
    """Refuse to go on from a file of a checkpoint that is not whole."""
    reason = f"{path.parent.name}/{path.name} is damaged: remove {path.parent.name}/, and the training starts over"
    return SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError):
        reason = "--output: a file cannot be written; is the disk full? What was saved stays; the training can resume"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
