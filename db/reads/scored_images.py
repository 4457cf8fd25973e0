"""The images of lesions as they were scored: what it takes to look at them again."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_

from db.reads.study_queries import box_of
from db.schema.images import MarkedImageRow
from db.schema.records import Box
from db.schema.tables import LesionRow
from db.schema.vocabulary import LesionState


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """An image of a lesion, as it was scored.

    Attributes:
        key: the ledger's.
        sop_instance_uid: of its file.
        frame: from 1; ``None``: the only one.
        region: that was scored: x, y, width and height in pixels of the stored frame.
    """

    key: int
    sop_instance_uid: str
    frame: int | None
    region: Box


SCORED_IMAGE: Final = (
    MarkedImageRow.id.label("image_key"),
    MarkedImageRow.sop_instance_uid,
    MarkedImageRow.frame,
    MarkedImageRow.region_x,
    MarkedImageRow.region_y,
    MarkedImageRow.region_width,
    MarkedImageRow.region_height,
)
"""The columns of which `scored_image` makes one."""

IS_SCORED_IMAGE: Final = and_(MarkedImageRow.lesion_id == LesionRow.id, MarkedImageRow.state == LesionState.SCORED)
"""Joins a lesion with its images that were scored."""


def scored_image(row: Any) -> ScoredImage:
    """Make one of a row that has `SCORED_IMAGE`."""
    region = box_of(row.region_x, row.region_y, row.region_width, row.region_height)
    assert region is not None  # noqa: S101  an image that was scored has a region
    return ScoredImage(row.image_key, row.sop_instance_uid, row.frame, region)
