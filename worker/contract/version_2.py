"""Contract version 2: a lesion is marked on as many images as it was examined on, and has its place in the breast."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from db.schema.vocabulary import Laterality, Plane
from worker.clinical.categories import Birads
from worker.contract import parts
from worker.contract.parts import MAX_LESIONS, Descriptors, Frame, Part, RoiJob, ShortText, Uid
from worker.study import Lesion, MarkedImage

MAX_IMAGES = 64
"""Of one lesion; a cine loop of a lesion has about as many frames that show it."""

LONGEST_MM = 300
"""No distance in a breast is longer, in millimetres."""

Millimetres = Annotated[float, Field(ge=0, le=LONGEST_MM, allow_inf_nan=False)]


class ImageJob(Part):
    """An image, or several frames of one, on which a lesion is marked."""

    sop_instance_uid: Uid
    frame: Frame | None = Field(
        default=None, description="Counts from 1, as in DICOM; required if the file has several frames"
    )
    frames: list[Frame] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_IMAGES,
        exclude=True,
        description="Instead of frame: several frames of the file, all with this roi; each is an image of the lesion",
    )
    roi: RoiJob | None = Field(
        default=None,
        description="Default: the B-mode region of Sequence of Ultrasound Regions, else the whole image",
    )
    plane: Annotated[Plane, Field(strict=False)] | None = Field(
        default=None, description="How the transducer was held: from the nipple outwards (radial), across that, ..."
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.frame is not None and self.frames is not None:
            raise PydanticCustomError("frames", "has frame and frames; one of them says it")
        return self

    @property
    def each(self) -> list["ImageJob"]:
        """One image a frame."""
        if self.frames is None:
            return [self]
        return [self.model_copy(update={"frame": frame, "frames": None}) for frame in self.frames]


def _each_once(images: list[ImageJob]) -> list[ImageJob]:
    each = [one for image in images for one in image.each]
    if len(each) > MAX_IMAGES:
        raise PydanticCustomError("images", "has more than {most} images", {"most": MAX_IMAGES})
    # Without a number, a frame is the file's only one, which is its first.
    if len({(image.sop_instance_uid, image.frame or 1) for image in each}) < len(each):
        raise PydanticCustomError("images", "has the same image twice")
    return each


class LesionJob(Part):
    """One lesion that a radiologist marked, on one image or several."""

    lesion_id: ShortText = Field(description="The sender's name of the lesion, unique in the study")
    birads: Annotated[Birads, Field(strict=False)] = Field(
        description="4 is 4 without a letter: it is scored, and gets no advice, since nothing says that it is 4A"
    )
    images: Annotated[list[ImageJob], AfterValidator(_each_once)] = Field(
        min_length=1, max_length=MAX_IMAGES, description="Scored together: the lesion gets one score and one advice"
    )
    laterality: Annotated[Literal["left", "right"] | None, Field()] = Field(
        default=None, description="The breast. Default: Image Laterality (0020,0062), where the images agree"
    )
    clock_position: int | None = Field(default=None, ge=1, le=12, description="On the clock face, in hours")
    distance_to_nipple_mm: Millimetres | None = Field(default=None, description="From the nipple")
    depth_mm: Millimetres | None = Field(default=None, description="From the skin")
    descriptors: Descriptors = Field(default_factory=dict, description="Table S1's names and levels")


class StudyJob(parts.StudyJob):  # noqa: D101  it is said once, and stands in the schema
    __doc__ = parts.StudyJob.__doc__

    schema_version: Literal[2]
    lesions: list[LesionJob] = Field(min_length=1, max_length=MAX_LESIONS)

    @property
    def marked(self) -> tuple[Lesion, ...]:
        """The lesions, each with its images."""
        return tuple(_lesion(lesion) for lesion in self.lesions)


def _lesion(job: LesionJob) -> Lesion:
    return Lesion(
        lesion_id=job.lesion_id,
        images=tuple(
            MarkedImage(image.sop_instance_uid, image.frame, image.roi.value if image.roi else None, image.plane)
            for image in job.images
        ),
        birads=job.birads,
        descriptors=job.descriptors,
        laterality=None if job.laterality is None else Laterality(job.laterality),
        clock_position=job.clock_position,
        distance_to_nipple_mm=job.distance_to_nipple_mm,
        depth_mm=job.depth_mm,
    )
