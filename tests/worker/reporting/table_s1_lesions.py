"""746 lesions that have the counts, means and standard deviations of the study's Table S1, each feature for itself."""

import csv
import math
from importlib.resources import files
from pathlib import Path
from statistics import NormalDist, fmean, stdev

COLUMNS = ("feature", "level", "total", "benign", "malignant", "p_value", "statistic")
BEFORE_ROUNDING = {
    # Table S1 prints means to two digits. Of all lesions' 0.62, and of the P value 0.358, these tell a third one.
    "aspect_ratio": (0.584, 0.664),
    "distance_lesion_to_surface_mm": (6.121, 6.509),
}
"""Means of the benign and of the malignant lesions, which round to the printed ones."""


def published() -> list[dict[str, str]]:
    """The rows of Table S1."""
    with files("worker.phantom").joinpath("table_s1.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def study_lesions() -> list[dict[str, str]]:
    """The lesions as rows of a manifest."""
    columns = [_class_lesions(name, place) for place, name in enumerate(("benign", "malignant"))]
    return [
        {"pathology": result, "lesion_id": "L1", "patient_key": f"{result}-{number}", "birads": "4A"} | lesion
        for result, lesions in zip(("benign", "malignant"), columns, strict=True)
        for number, lesion in enumerate(lesions)
    ]


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows to a manifest."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _class_lesions(column: str, place: int) -> list[dict[str, str]]:
    features: dict[str, list[str]] = {}
    lesions = 0
    for row in published():
        feature, cell = row["feature"], row[column]
        if feature == "n":
            lesions = int(cell)
        elif "±" in cell:
            mean, sd = map(float, cell.split("±"))
            hidden = BEFORE_ROUNDING.get(feature, (mean, mean))[place]
            features[feature] = [
                repr(value) for value in _sample(lesions, hidden, sd, symmetric=feature == "age_years")
            ]
        else:
            features.setdefault(feature, []).extend([row["level"]] * int(cell))
    return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]


def _sample(count: int, mean: float, sd: float, *, symmetric: bool) -> list[float]:
    """Numbers with exactly this mean and deviation; those of a length are skewed, so that none is negative."""
    places = [(place + 0.5) / count for place in range(count)]
    shape = [NormalDist().inv_cdf(place) if symmetric else (-math.log(1 - place)) ** 1.5 for place in places]
    middle, spread = fmean(shape), stdev(shape)
    return [mean + sd * (value - middle) / spread for value in shape]
