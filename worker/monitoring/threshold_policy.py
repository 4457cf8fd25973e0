"""A policy: other thresholds than those on the models' cards, to be tried on stored scores."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.errors import Code, SetupRefused
from worker.validation_errors import flaws_of

MAX_BYTES = 1 << 20
_REASON_FAULTS = 5

_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Thresholds(_Part):
    """The thresholds of one model: a positive probability that reaches it is positive, as on the card."""

    threshold: _Fraction | None = Field(default=None, description="For each version that is not named below")
    versions: dict[str, _Fraction] = Field(default_factory=dict, description="For one version each")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.threshold is None and not self.versions:
            raise PydanticCustomError("nothing", "threshold, or versions, is needed")
        return self


class Policy(_Part):
    """Thresholds to try. What it does not name keeps the threshold that was on the card when it was scored."""

    schema_version: Literal[1]
    DLR_LH: Thresholds | None = None
    DLR_BM: Thresholds | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.DLR_LH is None and self.DLR_BM is None:
            raise PydanticCustomError("nothing", "DLR_LH, or DLR_BM, is needed")
        return self

    def high_risk_threshold(self, version: str, stored: float) -> float:
        """Return the threshold of a version of DLR_LH; ``stored`` where the policy has none for it."""
        return _threshold(self.DLR_LH, version, stored)

    def malignant_threshold(self, version: str, stored: float) -> float:
        """Return the threshold of a version of DLR_BM; ``stored`` where the policy has none for it."""
        return _threshold(self.DLR_BM, version, stored)

    def require_known(self, models: Collection[tuple[str, str]]) -> None:
        """Refuse a policy for a version that no lesion can have been scored with.

        Raises:
            SetupRefused: ``policy_invalid``, with the versions that there are.
        """
        for name, part in ((LH_MODEL, self.DLR_LH), (BM_MODEL, self.DLR_BM)):
            known = sorted(version for model, version in models if model == name)
            for version in part.versions if part else ():
                if version not in known:
                    there = ", ".join(known) or "none"
                    raise _refused(f"{name}.versions names a version that is not on record; on record: {there}")


def read_policy(path: Path) -> Policy:
    """Read a policy from a JSON file.

    Raises:
        SetupRefused: ``policy_invalid``; the reason names each wrong field.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _refused("the file does not exist or cannot be read") from None
    if len(content) > MAX_BYTES:
        raise _refused(f"the file is larger than {MAX_BYTES} bytes")
    try:
        return Policy.model_validate_json(content)
    except ValidationError as invalid:
        faults = flaws_of(invalid)
    shown = [f"{'.'.join(map(str, fault.place))}: {fault.sentence}".removeprefix(": ") for fault in faults]
    more = [f"and {len(shown) - _REASON_FAULTS} more"] if len(shown) > _REASON_FAULTS else []
    raise _refused("; ".join(shown[:_REASON_FAULTS] + more))


def _threshold(part: Thresholds | None, version: str, stored: float) -> float:
    if part is None:
        return stored
    general = stored if part.threshold is None else part.threshold
    return part.versions.get(version, general)


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.POLICY_INVALID, reason)
