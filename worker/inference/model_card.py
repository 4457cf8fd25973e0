"""A model's card: all that is needed to run it besides its weights, and what a person has to know of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AwareDatetime, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from db.schema.records import ModelRecord
from worker.clinical.aggregation import MOST_IMAGES, Aggregation, at_temperature
from worker.errors import Code, ModelRefused
from worker.inference.card_parts import (
    SHA256_PATTERN,
    VERSION_PATTERN,
    CardPart,
    Conformal,
    Fraction,
    InitialWeightsInTurn,
    Member,
    OnUnitScale,
    Positive,
    Reference,
    SiteScale,
    Spread,
    digest_of_members,
)
from worker.validation_errors import flaws_of

MAX_CARD_BYTES = 1 << 20
_REASON_FAULTS = 5

MOST_MEMBERS = 16
"""Of an ensemble."""

ModelName = Literal["DLR_LH", "DLR_BM"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)
CLASSES: dict[ModelName, tuple[str, str]] = {
    "DLR_LH": ("low_risk", "high_risk"),
    "DLR_BM": ("benign", "malignant"),
}
"""Each model's question, negative answer first."""

Backbone = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)
"""The ResNets of torchvision."""

NOT_STATED = "Not stated yet"
"""How the intended use begins that `dlr train` writes, until a person states one."""

_NOT_STATED_BEFORE = "not said yet"
"""The same of its first cards."""

DEMO_NOTICE = "demo, synthetic, not for clinical use"
"""The notice of each model that was trained on phantoms; it goes with each of its results."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to a lesion's pixels; two cards that differ in mean and std alone can share one image.

    Attributes:
        size: side of the network's square input, in pixels.
        margin: context kept on each side of the lesion's rectangle, as a fraction of the rectangle's own side.
        resize: ``letterbox`` keeps the aspect ratio, ``stretch`` does not.
        channels: ``gray`` repeats the luminance three times, ``rgb`` keeps colours.
        mean: subtracted from each channel, on the 0..1 scale.
        std: divides each channel, on the 0..1 scale.
    """

    size: int
    margin: float
    resize: Literal["letterbox", "stretch"]
    channels: Literal["gray", "rgb"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ModelCard(CardPart):
    """The card of one version of one model, kept as JSON beside its weights."""

    schema_version: Literal[1] = Field(description="Of this card's format")
    name: ModelName
    version: str = Field(pattern=VERSION_PATTERN, description="The owner's; never reused")
    stage: Literal["age", "image"] = Field(
        default="age",
        description="image: only the US embedding network through FC2, without the classifier with age; cannot serve",
    )
    backbone: Backbone
    classes: tuple[str, str] = Field(description="In the order of the network's outputs")
    positive_class: str = Field(description="The class whose probability is compared with the threshold")
    input_size: int = Field(ge=32, le=1024, description="Side of the square input, in pixels")
    channels: Literal["gray", "rgb"]
    resize: Literal["letterbox", "stretch"] = "letterbox"
    pixel_mean: OnUnitScale = Field(description="Subtracted from each channel, on the 0..1 scale")
    pixel_std: Spread = Field(description="Divisor of each channel, on the 0..1 scale")
    roi_margin: float = Field(ge=0, le=2, allow_inf_nan=False, description="Context kept, in sides of the lesion's ROI")
    age_mean: float = Field(ge=0, le=120, allow_inf_nan=False, description="Years; the study's cohort: 44.23")
    age_sd: Positive = Field(description="Years; the study's cohort: 12.67")
    test_time_flip: bool = Field(
        default=False, description="An image's AI score is the mean of its own and that of its mirror image"
    )
    aggregation: Aggregation = Field(
        default="mean", description="How the AI scores of a lesion's images become one, before the temperature"
    )
    min_images: int = Field(
        default=1, ge=1, le=MOST_IMAGES, description="Fewest images of a lesion with scores; a lesion with fewer fails"
    )
    temperature: Positive = Field(
        default=1.0, description="The logits are divided by it, before the softmax; of several images their aggregate's"
    )
    threshold: Fraction = Field(description="A positive probability that reaches it is positive")
    conformal: Conformal | None = Field(
        default=None, description="Keeps a 4A lesion in 4A if the model is not certain; off by default"
    )
    sites: dict[Annotated[str, Field(min_length=1, max_length=64)], SiteScale] = Field(
        default_factory=dict, description="Thresholds and temperatures of single sites, by their names; off by default"
    )
    weights_sha256: str = Field(pattern=SHA256_PATTERN, description="Of an ensemble: `digest_of_members`")
    members: tuple[Member, ...] = Field(
        default=(),
        max_length=MOST_MEMBERS,
        description="Of an ensemble, whose AI score is the mean of theirs; empty for a single network",
    )
    intended_use: str = Field(min_length=1)
    training_data: str = Field(min_length=1)
    notice: str = Field(max_length=200, description="Goes with each result; empty for a model that needs none")
    metrics: dict[str, float | str] = Field(default_factory=dict)
    metrics_by_site: dict[str, dict[str, int | float | str]] = Field(
        default_factory=dict, description="The same of the held-out lesions of each site"
    )
    reference: Reference | None = Field(
        default=None, description="Of held-out lesions; without it drift is not measured"
    )
    jpeg_decoder: str | None = Field(
        default=None, min_length=1, max_length=200, description="With what JPEG images were decoded in training"
    )
    training: dict[str, int | float | str] = Field(
        default_factory=dict, description="How it was made, as `dlr train` writes it: data, label rule, seed, code"
    )
    initial_weights: InitialWeightsInTurn
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _classes_are_the_models(self) -> Self:
        known = CLASSES[self.name]
        if set(self.classes) != set(known):
            sentence = "classes of {name} are {known}, not {given}"
            context = {"name": self.name, "known": " and ".join(known), "given": " and ".join(self.classes)}
            raise PydanticCustomError("classes", sentence, context)
        if self.positive_class != known[1]:
            sentence = "positive_class of {name} is {known}, not {given}"
            context = {"name": self.name, "known": known[1], "given": self.positive_class}
            raise PydanticCustomError("positive_class", sentence, context)
        return self

    @model_validator(mode="after")
    def _members_are_an_ensemble(self) -> Self:
        if not self.members:
            return self
        if len(set(self.weights_digests)) < max(len(self.members), 2):
            raise PydanticCustomError("members", "an ensemble has 2 members or more, each with weights of its own")
        if self.weights_sha256 != digest_of_members(self.members):
            raise PydanticCustomError("members", "weights_sha256 is not that of these members")
        return self

    @property
    def weights_digests(self) -> tuple[str, ...]:
        """The SHA-256 of each file of weights: one, or one for each member of an ensemble."""
        return tuple(member.weights_sha256 for member in self.members) or (self.weights_sha256,)

    @property
    def passes(self) -> int:
        """How many scores become one for an image: of each network one, or two with its mirror image's."""
        return len(self.weights_digests) * (2 if self.test_time_flip else 1)

    @property
    def trainings(self) -> tuple[dict[str, int | float | str], ...]:
        """How each network was made, and the weights that it started from: it has learned from what any of them has."""
        networks = self.members or (self,)
        return tuple(made.training for network in networks for made in (network, *network.initial_weights))

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to a lesion's pixels."""
        return Preprocessing(
            self.input_size, self.roi_margin, self.resize, self.channels, self.pixel_mean, self.pixel_std
        )

    def at_site(self, site: str | None) -> "ModelCard":
        """Return the card as it is for a lesion of a site: this very one, unless it has something of its own for it.

        Args:
            site: the ledger's, Institution Name (0008,0080) or else Station Name (0008,1010), letter for letter;
                ``None``: not known.
        """
        own = self.sites.get(site) if site else None
        if own is None:
            return self
        conformal = own.conformal
        if conformal is None and self.conformal is not None:
            quantile = at_temperature(self.conformal.quantile, own.temperature / self.temperature)
            conformal = self.conformal.model_copy(update={"quantile": quantile})
        changes: dict[str, Any] = {
            "threshold": own.threshold,
            "temperature": own.temperature,
            "conformal": conformal,
            "sites": {},
        }
        return self.model_copy(update=changes)

    @property
    def states_its_use(self) -> bool:
        """Somebody has said what the model is for, and what goes with its results."""
        use = self.intended_use.strip()
        return bool(self.notice.strip() and use) and not use.lower().startswith(
            (NOT_STATED.lower(), _NOT_STATED_BEFORE)
        )

    @property
    def decoder_warning(self) -> str | None:
        """What to say where JPEG images are decoded by another library than in training; ``None``: nothing."""
        from worker.imaging.jpeg_decoder import jpeg_decoder

        if self.jpeg_decoder in (None, here := jpeg_decoder()):
            return None
        return (
            f"{self.name} {self.version} was trained on JPEG images decoded by {self.jpeg_decoder}, here it is {here}: "
            "scores may differ by some thousandths"
        )

    @property
    def positive_index(self) -> int:
        """The network's output that is the positive class."""
        return self.classes.index(self.positive_class)

    @property
    def negative_class(self) -> str:
        """The class that is not the positive one."""
        return self.classes[1 - self.positive_index]

    def to_json(self) -> str:
        """Return the card as it is kept in a file."""
        return self.model_dump_json(indent=2) + "\n"

    def record(self) -> ModelRecord:
        """Return the model as the database keeps it."""
        card = self.model_dump(mode="json")
        return ModelRecord(self.name, self.version, self.weights_sha256, self.notice or None, card)


def load_card(path: Path) -> ModelCard:
    """Read a model's card.

    Args:
        path: a JSON file.

    Raises:
        ModelRefused: ``card_invalid``; the reason names each wrong field.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CARD_BYTES + 1)
    except OSError:
        raise ModelRefused(Code.CARD_INVALID, "the card does not exist or cannot be read") from None
    if len(content) > MAX_CARD_BYTES:
        raise ModelRefused(Code.CARD_INVALID, f"the card is larger than {MAX_CARD_BYTES} bytes")
    return parse_card(content)


def parse_card(content: str | bytes) -> ModelCard:
    """Read a card from JSON.

    Raises:
        ModelRefused: ``card_invalid``; the reason names each wrong field.
    """
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as invalid:
        faults = flaws_of(invalid)
    shown = [f"{'.'.join(map(str, fault.place))}: {fault.sentence}".removeprefix(": ") for fault in faults]
    more = [f"and {len(shown) - _REASON_FAULTS} more"] if len(shown) > _REASON_FAULTS else []
    raise ModelRefused(Code.CARD_INVALID, "; ".join(shown[:_REASON_FAULTS] + more))
