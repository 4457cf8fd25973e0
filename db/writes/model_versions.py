"""Puts versions of models on record. Scores of one version are on one scale, whichever host made them."""

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import ModelConflict
from db.schema.records import ModelRecord
from db.schema.tables import ModelRow

SCALE: Final[dict[str, Any]] = {
    "aggregation": "mean",
    "test_time_flip": False,
    "temperature": 1.0,
    "threshold": None,
    "conformal": None,
    "sites": {},
}
"""What of a card a score and its class depend on, beside the weights, and its value where a card has none."""


def put_on_record(session: Session, model: ModelRecord) -> int:
    """Put a version on record, unless it is; return its key.

    Raises:
        ModelConflict: the same name and version is on record with other weights, or with a card of another
            aggregation, test-time flip, temperature, threshold, conformal set or scale of a site.
    """
    session.execute(
        insert(ModelRow)
        .values(
            name=model.name,
            version=model.version,
            weights_sha256=model.weights_sha256,
            notice=model.notice,
            card=dict(model.card),
        )
        .on_conflict_do_nothing()
    )
    # Nobody changes any of what is compared, so no lock is needed, which dlr_shadow could not have.
    known = session.execute(
        select(ModelRow.id, ModelRow.weights_sha256, ModelRow.card).where(
            ModelRow.name == model.name, ModelRow.version == model.version
        )
    ).one()
    named = f"{model.name} {model.version} is on record with"
    if known.weights_sha256 != model.weights_sha256:
        raise ModelConflict(f"{named} other weights: give this one a version of its own")
    differs = [name for name, absent in SCALE.items() if known.card.get(name, absent) != model.card.get(name, absent)]
    if differs:
        raise ModelConflict(f"{named} another card, by its {', '.join(differs)}: give this one a version of its own")
    return int(known.id)
