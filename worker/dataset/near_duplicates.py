"""Which images are the same, or nearly: by the file's bytes, by the pixels, and by how they look."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.dataset.looks import LESION_CUTS, alike, look_of
from worker.dataset.manifest import ManifestRow
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.imaging.storage import confine, open_regular
from worker.study import Roi

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells an image from others.

    Attributes:
        file_sha256: of the image's file, as `sha256sum` gives it.
        mask_sha256: of the mask's file; empty without one.
        pixels_sha256: of the decoded frame: the same whatever file it is stored in.
        look: what the frame looks like, 4,096 bytes.
        lesion_look: what the lesion looks like with a little around it, likewise.
    """

    file_sha256: str
    mask_sha256: str
    pixels_sha256: str
    look: bytes
    lesion_look: bytes


def fingerprint(
    root: Path, row: ManifestRow, frame: NDArray[np.uint8], region: Roi, limits: Limits = DEFAULT_LIMITS
) -> Fingerprint:
    """Take an image's fingerprint.

    Args:
        root: the manifest's, resolved.
        row: whose image it is.
        frame: decoded, uint8, (rows, columns) or (rows, columns, 3).
        region: the lesion's, inside the frame.
        limits: the largest file.

    Raises:
        LesionRefused: the codes of a file.
        Unavailable: ``storage_unavailable``.
    """
    return Fingerprint(
        file_sha256=file_sha256(confine(root, row.image), limits),
        mask_sha256=file_sha256(confine(root, row.mask), limits) if row.mask is not None else "",
        pixels_sha256=pixels_sha256(frame),
        look=look_of(frame),
        lesion_look=look_of(frame, region),
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
    """Return the pairs of lines whose images are the same (``True``: to the pixel) or nearly the same.

    Nearly the same are frames that look alike, cropped or not, and lesions that do: a lesion is found again where its
    frame was cropped to little more than the lesion.
    """
    lines = sorted(prints)
    places = {place: at for at, place in enumerate(lines)}
    pairs = {*alike([prints[line].look for line in lines])}
    pairs |= {*alike([prints[line].lesion_look for line in lines], LESION_CUTS)}
    pairs |= {(places[one], places[other]) for one, other in _to_the_pixel(prints)}
    return [
        (lines[one], lines[other], prints[lines[one]].pixels_sha256 == prints[lines[other]].pixels_sha256)
        for one, other in sorted(pairs)
    ]


def _to_the_pixel(prints: Mapping[int, Fingerprint]) -> Iterable[tuple[int, int]]:
    """Pairs of the same pixels, each with the first: an image that looks like nothing is still the same image."""
    first: dict[str, int] = {}
    for line, seen in sorted(prints.items()):
        before = first.setdefault(seen.pixels_sha256, line)
        if before != line:
            yield before, line
