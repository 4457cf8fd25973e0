"""Where a finding of a DICOM SR lies in the breast, and in which plane it was imaged, as far as that is coded.

What is not coded, or not as it is read here, stays open: a place never refuses a lesion. Read are, in TID 1410 and 1411
of PS3.16 and in a finding of TID 4206: Finding Site with its Laterality and Topographical modifier, or Laterality and
"Clockface or region" beside it; the measurements "Distance from nipple" and "Distance from skin"; and "Image View".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydicom import Dataset

from db.schema.vocabulary import Laterality, Plane
from worker.clinical.location_codes import (
    CLOCK_OR_REGION,
    CLOCK_POSITIONS,
    DISTANCE_FROM_NIPPLE,
    DISTANCE_FROM_SKIN,
    FINDING_SITE,
    IMAGE_VIEW,
    LATERALITIES,
    LATERALITY,
    MILLIMETRES,
    PLANES,
    Code,
)
from worker.contract.version_2 import LONGEST_MM

Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class FindingSite:
    """Where a lesion is, as a job has it; ``None`` where nobody says it, or says two things.

    Attributes:
        laterality: ``left`` or ``right``.
        clock_position: 1 to 12.
        distance_to_nipple_mm: 0 to 300.
        depth_mm: from the skin, 0 to 300.
    """

    laterality: Laterality | None = None
    clock_position: int | None = None
    distance_to_nipple_mm: float | None = None
    depth_mm: float | None = None


def finding_site(items: Sequence[Dataset]) -> FindingSite:
    """Return where a finding is.

    Args:
        items: the Content Items below it.
    """
    sites = [item for item in items if name_of(item) in FINDING_SITE]
    located = [*items, *(modifier for site in sites for modifier in children(site))]
    sides = [*coded(located, LATERALITY), *(code_of(site.get("ConceptCodeSequence")) for site in sites)]
    side = only(LATERALITIES[code] for code in sides if code in LATERALITIES)
    hours = coded(located, CLOCK_OR_REGION)
    return FindingSite(
        laterality=None if side is None else Laterality(side),
        clock_position=only(CLOCK_POSITIONS[code] for code in hours if code in CLOCK_POSITIONS),
        distance_to_nipple_mm=_millimetres(items, DISTANCE_FROM_NIPPLE),
        depth_mm=_millimetres(items, DISTANCE_FROM_SKIN),
    )


def image_plane(items: Sequence[Dataset]) -> Plane | None:
    """Return the plane of a finding's image, by the Content Items below the finding."""
    view = only(PLANES[code] for code in coded(items, IMAGE_VIEW) if code in PLANES)
    return None if view is None else Plane(view)


def only(said: Iterable[Said]) -> Said | None:
    """Return what all say; ``None`` where nobody says anything, or they differ."""
    different = set(said)
    return different.pop() if len(different) == 1 else None


def children(item: Dataset) -> Sequence[Dataset]:
    """Return the Content Items below one."""
    return item.get("ContentSequence") or ()


def code_of(sequence: Sequence[Dataset] | None) -> Code:
    """Return a code sequence's code; two empty texts where it has none."""
    item: Mapping[str, Any] | Dataset = sequence[0] if sequence else {}
    return str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", ""))


def name_of(item: Dataset) -> Code:
    """Return a Content Item's concept name."""
    return code_of(item.get("ConceptNameCodeSequence"))


def coded(items: Iterable[Dataset], names: Collection[Code]) -> list[Code]:
    """Return the values of the CODE items of these names."""
    return [code_of(item.get("ConceptCodeSequence")) for item in items if name_of(item) in names]


def _millimetres(items: Iterable[Dataset], names: Collection[Code]) -> float | None:
    measured = [one for item in items if name_of(item) in names for one in item.get("MeasuredValueSequence") or ()]
    lengths = [_length(one) for one in measured]
    return only(length for length in lengths if length is not None and 0 <= length <= LONGEST_MM)


def _length(measured: Dataset) -> float | None:
    factor = MILLIMETRES.get(code_of(measured.get("MeasurementUnitsCodeSequence")))
    value = measured.get("NumericValue")
    return float(value) * factor if factor is not None and isinstance(value, int | float) else None
