"""What came of checking a version's calibration on lesions: kept beside it in the registry, a line a check.

    <models_dir>/<name>/<version>/checks.jsonl

Card and weights of a version never change; this file grows.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from worker.durable_files import append
from worker.inference.active_versions import written

CHECKS_FILE = "checks.jsonl"

_Fraction = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Covered(_Part):
    """How often the conformal sets of lesions held the true class.

    Attributes:
        lesions: that were counted, ``count`` of them covered.
        low: lower end of Wilson's 95 % interval, with ``high``.
        promised: by the card, of the site where it has its own.
    """

    lesions: int
    count: int
    low: _Fraction
    high: _Fraction
    promised: _Fraction

    @property
    def is_short(self) -> bool:
        """The interval lies wholly below what is promised: it is no chance."""
        return self.high < self.promised


class Part(_Part):
    """What was measured on some lesions; ``positives`` of them are of the positive class.

    Attributes:
        mean_probability: of the positive class, beside ``observed``, its share.
        brier: mean squared difference, 0 (best) to 1.
        expected_calibration_error: in ten bins, 0 (best) to 1.
        covered: ``None`` where the card asks for no conformal set.
    """

    lesions: int
    positives: int
    mean_probability: _Fraction
    observed: _Fraction
    brier: _Fraction
    expected_calibration_error: _Fraction
    covered: Covered | None


class Check(_Part):
    """A check of one version on one manifest.

    Attributes:
        at: when.
        data_digest: of the manifest.
        split: whose rows were scored; ``None`` where none has a split.
        truth: what was taken for true: ``pathology`` or ``birads``.
        pooled: of all lesions.
        sites: of those of each site that is known.
    """

    schema_version: Literal[1] = 1
    at: AwareDatetime
    data_digest: str
    split: str | None
    truth: str
    pooled: Part
    sites: dict[str, Part]

    @property
    def short(self) -> dict[str | None, Covered]:
        """Where coverage falls short: by site, and pooled under ``None``."""
        parts: list[tuple[str | None, Part]] = [(None, self.pooled), *self.sites.items()]
        return {site: part.covered for site, part in parts if part.covered and part.covered.is_short}


def keep(check: Check, folder: Path) -> None:
    """Write a check down beside a version.

    Raises:
        SetupRefused: ``setting_invalid``, when the registry cannot be written.
    """
    with written():
        append(folder / CHECKS_FILE, check.model_dump_json().encode())


def last(folder: Path) -> Check | None:
    """Return the latest check of a version; ``None`` where there is none that can be read."""
    try:
        lines = (folder / CHECKS_FILE).read_bytes().splitlines()
        return Check.model_validate_json(lines[-1])
    except (OSError, IndexError, ValidationError):
        return None
