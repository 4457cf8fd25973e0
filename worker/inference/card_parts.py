"""The parts of a model's card that are more than a word or a number."""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from worker.clinical.conformal import fewest_lesions

_MOST_BINS = 100
_ROUNDING = 1e-3

VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of a version's name."""

SHA256_PATTERN = r"^[0-9a-f]{64}$"

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OnUnitScale = tuple[Fraction, Fraction, Fraction]
Spread = tuple[Positive, Positive, Positive]


class CardPart(BaseModel):
    """Strict, and quotes nothing that it was given."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )


class Histogram(CardPart):
    """How values were spread. A value on an edge is in the bin above it, one outside in the bin next to it."""

    edges: tuple[Annotated[float, Field(ge=0, le=120, allow_inf_nan=False)], ...] = Field(
        min_length=2, max_length=_MOST_BINS + 1, description="Of the bins, increasing; one more than the number of bins"
    )
    shares: tuple[Fraction, ...] = Field(description="Share of the lesions in each bin; they sum to 1")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise PydanticCustomError("edges", "edges must be increasing")
        if len(self.shares) != len(self.edges) - 1 or abs(sum(self.shares) - 1) > _ROUNDING:
            raise PydanticCustomError("shares", "there must be one share per bin, and they must sum to 1")
        return self


class Reference(CardPart):
    """What a model met, and said, when it was tested: drift is measured against it."""

    lesions: int = Field(ge=1, description="Number of lesions")
    age_years: Histogram
    positive_probability: Histogram

    @model_validator(mode="after")
    def _is_of_probabilities(self) -> Self:
        if (self.positive_probability.edges[0], self.positive_probability.edges[-1]) != (0, 1):
            raise PydanticCustomError("edges", "edges of positive_probability go from 0 to 1")
        return self


class Conformal(CardPart):
    """How sure a model has to be of a lesion: a split conformal set (`worker.clinical.conformal`)."""

    coverage: float = Field(
        ge=0.5, le=0.999, allow_inf_nan=False, description="Smallest share of lesions whose set contains the true class"
    )
    quantile: Fraction = Field(description="Of 1 - probability of the true class; a class is in from 1 - quantile on")
    lesions: int = Field(ge=1, description="Number of lesions for calibration, none of which the model was trained on")

    @model_validator(mode="after")
    def _has_enough(self) -> Self:
        fewest = fewest_lesions(self.coverage)
        if self.lesions < fewest:
            raise PydanticCustomError("lesions", "this coverage needs at least {fewest} lesions", {"fewest": fewest})
        return self


class SiteScale(CardPart):
    """What a card has of its own for the lesions of one site, chosen on lesions of that site alone."""

    threshold: Fraction = Field(description="In place of the card's, at this site's temperature")
    temperature: Positive = Field(description="In place of the card's")
    conformal: Conformal | None = Field(
        default=None, description="In place of the card's set, which is carried over to this temperature otherwise"
    )
    lesions: int = Field(ge=1, description="Number of the site's lesions that it was chosen on")
    positives: int = Field(ge=0, description="Of them, of the positive class")


class InitialWeights(CardPart):
    """A file of weights that a training started from, and what its own card said of it."""

    weights_sha256: str = Field(pattern=SHA256_PATTERN)
    name: str | None = Field(default=None, max_length=64, description="Of the model; empty where it had no card")
    version: str | None = Field(default=None, pattern=VERSION_PATTERN)
    training_data: str | None = Field(default=None, min_length=1, description="As on its card")
    training: dict[str, int | float | str] = Field(default_factory=dict, description="How it was made, as on its card")


InitialWeightsInTurn = Annotated[
    tuple[InitialWeights, ...],
    Field(
        default=(),
        description="What the training started from, then what that started from; empty for ImageNet's or random ones",
    ),
]


class Member(CardPart):
    """One network of an ensemble: a version that could also be used by itself."""

    version: str = Field(pattern=VERSION_PATTERN, description="Its own")
    weights_sha256: str = Field(pattern=SHA256_PATTERN)
    training: dict[str, int | float | str] = Field(default_factory=dict, description="How it was made, as on its card")
    initial_weights: InitialWeightsInTurn


def digest_of_members(members: Iterable[Member]) -> str:
    """Return what an ensemble's weights are known by: the SHA-256 of its members', a line each, in their order."""
    return hashlib.sha256("".join(f"{member.weights_sha256}\n" for member in members).encode()).hexdigest()
