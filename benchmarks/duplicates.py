"""``python -m benchmarks.duplicates MANIFEST...``: how well copies are found again by their look, on real images.

Of each manifest, every pair of images of different patients is looked at: a pair that is joined is a known copy or a
false join. Known copies are in ``known_copies.csv``: BUSI's by SIFT features with RANSAC (OpenCV: 400 features at 400
pixels, ratio 0.8; 60 inliers at least that span 100 pixels either way), and of both sets those that were joined besides
and that a person saw to be one scene. What else is joined is listed by name, to be looked at.

Then of some images, drawn at random, copies are made in each of several ways, and put among the images: which of them
are joined to their own image says what is missed, and which to another patient's what is falsely joined.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import machine
from benchmarks.measuring import say_on_stderr
from worker.clinical.proportions import proportion
from worker.dataset.looks import LESION_CUTS, alike, look_of
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_file import read_manifest
from worker.dataset.manifest_image import mask_roi, read_picture
from worker.study import Roi
from worker.training.calipers import with_calipers

KNOWN = Path(__file__).with_name("known_copies.csv")
NAMES = {"bus-bra": "BUS-BRA", "breast": "BrEaST", "busi": "BUSI"}

Frame = NDArray[np.uint8]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a set: its file's name, whose it is, and where its lesion is, if it has one."""

    name: str
    patient: str
    frame: Frame
    region: Roi | None


def pictures_of(manifest: Path) -> list[Picture]:
    """Read each image of a manifest once, those of rows that are excluded too."""
    read = read_manifest(manifest)
    rows: dict[str, ManifestRow] = {}
    for row in read.rows.values():
        rows.setdefault(row.image, row)
    return [_picture(read.root, row) for row in rows.values()]


def _picture(root: Path, row: ManifestRow) -> Picture:
    frame = read_picture(root / row.image)
    region = row.roi
    if row.mask is not None:
        marked, shape = mask_roi(root / row.mask)
        region = marked if shape == frame.shape[:2] else region
    return Picture(Path(row.image).stem, row.patient_key, frame, region)


def joined(pictures: Sequence[Picture]) -> set[tuple[int, int]]:
    """Return the pairs of places that the product takes for one image, by the frame or by the lesion."""
    found = {*alike([look_of(one.frame) for one in pictures])}
    marked = [at for at, one in enumerate(pictures) if one.region is not None]
    lesions = alike([look_of(pictures[at].frame, pictures[at].region) for at in marked], LESION_CUTS)
    return found | {(marked[one], marked[other]) for one, other in lesions}


def known_copies(of: str) -> dict[Pair, str]:
    """Return the pairs of file names of a set that are known to be of one image, and by what: ``sift`` or ``eye``."""
    with KNOWN.open(encoding="utf-8", newline="") as file:
        return {_pair(row["one"], row["other"]): row["by"] for row in csv.DictReader(file) if row["set"] == of}


def _pair(one: str, other: str) -> Pair:
    low, high = sorted((one, other))
    return low, high


# --- copies, as they are made


def _stored_anew(picture: Picture, rng: np.random.Generator) -> tuple[Frame, Roi | None]:
    """Scaled, with another brightness and contrast, calipers drawn in, and stored as JPEG."""
    grey = np.asarray(Image.fromarray(picture.frame).convert("L"), np.float32)
    shown = np.clip((grey - 128) * rng.uniform(0.75, 1.25) + 128 + rng.uniform(-30, 30), 0, 255)
    marked = _with_calipers(shown, int(rng.integers(2**31)))
    scale = rng.uniform(0.5, 1.5)
    size = [max(round(side * scale), 32) for side in reversed(marked.shape)]
    file = BytesIO()
    Image.fromarray(marked.astype(np.uint8)).resize((size[0], size[1])).save(
        file, "JPEG", quality=int(rng.integers(50, 96))
    )
    return np.asarray(Image.open(file)), None if picture.region is None else _scaled(picture.region, scale)


def _with_calipers(shown: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    side = min(shown.shape)
    top, left = ((whole - side) // 2 for whole in shown.shape)
    middle = shown[top : top + side, left : left + side]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        middle[:] = 255 * with_calipers(torch.from_numpy(middle[np.newaxis] / 255))[0].numpy()
    return shown


def _scaled(region: Roi, scale: float) -> Roi:
    x, y, width, height = (round(side * scale) for side in (region.x, region.y, region.width, region.height))
    return Roi(x, y, max(width, 1), max(height, 1))


def _cropped(most: float, picture: Picture, rng: np.random.Generator) -> tuple[Frame, Roi | None]:
    """Cropped at each of four sides by up to a share of it, and stored anew; a lesion that is cut is none any more."""
    rows, columns = picture.frame.shape[:2]
    first, last = rng.uniform(0, most, 2), 1 - rng.uniform(0, most, 2)
    (top, left), (bottom, right) = ((int(rows * share[0]), int(columns * share[1])) for share in (first, last))
    inside = picture.frame[top:bottom, left:right]
    region = None if picture.region is None else _inside(picture.region, left, top, right, bottom)
    return _stored_anew(Picture(picture.name, picture.patient, inside, region), rng)


def _inside(region: Roi, left: int, top: int, right: int, bottom: int) -> Roi | None:
    if region.x < left or region.y < top or region.x + region.width > right or region.y + region.height > bottom:
        return None
    return Roi(region.x - left, region.y - top, region.width, region.height)


Copied = Callable[[Picture, np.random.Generator], tuple[Frame, Roi | None]]

WAYS: Mapping[str, Copied] = {
    "scaled, brightened, with calipers, stored anew": _stored_anew,
    "the same, cropped by up to 10 % at each side": partial(_cropped, 0.1),
    "the same, cropped by up to 20 % at each side": partial(_cropped, 0.2),
    "the same, cropped by up to 40 % at each side": partial(_cropped, 0.4),
}


def copies(pictures: Sequence[Picture], way: Copied, seed: int = 0) -> list[Picture]:
    """Make a copy of each picture; the same seed makes the same ones."""
    made = []
    for at, picture in enumerate(pictures):
        frame, region = way(picture, np.random.default_rng([seed, at]))
        made.append(Picture(f"copy of {picture.name}", picture.patient, frame, region))
    return made


# --- what is measured


def measured(manifest: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Measure one set: what is joined in it, and what is found of the copies of ``count`` of its images."""
    pictures, known = pictures_of(manifest), known_copies(manifest.stem)
    say_on_stderr(f"{manifest.stem}: {len(pictures)} images")
    apart = {pair for pair in joined(pictures) if pictures[pair[0]].patient != pictures[pair[1]].patient}
    strangers = {_pair(*(pictures[at].name for at in pair)) for pair in apart}
    names = {one.name for one in pictures}
    by_sift = {pair for pair, by in known.items() if by == "sift" and names.issuperset(pair)}
    drawn = sorted(np.random.default_rng(seed).permutation(len(pictures))[:count].tolist())
    return {
        "set": manifest.stem,
        "images": len(pictures),
        "patients": len({one.patient for one in pictures}),
        "pairs_of_different_patients": _pairs_apart(pictures),
        "by_sift": len(by_sift),
        "missed": sorted(by_sift - strangers),
        "joined_besides": len((strangers & known.keys()) - by_sift),
        "others_joined": sorted(strangers - known.keys()),
        "copies": [_of_copies(pictures, drawn, name, way, apart) for name, way in WAYS.items()],
    }


def _pairs_apart(pictures: Sequence[Picture]) -> int:
    _, counts = np.unique([one.patient for one in pictures], return_counts=True)
    return int((len(pictures) ** 2 - (counts**2).sum()) // 2)


def _of_copies(
    pictures: Sequence[Picture], drawn: Sequence[int], name: str, way: Copied, before: set[tuple[int, int]]
) -> dict[str, Any]:
    say_on_stderr(name)
    count = len(pictures)
    made = copies([pictures[at] for at in drawn], way)
    with_images = {(one, drawn[other - count]) for one, other in joined([*pictures, *made]) if one < count <= other}
    strangers = [
        pair
        for pair in with_images
        if pictures[pair[0]].patient != pictures[pair[1]].patient and (min(pair), max(pair)) not in before
    ]
    found = sum((at, at) in with_images for at in drawn)
    return {"way": name, "found": found, "of": len(drawn), "joined_to_strangers": len(strangers)}


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Write the table for the decision on looks."""
    sets = figures["sets"]
    lines = [f"| | {' | '.join(_heading(one) for one in sets)} |", f"|{' --- |' * (len(sets) + 1)}"]
    rows: dict[str, list[str]] = {
        "copies that SIFT finds, missed": [
            f"{len(one['missed'])} of {one['by_sift']}" if one["by_sift"] else "not sought" for one in sets
        ],
        "joined besides, and seen to be one scene": [str(one["joined_besides"]) for one in sets],
        "other pairs of different patients, joined": [
            f"{len(one['others_joined'])} of {one['pairs_of_different_patients']:,}" for one in sets
        ],
    }
    for place, (way, _) in enumerate(WAYS.items()):
        rows[f"made copies, found: {way}"] = [_share(one["copies"][place]) for one in sets]
    rows["made copies of all four kinds, joined to a stranger"] = [
        f"{sum(way['joined_to_strangers'] for way in one['copies'])} of {sum(way['of'] for way in one['copies']):,}"
        for one in sets
    ]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())]) + "\n"


def _heading(one: Mapping[str, Any]) -> str:
    return f"{NAMES.get(one['set'], one['set'])}: {one['images']:,} images, {one['patients']:,} patients"


def _share(one: Mapping[str, Any]) -> str:
    found = proportion(one["found"], one["of"])
    return f"{100 * found.count / found.total:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.duplicates", description=__doc__)
    parser.add_argument("manifests", type=Path, nargs="+", help="of `dlr dataset import`: bus-bra.csv, busi.csv")
    parser.add_argument("--copies", type=int, default=400, help="images of each set that copies are made of")
    parser.add_argument("--out", type=Path, help="the JSON file of the figures")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures = {"machine": machine(), "sets": [measured(path, asked.copies) for path in asked.manifests]}
    if asked.out is not None:
        asked.out.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write(as_markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
