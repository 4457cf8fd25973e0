"""A job whose study is to be found first: by its accession number, or with its lesions in the reports of its server."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.clinical.categories import Priority
from worker.contract.parts import MAX_LESIONS, DicomwebSource, PacsSource, Part, ShortText, Uid


class StudyRequest(Part):
    """A study that a server has: what of it a job leaves out is asked there before the study is on record."""

    schema_version: Literal[1, 2]
    study_instance_uid: Uid | None = Field(default=None, description="Or accession_number; where both are given, this")
    accession_number: ShortText | None = Field(
        default=None, description="Names the study, where study_instance_uid does not: one study, and not several"
    )
    priority: Annotated[Priority, Field(strict=False)] = Priority.ROUTINE
    age_years: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="At the study, in years. Default: Patient's Age, else Study Date minus Patient's Birth Date",
    )
    images: Annotated[DicomwebSource | PacsSource, Field(discriminator="kind")]
    lesions: list[Any] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LESIONS,
        description="As in a job of this schema_version. Default: those of the study's DICOM SR, SEG or GSPS",
    )

    @model_validator(mode="after")
    def _names_a_study(self) -> Self:
        if self.study_instance_uid is None and self.accession_number is None:
            raise PydanticCustomError("study", "has to have a study_instance_uid or an accession_number")
        return self
