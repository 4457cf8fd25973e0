"""The tables of a lesion's images: where each is marked, how far it came, and what each version of each model said.

Why they are rows of their own: docs/decisions/0048-a-lesion-s-images-are-rows.md.
"""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.schema.base import Base
from db.schema.vocabulary import Laterality, LesionState, Plane, QualityFinding, RegionSource

if TYPE_CHECKING:
    from db.schema.tables import ModelRow

_GATE = ", ".join(f"'{reason.value}'" for reason in QualityFinding)


class MarkedImageRow(Base):
    """One image of one lesion: a frame on which the sender marked it."""

    __tablename__ = "marked_image"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    lesion_id: Mapped[int] = mapped_column(ForeignKey("lesion.id"))
    ordinal: Mapped[int]
    sop_instance_uid: Mapped[str]
    frame: Mapped[int | None]
    roi_x: Mapped[int | None]
    roi_y: Mapped[int | None]
    roi_width: Mapped[int | None]
    roi_height: Mapped[int | None]
    plane: Mapped[Plane | None]
    state: Mapped[LesionState] = mapped_column(server_default=LesionState.WAITING)
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    region_x: Mapped[int | None]
    region_y: Mapped[int | None]
    region_width: Mapped[int | None]
    region_height: Mapped[int | None]
    region_source: Mapped[RegionSource | None]
    gate: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))
    width_mm: Mapped[float | None]
    height_mm: Mapped[float | None]
    laterality: Mapped[Laterality | None]

    predictions: Mapped[list["ImagePredictionRow"]] = relationship(order_by="ImagePredictionRow.model_id")

    __table_args__ = (
        UniqueConstraint("lesion_id", "ordinal"),
        CheckConstraint("ordinal >= 1 AND frame >= 1", "counts_from_one"),
        CheckConstraint("num_nonnulls(roi_x, roi_y, roi_width, roi_height) IN (0, 4)", "roi_is_whole"),
        CheckConstraint(
            "num_nonnulls(region_x, region_y, region_width, region_height, region_source) IN (0, 5)", "region_is_whole"
        ),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", "failed_says_why"),
        CheckConstraint(f"gate <@ ARRAY[{_GATE}]", "gate"),
        CheckConstraint("num_nonnulls(width_mm, height_mm) IN (0, 2)", "size_is_whole"),
        CheckConstraint("width_mm > 0 AND height_mm > 0", "size"),
        {"comment": "One image of one lesion, as the sender marked it, and how far it came"},
    )


class ImagePredictionRow(Base):
    """What one version of a model said about one image; its lesion's prediction is made of those of all its images."""

    __tablename__ = "image_prediction"

    image_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("marked_image.id"), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, index=True)
    positive_probability: Mapped[float]

    model: Mapped["ModelRow"] = relationship()

    __table_args__ = (
        CheckConstraint("positive_probability BETWEEN 0 AND 1", "probability"),
        {"comment": "What one version of a model said about one image of a lesion; a newer version adds rows"},
    )
