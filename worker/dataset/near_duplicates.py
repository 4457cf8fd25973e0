"""Which images are the same, or nearly: by the file's bytes, by the pixels, and by how they look."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.dataset.manifest import ManifestRow
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.imaging.storage import confine, open_regular

SIDE = 16
"""The difference hash compares 16 x 16 neighbours: 256 bits."""

MOST_BITS = 24
"""Images whose hashes differ in no more of the 256 bits are nearly the same. Two phantoms differ in over 80;
one that was stored anew, scaled or made brighter, from itself in 19 or fewer."""


_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells an image from others.

    Attributes:
        file_sha256: of the image's file, as `sha256sum` gives it.
        mask_sha256: of the mask's file; empty without one.
        pixels_sha256: of the decoded frame: the same whatever file it is stored in.
        look: the difference hash of the frame, 32 bytes.
    """

    file_sha256: str
    mask_sha256: str
    pixels_sha256: str
    look: bytes


def fingerprint(root: Path, row: ManifestRow, frame: NDArray[np.uint8], limits: Limits = DEFAULT_LIMITS) -> Fingerprint:
    """Take an image's fingerprint.

    Args:
        root: the manifest's, resolved.
        row: whose image it is.
        frame: decoded, uint8, (rows, columns) or (rows, columns, 3).
        limits: the largest file.

    Raises:
        LesionRefused: the codes of a file.
        Unavailable: ``storage_unavailable``.
    """
    return Fingerprint(
        file_sha256=file_sha256(confine(root, row.image), limits),
        mask_sha256=file_sha256(confine(root, row.mask), limits) if row.mask is not None else "",
        pixels_sha256=pixels_sha256(frame),
        look=difference_hash(frame),
    )


def pixels_sha256(frame: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a decoded frame and its shape: the same whatever file it is stored in."""
    shape = ",".join(map(str, frame.shape)).encode()
    return hashlib.sha256(shape + b":" + np.ascontiguousarray(frame).tobytes()).hexdigest()


def file_sha256(path: Path, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open_regular(path, limits) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def difference_hash(frame: NDArray[np.uint8]) -> bytes:
    """Return the difference hash (dHash) of a frame: in 16 rows of 17 means, whether each is brighter than the next.

    It stays nearly the same when an image is stored anew, made larger or smaller, brighter or darker.

    Args:
        frame: uint8, (rows, columns) or (rows, columns, 3).

    Returns:
        256 bits.
    """
    grey = Image.fromarray(frame).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    means = np.asarray(grey, np.int16)
    return np.packbits(means[:, 1:] > means[:, :-1]).tobytes()


def alike(looks: Sequence[bytes], most_bits: int = MOST_BITS) -> list[tuple[int, int]]:
    """Return the pairs of places, the lower first, whose hashes differ in at most so many bits."""
    if not looks:
        return []
    words = np.frombuffer(b"".join(looks), np.uint64).reshape(len(looks), -1)
    pairs: list[tuple[int, int]] = []
    for place in range(len(words) - 1):
        differing = np.bitwise_count(words[place + 1 :] ^ words[place]).sum(axis=1)
        pairs += [(place, place + 1 + int(other)) for other in np.flatnonzero(differing <= most_bits)]
    return pairs


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of ``count`` places the lowest that it is joined to by pairs, directly or by others."""
    lowest = list(range(count))

    def of(place: int) -> int:
        while lowest[place] != place:
            lowest[place] = lowest[lowest[place]]
            place = lowest[place]
        return place

    for one, other in pairs:
        low, high = sorted((of(one), of(other)))
        lowest[high] = low
    return [of(place) for place in range(count)]


def same_or_alike(prints: Mapping[int, Fingerprint]) -> list[tuple[int, int, bool]]:
    """Return the pairs of lines whose images are the same (``True``: to the pixel) or nearly the same."""
    lines = sorted(prints)
    return [
        (lines[one], lines[other], prints[lines[one]].pixels_sha256 == prints[lines[other]].pixels_sha256)
        for one, other in alike([prints[line].look for line in lines])
    ]
