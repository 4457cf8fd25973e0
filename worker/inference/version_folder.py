"""The folder of one version in the registry: its card and its weights, there whole or not at all.

card.json
weights.safetensors                              of a single network
weights-01.safetensors, weights-02.safetensors   of an ensemble, a file for each member
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from worker.durable_files import sync, write
from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard, load_card
from worker.inference.weights_file import sha256_of

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"

_HOW_IT_WAS_MADE = ("training", "initial_weights", "jpeg_decoder", "created_at")
"""Fields of a card that may differ when a version is made once more, by later code: its weights are the same."""


def weights_files(card: ModelCard) -> tuple[str, ...]:
    """Return the names of a version's files of weights, in the order of its card."""
    if not card.members:
        return (WEIGHTS_FILE,)
    stem, suffix = WEIGHTS_FILE.split(".")
    return tuple(f"{stem}-{place:02}.{suffix}" for place in range(1, len(card.members) + 1))


@contextmanager
def staged(card: ModelCard, weights_paths: Sequence[Path], parent: Path) -> Iterator[Path]:
    """Give a folder beside the versions of a model that holds a sound one; what is not put in place goes away again.

    Args:
        card: the version's.
        weights_paths: its weights; an ensemble's are found by their hashes, in whatever order they are given.
        parent: the model's folder.

    Raises:
        ModelRefused: ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``.
        OSError: it cannot be written.
    """
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=parent))
    try:
        staging.chmod(0o755)
        write_version(card, weights_paths, staging)
        sync(staging)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_version(card: ModelCard, weights_paths: Sequence[Path], folder: Path) -> None:
    """Write a version's card and weights into a folder, and verify them there.

    Args:
        card: the version's.
        weights_paths: its weights; an ensemble's are found by their hashes, in whatever order they are given.
        folder: an empty one.

    Raises:
        ModelRefused: ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``.
        OSError: it cannot be written.
    """
    write_card(card, folder)
    for source, name in zip(_in_order(card, weights_paths), weights_files(card), strict=True):
        _copy(source, folder / name)
    verify(card, folder)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write a version's card into its folder.

    Raises:
        OSError: it cannot be written.
    """
    write(folder / CARD_FILE, card.to_json().encode())


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


def verify(card: ModelCard, folder: Path) -> None:
    """Read the weights in a folder.

    Raises:
        ModelRefused: ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``.
    """
    import torch

    from worker.inference.weights import load_networks

    load_networks(card, [folder / name for name in weights_files(card)], torch.device("cpu"))


def _refuse_other_content(card: ModelCard, folder: Path) -> None:
    known = load_card(folder / CARD_FILE)
    compared = [field for field in ModelCard.model_fields if field not in _HOW_IT_WAS_MADE]
    differing = [field for field in compared if getattr(known, field) != getattr(card, field)]
    if differing:
        reason = f"{card.name} {card.version} already exists with another {', '.join(differing)}; give it a new version"
        raise ModelRefused(Code.MODEL_EXISTS, reason)


def _mend(folder: Path, staging: Path) -> None:
    card = load_card(folder / CARD_FILE)
    try:
        verify(card, folder)
    except ModelRefused:
        for name in weights_files(card):
            (staging / name).replace(folder / name)
        sync(folder)


def _in_order(card: ModelCard, weights_paths: Sequence[Path]) -> Sequence[Path]:
    """Return an ensemble's files in the order of its members; what does not fit is left to `verify` to refuse."""
    if len(weights_paths) != len(card.weights_digests):
        reason = f"{card.name} {card.version} takes {len(card.weights_digests)} files of weights"
        raise ModelRefused(Code.WEIGHTS_MISSING, f"{reason}, and {len(weights_paths)} are given")
    if not card.members:
        return weights_paths
    found = {sha256_of(path): path for path in weights_paths}
    missing = [member for member in card.members if member.weights_sha256 not in found]
    if missing:
        reason = f"none of the files has the SHA-256 of the member {missing[0].version}, {missing[0].weights_sha256}"
        raise ModelRefused(Code.WEIGHTS_HASH_MISMATCH, f"{card.name} {card.version}: {reason}")
    return [found[digest] for digest in card.weights_digests]


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError:
        raise ModelRefused(Code.WEIGHTS_MISSING) from None
    sync(target)
