"""The card of an ensemble, made of its members' cards."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from worker.clinical.aggregation import at_temperature
from worker.errors import Code, ModelRefused
from worker.inference.card_parts import Member, digest_of_members
from worker.inference.model_card import NOT_STATED, ModelCard, parse_card

_ALIKE = (
    "name", "stage", "backbone", "classes", "positive_class", "input_size", "channels", "resize", "pixel_mean",
    "pixel_std", "roi_margin", "age_mean", "age_sd", "test_time_flip", "aggregation",
)  # fmt: skip
"""Fields that members share: they say what a network is, what it is fed, and what it is asked."""

_LABEL_RULE = "label_rule"
_THRESHOLD_DIGITS = 4


def ensemble_card(cards: Sequence[ModelCard], version: str, threshold: float | None = None) -> ModelCard:
    """Make the card of an ensemble.

    What was measured of a member alone is not on it: metrics, reference, temperature, conformal set and sites are of
    another score. Its ``training`` has what was the same for all, and each member its own.

    Args:
        cards: of the members, two at least, in any order.
        version: of the ensemble.
        threshold: of the mean AI score, 0 to 1; ``None``: the mean of the members' thresholds, which is a start.

    Raises:
        ModelRefused: ``members_differ``: they are not of one kind, or one is an ensemble itself; ``card_invalid``: too
            few or too many, two with the same weights, the version is none, or their notices together are too long.
    """
    _require_alike(cards)
    members = tuple(_member(card) for card in cards)
    uses = {card.intended_use for card in cards}
    decoders = {card.jpeg_decoder for card in cards}
    fields = {
        **{name: value for name, value in cards[0].model_dump(mode="json").items() if name in _ALIKE},
        "schema_version": 1,
        "version": version,
        "min_images": max(card.min_images for card in cards),
        "threshold": _mean_threshold(cards) if threshold is None else threshold,
        "weights_sha256": digest_of_members(members),
        "members": [member.model_dump(mode="json") for member in members],
        "intended_use": uses.pop() if len(uses) == 1 else f"{NOT_STATED}: research only",
        "training_data": "; ".join(dict.fromkeys(card.training_data for card in cards)),
        "notice": "; ".join(dict.fromkeys(card.notice for card in cards if card.notice)),
        "jpeg_decoder": decoders.pop() if len(decoders) == 1 else None,
        "training": _in_common(cards),
        "created_at": datetime.now(UTC).isoformat(),
    }
    return parse_card(json.dumps(fields))


def _member(card: ModelCard) -> Member:
    return Member(
        version=card.version,
        weights_sha256=card.weights_sha256,
        training=card.training,
        initial_weights=card.initial_weights,
    )


def _require_alike(cards: Sequence[ModelCard]) -> None:
    nested = [card.version for card in cards if card.members]
    if nested:
        raise ModelRefused(Code.MEMBERS_DIFFER, f"{nested[0]} is an ensemble itself: name its members")
    differing = [name for name in _ALIKE if len({getattr(card, name) for card in cards}) > 1]
    if len({card.training.get(_LABEL_RULE) for card in cards}) > 1:
        differing.append(_LABEL_RULE)
    if differing:
        raise ModelRefused(Code.MEMBERS_DIFFER, f"they differ in {', '.join(differing)}")


def _mean_threshold(cards: Sequence[ModelCard]) -> float:
    """The members' thresholds are of scores at their temperatures; an ensemble's are means of scores before any."""
    before = [at_temperature(card.threshold, 1 / card.temperature) for card in cards]
    return round(sum(before) / len(before), _THRESHOLD_DIGITS)


def _in_common(cards: Sequence[ModelCard]) -> dict[str, int | float | str]:
    first, *others = (card.training for card in cards)
    return {
        name: value for name, value in first.items() if all(name in other and other[name] == value for other in others)
    }
