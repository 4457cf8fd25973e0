"""What came of checking a version's calibration on lesions: kept beside it in the registry, a line a check.

    <models_dir>/<name>/<version>/checks.jsonl

Card and weights of a version never change; this file grows.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

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
        image_only: the lesions were scored by the image alone, as the service never does.
        pooled: of all lesions.
        sites: of those of each site that is known.
    """

    schema_version: Literal[1] = 1
    at: AwareDatetime
    data_digest: str
    split: str | None
    truth: str
    image_only: bool = False
    pooled: Part
    sites: dict[str, Part]

    @property
    def short(self) -> dict[str | None, Covered]:
        """Where coverage falls short: by site, and pooled under ``None``."""
        parts: list[tuple[str | None, Part]] = [(None, self.pooled), *self.sites.items()]
        return {site: part.covered for site, part in parts if part.covered and part.covered.is_short}

    @property
    def names_every_site(self) -> bool:
        """Each lesion is of a known site."""
        return sum(part.lesions for part in self.sites.values()) == self.pooled.lesions


class Shortfall(NamedTuple):
    """Where a check found that coverage falls short; ``site`` is ``None`` of all its lesions."""

    check: Check
    site: str | None
    covered: Covered


def outstanding(checks: Iterable[Check]) -> list[Shortfall]:
    """Return where coverage fell short when it was checked last: at each site, and of each manifest as a whole.

    What was checked of another site, or against another truth, says nothing of a site; nor does a check of so few
    lesions that its interval holds the coverage that fell short there. A manifest as a whole counts no more once each
    of its sites was checked again, and never where it is of one site.

    Args:
        checks: of one version, the oldest first; those of the image alone say nothing of the score that serves.
    """
    of_site: dict[tuple[str, str], Check] = {}
    of_manifest: dict[tuple[str, str, str | None], Check] = {}
    for check in checks:
        if not check.image_only:
            of_site |= {
                (check.truth, site): check
                for site in check.sites
                if not _leaves_open(check, of_site.get((check.truth, site)), site)
            }
            of_manifest[check.truth, check.data_digest, check.split] = check
    counted: list[tuple[Check, str | None]] = [
        (check, None) for check in of_manifest.values() if _is_last(check, of_site)
    ]
    counted += [(check, site) for (_, site), check in of_site.items()]
    return [Shortfall(check, site, check.short[site]) for check, site in counted if site in check.short]


def _leaves_open(check: Check, before: Check | None, site: str) -> bool:
    """Whether a site's coverage may still be what it was when it fell short, for all that a later check says."""
    short = None if before is None else before.short.get(site)
    covered = check.sites[site].covered
    if short is None or covered is None or covered.is_short:
        return False
    return covered.low <= short.count / short.lesions


def _is_last(check: Check, of_site: dict[tuple[str, str], Check]) -> bool:
    """Whether a check's lesions as a whole say more than the latest checks of their sites."""
    if not check.names_every_site:
        return True
    return len(check.sites) > 1 and any(of_site[check.truth, site] is check for site in check.sites)


def keep(check: Check, folder: Path) -> None:
    """Write a check down beside a version.

    Raises:
        SetupRefused: ``setting_invalid``, when the registry cannot be written.
    """
    with written():
        append(folder / CHECKS_FILE, check.model_dump_json().encode())


def kept(folder: Path) -> list[Check]:
    """Return the checks of a version that can be read, the oldest first."""
    try:
        lines = (folder / CHECKS_FILE).read_bytes().splitlines()
    except OSError:
        return []
    return [check for line in lines if (check := _read(line)) is not None]


def _read(line: bytes) -> Check | None:
    try:
        return Check.model_validate_json(line)
    except ValidationError:
        return None
