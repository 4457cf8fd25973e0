"""How a model is trained: every number that a result depends on, but the lesions."""

import hashlib
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from worker.clinical.aggregation import Aggregation
from worker.clinical.categories import Birads
from worker.errors import Code, SetupRefused
from worker.inference.model_card import Backbone, Preprocessing
from worker.validation_errors import Flaw, flaws_of

MAX_BYTES = 1 << 20
DEMO_SEED = 20261123

STARTS = IMAGENET, RANDOM = "imagenet", "random"
"""What a network may start from, besides a file."""

_CAME_LATER = {"aggregation": "mean", "calipers": 0.0, "label_smoothing": 0.0, "mixup": 0.0, "test_time_flip": False}
"""Fields that a configuration had not always, with what held before."""

_Fraction = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]


class Log(StrEnum):
    """Where a training logs to."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    NONE = "none"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Augmentation(_Part):
    """How a training image is changed each time that it is seen; amounts are drawn evenly up to the ones given.

    An image is not turned upside down by default, since depth has a direction: shadows and enhancement lie below a
    lesion, skin and fat above it, and a lesion that is taller than wide is suspicious. So turns are
    small too.
    """

    flip: _Fraction = Field(default=0.5, description="Probability of a horizontal flip")
    vertical_flip: _Fraction = Field(default=0.0, description="Probability of a vertical flip")
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = Field(
        default=7.0, description="Largest rotation, either way"
    )
    translate: _Fraction = Field(default=0.06, description="Largest shift, as a fraction of the image side, either way")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.1, description="Largest change of size, either way")
    brightness: _Fraction = Field(default=0.15, description="Gain of the scanner: values are multiplied by 1 +- this")
    contrast: _Fraction = Field(
        default=0.15, description="Dynamic range: deviations from the mean are multiplied by 1 +- this"
    )
    gamma: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.15, description="Grey map: values to the power of 1 +- this"
    )


class AgeStage(_Part):
    """The second stage: the classifier with age, on embeddings of an image network that stays as it is."""

    learns_on: Literal["validation", "train", "both"] = Field(
        default="validation",
        description="Lesions to train it on; on train the image network is overconfident, and age seems useless",
    )
    start: Literal["image", "random"] = Field(
        default="image", description="image: start from the image network's own output, and learn what age adds"
    )
    steps: _Count = Field(default=200, description="Optimizer steps, each over all lesions")
    learning_rate: _Positive = Field(default=1e-2, description="Of FC2, which weights the age: 36 parameters")
    fc1_learning_rate: _NotNegative = Field(
        default=1e-4, description="Of FC1, which reads the embedding: so many parameters that a higher rate overfits"
    )
    weight_decay: _NotNegative = Field(default=1.0, description="Of AdamW; strong, since there are few lesions")


class Phantoms(_Part):
    """How many phantoms are drawn, and what they are for; the rest is learned from."""

    count: _Count = Field(default=2000, description="Number of phantoms, with --phantom")
    validation: _Fraction = Field(default=0.2, description="Share for choosing the epoch and the threshold")
    test: _Fraction = Field(default=0.3, description="Share held out for testing")
    drawing: int = Field(default=1, description="Version of the phantom generator; increases when the pixels change")


class TrainingConfig(_Part):
    """A training's configuration; the defaults are a sound start for a hospital's lesions.

    Nothing that changes a result is left out: two trainings with the same configuration and lesions, on the CPU of one
    machine with the same number of threads, end in the same weights to the bit.
    """

    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of all random numbers")
    backbone: Backbone = Field(default="resnet50", description="A ResNet of torchvision; the study's is resnet50")
    init: str = Field(default=IMAGENET, min_length=1, description="imagenet, random, or a file of weights")
    input_size: int = Field(default=224, ge=32, le=1024, description="Side of the square input, in pixels")
    channels: Literal["gray", "rgb"] = Field(default="gray", description="rgb keeps colours")
    resize: Literal["letterbox", "stretch"] = Field(default="letterbox", description="stretch loses the aspect ratio")
    roi_margin: float = Field(
        default=0.25, ge=0, le=2, description="Context around the lesion's ROI, as a fraction of its sides"
    )
    pixel_mean: tuple[_Fraction, _Fraction, _Fraction] = Field(
        default=(0.485, 0.456, 0.406),
        description="Subtracted, on the 0..1 scale; ImageNet's, as the initial weights are",
    )
    pixel_std: tuple[_Positive, _Positive, _Positive] = Field(
        default=(0.229, 0.224, 0.225), description="Divisor, on the 0..1 scale"
    )
    age_mean: float = Field(default=44.23, ge=0, le=120, description="Years; the study's cohort")
    age_sd: _Positive = Field(default=12.67, description="Years; the study's cohort")

    label_rule: Literal["birads", "pathology"] | None = Field(
        default=None, description="Of DLR_LH: birads, as in the study; DLR_BM always uses pathology"
    )
    low_risk_up_to: Birads = Field(
        default=Birads.PROBABLY_BENIGN, description="Highest low-risk category; the study's is 3"
    )
    missing_age: Literal["refuse", "exclude"] = Field(default="refuse", description="How to treat rows without an age")
    aggregation: Aggregation = Field(
        default="mean", description="How the scores of a lesion's images become one: mean, max or logit_mean"
    )
    test_time_flip: bool = Field(
        default=False, description="Score an image by the mean of it and its mirror image; twice the work in service"
    )
    fold: int | None = Field(default=None, ge=1, description="Validation fold, if the manifest has folds")

    stages: Literal["two", "joint", "image", "age"] = Field(
        default="two",
        description=(
            "two as in the study; joint: both at once; image: the first alone, which needs no age; age: the second "
            "alone, from --init"
        ),
    )
    epochs: _Count = Field(default=60, description="Maximum number for the image network")
    patience: int | None = Field(
        default=15,
        ge=1,
        description="Early stopping: epochs without a better validation AUC; as many as epochs: never",
    )
    batch: _Count = Field(default=32, description="Lesions per step, over all processes")
    learning_rate: float = Field(default=5e-4, gt=0, description="Maximum of the one-cycle schedule")
    warm_up: float = Field(default=0.3, gt=0, lt=1, description="Share of the steps until the maximum")
    weight_decay: _NotNegative = Field(default=0.02, description="Of AdamW")
    class_weights: Literal["balanced", "none"] = Field(
        default="balanced", description="balanced: both classes have equal weight, whatever their numbers"
    )
    image_loss_share: _Fraction = Field(
        default=0.5, description="Weight of FC2's loss with joint stages; the rest is for the classifier with age"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of each label that goes to both classes alike, where the image network learns"
    )
    mixup: _NotNegative = Field(
        default=0.0, description="Alpha of MixUp: training images are mixed in pairs, by shares of Beta(alpha, alpha)"
    )
    amp: Literal["auto", "bfloat16", "none"] = Field(
        default="auto",
        description="auto: bfloat16 on CUDA; bfloat16: on a CPU too, quicker with AMX, far slower without AVX-512",
    )

    calipers: _Fraction = Field(
        default=0.0,
        description="Probability that calipers in an image are painted over, and then that others are drawn into it",
    )
    augmentation: Augmentation = Augmentation()
    age: AgeStage = AgeStage()
    phantoms: Phantoms = Phantoms()

    @model_validator(mode="after")
    def _category_parts(self) -> Self:
        if self.low_risk_up_to in (Birads.INCOMPLETE, Birads.SUSPICIOUS, Birads.KNOWN_MALIGNANCY):
            raise PydanticCustomError("low_risk_up_to", "low_risk_up_to is a category from 1 to 5, 4 with its letter")
        if self.phantoms.validation + self.phantoms.test >= 1:
            raise PydanticCustomError("phantoms", "validation and test leave no phantoms to learn from")
        if self.stages == "age" and self.init in STARTS:
            sentence = "stages: age alone needs --init with the weights of a trained image network"
            raise PydanticCustomError("stages", sentence)
        if self.stages == "age" and (self.label_smoothing or self.mixup):
            sentence = "label_smoothing and mixup are of the image network, which stages: age does not train"
            raise PydanticCustomError("stages", sentence)
        return self

    @property
    def needs_ages(self) -> bool:
        """The classifier with age is trained."""
        return self.stages != "image"

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to a lesion's pixels, in training and in service."""
        return Preprocessing(
            self.input_size, self.roi_margin, self.resize, self.channels, self.pixel_mean, self.pixel_std
        )

    def identity(self) -> dict[str, Any]:
        """Return the fields as plain values, by which a training is known again.

        Those that came later are left out where they are as all trainings were before: they still are the same.
        """
        return {name: value for name, value in self.model_dump(mode="json").items() if _CAME_LATER.get(name) != value}

    def fingerprint(self) -> str:
        """Return six characters that change with any number but the seed, and not with the path of a file."""
        init = self.init if self.init in STARTS else "file"
        plain = self.model_copy(update={"seed": 0, "init": init})
        later = {name for name, before in _CAME_LATER.items() if getattr(self, name) == before}
        return hashlib.sha256(plain.model_dump_json(exclude=later).encode()).hexdigest()[:6]


DEMO = TrainingConfig(
    seed=DEMO_SEED,
    init=RANDOM,
    input_size=64,
    pixel_mean=(0.5, 0.5, 0.5),
    pixel_std=(0.25, 0.25, 0.25),
    epochs=3,
    patience=None,
    learning_rate=1e-3,
    class_weights="none",
    augmentation=Augmentation(rotation_degrees=0, translate=0, scale=0, brightness=0, contrast=0, gamma=0),
    age=AgeStage(learns_on="both"),
    phantoms=Phantoms(count=2000, validation=0.15, test=0.45),
)
"""Small and quick, since phantoms are simple: nothing of them needs turning, and three epochs do, in which nothing is
learnt by heart. Half of them are tested on, so that a cohort can tell what age adds."""

DEMO_EPOCHS_CONTINUED = 2
"""Of the second model, which goes on from the first one's image network: what that learnt to see serves both."""


def read_config(
    path: Path | None, overrides: Mapping[str, object], base: TrainingConfig | None = None
) -> TrainingConfig:
    """Read a training's configuration.

    Args:
        path: TOML with the fields of `TrainingConfig`; ``None`` for its defaults.
        overrides: fields, or ``part.field``, that take the file's place; ``None`` leaves it.
        base: in place of the defaults.

    Raises:
        SetupRefused: ``config_invalid``; the reason names each wrong field.
    """
    fields = (base or TrainingConfig()).model_dump(mode="json")
    _merge(fields, {} if path is None else _toml(path))
    for name, value in overrides.items():
        if value is not None:
            *part, field = name.split(".")
            (fields[part[0]] if part else fields)[field] = value
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as invalid:
        faults = flaws_of(invalid)
    raise SetupRefused(Code.CONFIG_INVALID, "; ".join(map(_sentence, faults)))


def _sentence(fault: Flaw) -> str:
    *above, name = map(str, fault.place or ("",))
    if fault.kind != "extra_forbidden":
        return f"{'.'.join((*above, name))}: {fault.sentence}".removeprefix(": ")
    part = TrainingConfig.model_fields[above[0]].annotation if above else TrainingConfig
    meant = get_close_matches(name, getattr(part, "model_fields", ()), n=1)
    return f"{'.'.join((*above, name))}: there is no such name" + (f"; is {meant[0]} meant?" if meant else "")


def _merge(fields: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            _merge(fields[name], value)
        else:
            fields[name] = value


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SetupRefused(Code.CONFIG_INVALID, f"the configuration is larger than {MAX_BYTES} bytes")
        return tomllib.loads(content.decode("utf-8"))
    except OSError:
        raise SetupRefused(Code.CONFIG_INVALID, "the configuration is not there or cannot be read") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise SetupRefused(Code.CONFIG_INVALID, "the configuration is not TOML in UTF-8") from None
