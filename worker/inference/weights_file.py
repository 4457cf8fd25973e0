"""The file of a network's weights: read once, and hashed as it was read. No torch here."""

import hashlib
from pathlib import Path

from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard


def read_weights(card: ModelCard, path: Path, place: int = 0) -> bytes:
    """Read the weights that a card names.

    Args:
        card: the model's.
        path: the file's.
        place: of an ensemble, the member's.

    Returns:
        The file's content, whose SHA-256 is the one on the card.

    Raises:
        ModelRefused: ``weights_missing``; ``weights_hash_mismatch``.
    """
    content = _read(path)
    digest, expected = hashlib.sha256(content).hexdigest(), card.weights_digests[place]
    if digest != expected:
        raise ModelRefused(
            Code.WEIGHTS_HASH_MISMATCH,
            f"{card.name} {card.version}: SHA-256 {expected} on the card, {digest} in the file",
        )
    return content


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in lower-case hexadecimal.

    Raises:
        ModelRefused: ``weights_missing``, when the file is not there or cannot be read.
    """
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ModelRefused(Code.WEIGHTS_MISSING) from None
