"""Contract version 1: a lesion is marked on one image. It is read for ever, and means what it always meant."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from worker.clinical.categories import Birads
from worker.contract import parts
from worker.contract.parts import MAX_LESIONS, Descriptors, Part, RoiJob, ShortText, Uid
from worker.study import Lesion, MarkedImage


def _lettered(birads: Birads) -> Birads:
    if birads is Birads.SUSPICIOUS:
        reason = "has to be '0', '1', '2', '3', '4A', '4B', '4C', '5' or '6'; schema_version 2 takes '4' as well"
        raise PydanticCustomError("birads", reason)
    return birads


class LesionJob(Part):
    """One lesion that a radiologist marked."""

    lesion_id: ShortText = Field(description="The sender's name of the lesion, unique in the study")
    sop_instance_uid: Uid
    frame: int | None = Field(
        default=None, ge=1, lt=2**31, description="Counts from 1, as in DICOM; required if the file has several frames"
    )
    roi: RoiJob | None = Field(
        default=None,
        description="Default: the B-mode region of Sequence of Ultrasound Regions, else the whole image",
    )
    birads: Annotated[Birads, Field(strict=False), AfterValidator(_lettered)]
    descriptors: Descriptors = Field(default_factory=dict, description="Table S1's names and levels")


class StudyJob(parts.StudyJob):  # noqa: D101  it is said once, and stands in the schema
    __doc__ = parts.StudyJob.__doc__

    schema_version: Literal[1]
    lesions: list[LesionJob] = Field(min_length=1, max_length=MAX_LESIONS)

    @property
    def marked(self) -> tuple[Lesion, ...]:
        """The lesions, each with its image."""
        return tuple(
            Lesion(
                lesion.lesion_id,
                (MarkedImage(lesion.sop_instance_uid, lesion.frame, lesion.roi.value if lesion.roi else None),),
                lesion.birads,
                lesion.descriptors,
            )
            for lesion in self.lesions
        )
