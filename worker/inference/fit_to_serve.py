"""What keeps a version from service, by its card alone."""

from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard


def require_age_stage(card: ModelCard) -> None:
    """Make sure that a version scores with image and age, as all do that serve, shadow or score what is stored.

    Raises:
        ModelRefused: ``model_image_only``.
    """
    if card.stage == "image":
        reason = (
            f"{card.name} {card.version} is of the image stage alone and has no classifier with age, so it cannot "
            "serve: train the second stage from its weights (`dlr train --stages age --init WEIGHTS`)"
        )
        raise ModelRefused(Code.MODEL_IMAGE_ONLY, reason)


def lacking_of(card: ModelCard) -> ModelRefused | None:
    """Return what speaks against activating a version, short of force."""
    if card.metrics and card.states_its_use:
        return None
    what, code = (
        ("states no intended use, or has no notice", Code.MODEL_UNSTATED)
        if card.metrics
        else ("has no metrics", Code.MODEL_UNMEASURED)
    )
    mend = "write them on it under a new version and add that, or say --force"
    return ModelRefused(code, f"the card of {card.name} {card.version} {what}: {mend}")
