"""The images of a study's lesions: what the page shows of each, and its pictures."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session as Reading
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.reads import worklist_page
from db.reads.worklist_page_records import ImageResultRow
from worker.errors import Refused
from worker.reporting.explanation import number_in_name
from worker.web.heat_maps import HeatMaps
from worker.web.pictures import Kind
from worker.web.sessions import Session
from worker.web.site import Site

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"[0-9]{1,9}")
"""A lesion's or an image's, in few enough digits for PostgreSQL; of thousands, Python itself makes no number."""


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image of a lesion, as the page shows it.

    Attributes:
        result: what came of it.
        is_stored: its file is in the storage, so that there are pictures of it.
        heat_maps: the models of which there is a heat map of it.
    """

    result: ImageResultRow
    is_stored: bool
    heat_maps: tuple[str, ...]


def images_shown(
    reading: Reading, heat_maps: HeatMaps, study_id: UUID, ended: datetime | None
) -> Mapping[int, Sequence[ShownImage]]:
    """Return the images of each lesion of a study, by the lesion's ordinal."""
    rows, pictured = worklist_page.images(reading, study_id), worklist_page.pictured(reading, study_id)
    shown: dict[int, list[ShownImage]] = {}
    for row in rows:
        number = number_in_name(row.image, _scored(rows, row.ordinal))
        models = heat_maps.models(study_id, row.ordinal, ended, number) if row.state == "scored" else ()
        is_stored = (row.ordinal, row.image) in pictured
        shown.setdefault(row.ordinal, []).append(ShownImage(row, is_stored, models))
    return shown


def picture(request: Request, site: Site, who: Session) -> Response:
    """Give a picture of an image of a lesion, made from its file now."""
    study_id, kind = request.path_params["study_id"], request.path_params["kind"]
    ordinal, number = _numbers(request)
    if kind not in set(Kind):
        raise HTTPException(404)
    with site.database() as session:
        image = worklist_page.lesion_image(session, study_id, ordinal, number)
    if image is None:
        raise HTTPException(404)
    try:
        png = site.pictures.png(image, Kind(kind))
    except Refused as refused:
        logger.warning("no picture of image %d of lesion %d of study %s: %s", number, ordinal, study_id, refused.code)
        raise HTTPException(404) from None
    logger.debug("%s saw image %d of lesion %d of study %s", who.name, number, ordinal, study_id)
    return Response(png, media_type="image/png")


def heat_map(request: Request, site: Site, _who: Session) -> Response:
    """Give a heat map of an image of a lesion, if there is one of its result."""
    study_id, model = request.path_params["study_id"], request.path_params["model"]
    ordinal, number = _numbers(request)
    with site.database() as session:
        listed = worklist_page.listed_state(session, study_id)
        scored = _scored(worklist_page.images(session, study_id), ordinal)
    if listed is None or number not in scored:
        raise HTTPException(404)
    png = site.heat_maps.png(study_id, ordinal, model, listed.finished_at, number_in_name(number, scored))
    if png is None:
        raise HTTPException(404)
    return Response(png, media_type="image/png")


def _scored(images: Sequence[ImageResultRow], ordinal: int) -> list[int]:
    """Return the numbers of a lesion's images that were scored."""
    return [one.image for one in images if one.ordinal == ordinal and one.state == "scored"]


def _numbers(request: Request) -> tuple[int, int]:
    """Return the lesion's ordinal and the image's number, as the address has them."""
    texts = request.path_params["ordinal"], request.path_params["image"]
    if not all(map(_NUMBER.fullmatch, texts)):
        raise HTTPException(404)
    return int(texts[0]), int(texts[1])
