"""The folder of one version in the registry: its card and its weights, there whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.durable_files import sync, write
from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard, load_card

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"

_HOW_IT_WAS_MADE = ("training", "jpeg_decoder", "created_at")
"""Fields of a card that may differ when a version is made once more, by later code: its weights are the same."""


@contextmanager
def staged(card: ModelCard, weights_path: Path, parent: Path) -> Iterator[Path]:
    """Give a folder beside the versions of a model that holds a sound one; what is not put in place goes away again.

    Raises:
        ModelRefused: ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``.
        OSError: it cannot be written.
    """
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=parent))
    try:
        staging.chmod(0o755)
        write(staging / CARD_FILE, card.to_json().encode())
        _copy(weights_path, staging / WEIGHTS_FILE)
        verify(card, staging / WEIGHTS_FILE)
        sync(staging)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def put_in_place(card: ModelCard, staging: Path, folder: Path) -> ModelCard:
    """Put a staged version in its place; where it is there already, mend its weights. Return the card that is there.

    Raises:
        ModelRefused: ``model_exists``: another one is there.
        OSError: it cannot be written.
    """
    if not folder.exists():
        staging.rename(folder)
        sync(folder.parent)
        return card
    _refuse_other_content(card, folder)
    _mend(folder, staging)
    return load_card(folder / CARD_FILE)


def verify(card: ModelCard, weights_path: Path) -> None:
    """Read the weights.

    Raises:
        ModelRefused: ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``.
    """
    import torch

    from worker.inference.weights import load_network

    load_network(card, weights_path, torch.device("cpu"))


def _refuse_other_content(card: ModelCard, folder: Path) -> None:
    known = load_card(folder / CARD_FILE)
    compared = [field for field in ModelCard.model_fields if field not in _HOW_IT_WAS_MADE]
    differing = [field for field in compared if getattr(known, field) != getattr(card, field)]
    if differing:
        reason = f"{card.name} {card.version} already exists with another {', '.join(differing)}; give it a new version"
        raise ModelRefused(Code.MODEL_EXISTS, reason)


def _mend(folder: Path, staging: Path) -> None:
    card, weights_path = load_card(folder / CARD_FILE), folder / WEIGHTS_FILE
    try:
        verify(card, weights_path)
    except ModelRefused:
        (staging / WEIGHTS_FILE).replace(weights_path)
        sync(folder)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError:
        raise ModelRefused(Code.WEIGHTS_MISSING) from None
    sync(target)
