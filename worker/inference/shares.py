"""Which versions score a study, where a new one has a share of the studies first.

A study stands at one place between 0 and 1, by a hash of its Study Instance UID (0020,000D): the same on every host,
after every restart, and for each revision of the study. Below a version's share that version scores it, else the active
one. A larger share keeps the studies of a smaller one, and equal shares of both models are of the same studies.

Why so: docs/decisions/0067-a-new-version-may-have-a-share-first.md.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from worker.inference.model_card import MODEL_NAMES, ModelName

_BYTES = 6
"""Of the hash: a float holds so many without rounding, so that no place is 1."""

Versions = tuple[str, ...]
"""Of DLR_LH and DLR_BM."""


class Share(BaseModel):
    """The share of the studies that a version scores while another one is active.

    Attributes:
        version: it.
        share: above 0, below 1.
        since: when it got this share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    share: float = Field(gt=0, lt=1)
    since: AwareDatetime


@dataclass(frozen=True, slots=True)
class Division:
    """Who scores which studies.

    Attributes:
        active: the versions of DLR_LH and DLR_BM that score all studies but those of the shares.
        shares: by model, where one has any.
    """

    active: Versions
    shares: Mapping[ModelName, Share] = field(default_factory=dict)

    def of(self, study_instance_uid: str) -> Versions:
        """Return the versions that score a study."""
        return self._at(place_of(study_instance_uid))

    @property
    def all(self) -> tuple[Versions, ...]:
        """The pairs of versions that score any study, the active ones first."""
        places = sorted({0.0, *(one.share for one in self.shares.values())}, reverse=True)
        return tuple(dict.fromkeys(map(self._at, places)))

    def _at(self, place: float) -> Versions:
        named = zip(MODEL_NAMES, self.active, strict=True)
        return tuple(
            shared.version if (shared := self.shares.get(name)) and place < shared.share else active
            for name, active in named
        )


def place_of(study_instance_uid: str) -> float:
    """Return where a study stands, 0 or more and below 1; studies stand evenly."""
    digest = hashlib.sha256(study_instance_uid.encode()).digest()
    return int.from_bytes(digest[:_BYTES], "big") / float(1 << 8 * _BYTES)


def percent(share: float) -> str:
    """Return a share as people read it: ``10 %``."""
    return f"{100 * share:.6g} %"
