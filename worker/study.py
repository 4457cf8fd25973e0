"""The frozen values that cross from room to room."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from db.schema.vocabulary import AgeSource, Laterality, Plane, QualityFinding, RegionSource
from worker.clinical.aggregation import spread, views_disagree
from worker.clinical.categories import Birads, Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from worker.errors import LesionRefused


@dataclass(frozen=True, slots=True)
class Roi:
    """A rectangle in pixels of the stored frame; (x, y) is its top left pixel, counted from 0."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MarkedImage:
    """A frame on which a lesion is marked, as the job has it.

    Attributes:
        sop_instance_uid: its file's.
        frame: counts from 1; ``None``: the file's only one.
        roi: the lesion's rectangle; ``None``: the header or the image's size says it.
        plane: how the transducer was held; ``None``: nobody said.
    """

    sop_instance_uid: str
    frame: int | None
    roi: Roi | None
    plane: Plane | None = None


@dataclass(frozen=True, slots=True)
class Lesion:
    """One marked lesion, as the job has it.

    Attributes:
        lesion_id: the sender's name of it.
        images: one at least, in the job's order, none twice.
        birads: the radiologist's category.
        descriptors: Table S1's.
        laterality: ``left`` or ``right``: the breast, in the sender's words.
        clock_position: on the clock face, 1 to 12.
        distance_to_nipple_mm: 0 to 300 mm.
        depth_mm: from the skin, 0 to 300 mm.
    """

    lesion_id: str
    images: tuple[MarkedImage, ...]
    birads: Birads
    descriptors: Mapping[str, str | float] = field(default_factory=dict)
    laterality: Laterality | None = None
    clock_position: int | None = None
    distance_to_nipple_mm: float | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, slots=True)
class OnDicomweb:
    """A study's images are on a DICOMweb server, by its name in the settings."""

    server: str


@dataclass(frozen=True, slots=True)
class OnPacs:
    """A study's images are on a PACS, by its name in the settings."""

    server: str


@dataclass(frozen=True, slots=True)
class Study:
    """A study to score. ``study_id`` is the ledger's opaque id; ``images`` are paths in the storage, or elsewhere."""

    study_id: UUID
    study_instance_uid: str
    priority: Priority
    age_years: float | None
    images: tuple[str, ...] | OnDicomweb | OnPacs
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True, slots=True)
class Age:
    """A patient's age at the study, 0 to 120 years, and where it came from."""

    years: float
    source: AgeSource


@dataclass(frozen=True, slots=True)
class LesionSize:
    """The extent of a lesion's ROI in millimetres, both above 0. Height is depth, away from the skin."""

    width_mm: float
    height_mm: float


@dataclass(frozen=True, slots=True)
class Scanner:
    """The scanner that an image came from, as its header says; never for a log.

    Attributes:
        model: Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090).
        site: Institution Name (0008,0080), else Station Name (0008,1010).
    """

    model: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What the header says of the examination; never for a log.

    Attributes:
        laterality: ``left``, ``right`` or ``both``: the breast that the image shows, by Image Laterality (0020,0062).
        study_date: Study Date (0008,0020).
    """

    laterality: str | None = None
    study_date: date | None = None


@dataclass(frozen=True, slots=True)
class LesionImage:
    """One image of a lesion, ready for the models' preprocessing.

    Attributes:
        frame: the decoded frame, uint8, (rows, columns) for grey or (rows, columns, 3) for RGB; white is bright.
        region: the lesion's rectangle, wholly inside ``frame``, without any margin.
        region_source: where the rectangle came from.
        age: the patient's.
        quality_warnings: what speaks against the region, and was let pass as a warning.
        size: of the job's ROI; ``None`` without one, or where the pixels' spacing is not known.
        scanner: where the image came from.
        examination: which breast it shows, and when.
    """

    frame: NDArray[np.uint8]
    region: Roi
    region_source: RegionSource
    age: Age
    quality_warnings: tuple[QualityFinding, ...] = ()
    size: LesionSize | None = None
    scanner: Scanner = Scanner()
    examination: Examination = Examination()


def site_of(images: Iterable[LesionImage]) -> str | None:
    """Return where a lesion was examined: the site of its first image that names one."""
    return next((image.scanner.site for image in images if image.scanner.site), None)


@dataclass(frozen=True, slots=True)
class Score:
    """What one model said about one lesion.

    Attributes:
        model: the model's name, ``DLR_LH`` or ``DLR_BM``.
        version: the card's version.
        probabilities: (class, probability) in the card's order; they sum to 1.
        positive_probability: that of the card's positive class.
        positive: the positive probability reached the threshold.
        predicted_class: the positive class if ``positive``, else the other.
        threshold: the card's; at a site of which the card has its own, that.
        conformal_set: the classes that the model cannot rule out, in the card's order; ``None`` where the card does
            not ask.
    """

    model: str
    version: str
    probabilities: tuple[tuple[str, float], ...]
    positive_probability: float
    positive: bool
    predicted_class: str
    threshold: float
    conformal_set: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LesionScore:
    """What one version of a model by itself said about one lesion.

    Attributes:
        score: of all images that have scores.
        images: in the order in which they were given: the positive probability, 0 to 1, that the version would give a
            lesion of this image alone, or why the image has none.
    """

    score: Score
    images: tuple[float | LesionRefused, ...]


@dataclass(frozen=True, slots=True)
class ImageScore:
    """The positive probabilities, 0 to 1, that DLR_LH and DLR_BM would give a lesion of this image alone."""

    lh: float
    bm: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Both models' scores of one lesion.

    Attributes:
        lh: DLR_LH's, of all images that have scores.
        bm: DLR_BM's, likewise.
        images: what became of each image, in the order in which they were submitted.
    """

    lh: Score
    bm: Score
    images: tuple[ImageScore | LesionRefused, ...]

    @property
    def scored_images(self) -> tuple[ImageScore, ...]:
        """Those that have scores; one at least."""
        return tuple(one for one in self.images if isinstance(one, ImageScore))

    @property
    def lh_spread(self) -> float:
        """How far DLR_LH's probabilities of the images lie apart, 0 to 1."""
        return spread([one.lh for one in self.scored_images])

    @property
    def bm_spread(self) -> float:
        """How far DLR_BM's probabilities of the images lie apart, 0 to 1."""
        return spread([one.bm for one in self.scored_images])

    @property
    def views_disagree(self) -> bool:
        """Whether images lie on both sides of either model's threshold."""
        images = self.scored_images
        return views_disagree([one.lh for one in images], self.lh.threshold) or views_disagree(
            [one.bm for one in images], self.bm.threshold
        )
