"""The card of the weights that a training starts from: what they are fed, and what they were trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.errors import Code, ModelRefused, SetupRefused
from worker.inference.card_parts import InitialWeights
from worker.inference.model_card import ModelCard, load_card
from worker.inference.version_folder import CARD_FILE
from worker.training.config import STARTS, TrainingConfig, read_config
from worker.training.start import init_digest

_FED = ("backbone", "input_size", "channels", "resize", "roi_margin", "pixel_mean", "pixel_std")
"""Fields of a configuration and of a card: what the image network is, and what it is fed."""


def configured(
    path: Path | None, overrides: Mapping[str, object], base: TrainingConfig | None = None
) -> TrainingConfig:
    """Read a configuration as `read_config` does; the image network and its input are by default those of ``init``.

    Where a card lies beside the initial weights, its backbone and preprocessing stand in place of the defaults.

    Raises:
        SetupRefused: ``config_invalid``.
    """
    read = read_config(path, overrides, base)
    card = card_beside(read)
    if card is None:
        return read
    return read_config(path, overrides, (base or TrainingConfig()).model_copy(update=_fed_to(card)))


def require_as_on_card(config: TrainingConfig) -> None:
    """Make sure that the second stage alone feeds the image network, which stays as it is, what it was trained on.

    Raises:
        SetupRefused: ``config_invalid``; the reason says what to give.
    """
    card = card_beside(config) if config.stages == "age" else None
    if card is None:
        return
    differing = [
        f"{name} is {getattr(config, name)}, and {value} on the card beside --init"
        for name, value in _fed_to(card).items()
        if getattr(config, name) != value
    ]
    if differing:
        reason = f"{'; '.join(differing)}: stages = age needs what is on the card, so leave it out or give the same"
        raise SetupRefused(Code.CONFIG_INVALID, reason)


def initial_weights(config: TrainingConfig) -> tuple[InitialWeights, ...]:
    """Say what a training starts from, and what that started from in its turn; nothing of ImageNet's and random ones.

    Raises:
        SetupRefused: ``weights_unavailable``; the file is not there or cannot be read.
    """
    if config.init in STARTS:
        return ()
    digest, card = init_digest(config), card_beside(config)
    if card is None:
        return (InitialWeights(weights_sha256=digest),)
    [network] = [one for one in card.members or (card,) if one.weights_sha256 == digest][:1]
    first = InitialWeights(
        weights_sha256=digest,
        name=card.name,
        version=network.version,
        training_data=card.training_data,
        training=network.training,
    )
    return (first, *network.initial_weights)


def card_beside(config: TrainingConfig) -> ModelCard | None:
    """Return the card of the file to start from; ``None`` where none lies beside it that names these very weights."""
    if config.init in STARTS:
        return None
    try:
        card = load_card(Path(config.init).with_name(CARD_FILE))
        digest = init_digest(config)
    except (ModelRefused, SetupRefused, ValueError):  # a path without a name has nothing beside it
        return None
    return card if digest in card.weights_digests else None


def _fed_to(card: ModelCard) -> dict[str, Any]:
    return {name: getattr(card, name) for name in _FED}
