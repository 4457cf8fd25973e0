"""The rows of a manifest that are scored: their images as the service has them, and what is left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from db.schema.vocabulary import AgeSource, RegionSource
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.dataset.manifest_image import read_lesion
from worker.errors import Code, LesionRefused, SetupRefused
from worker.evaluation.lesions import by_lesion
from worker.inference.engine import score_of
from worker.inference.model_card import ModelCard
from worker.study import Age, LesionImage, Score
from worker.training.labels import other_rule

AVERAGED = (
    "A lesion on several images has the mean of its scores. In the service it is scored on the one image that it was "
    "marked on."
)

OTHER_RULE = (
    "{name}: its card's label rule is not the study's, but: {rule}. Held against the category, it is asked something "
    "else than what it learnt."
)

_REFUSED = "rows: "


class Reading:
    """The rows of a manifest that are scored, and how many are left out.

    Args:
        manifest: its rows and its root.
        split: that is measured on; where no row says its split, all of them are.
        also: another split whose rows are scored too, if there are any.

    Attributes:
        root: what the paths of the rows are relative to, resolved.
        rows: to be scored, in their order.
        left_out: how many rows are not among them or could not be scored, by the reason.

    Raises:
        SetupRefused: ``lesions_too_few``: no row is of the split.
    """

    def __init__(self, manifest: Manifest, split: Split, *also: Split) -> None:
        included = tuple(manifest.included.values())
        self.root: Path = manifest.root
        self.rows = _of_splits(included, split, also) if manifest.has_splits else included
        self.left_out = Counter[str](
            {
                "rows that are bad": len({fault.line for fault in manifest.faults}),
                "rows that are excluded": len(manifest.rows) - len(included),
                "rows of splits that are not scored": len(included) - len(self.rows),
            }
        )

    def images(self, on_progress: Callable[[int, int], None]) -> Iterator[tuple[ManifestRow, LesionImage]]:
        """Read one row after the other. Those that are refused are counted by their codes.

        Args:
            on_progress: told how many rows are done, and of how many.

        Raises:
            Unavailable: the storage is away.
        """
        for done, row in enumerate(self.rows, start=1):
            try:
                image = image_of(self.root, row)
            except LesionRefused as refused:
                self.count(refused)
            else:
                yield row, image
            on_progress(done, len(self.rows))

    def count(self, refused: LesionRefused, by: ModelCard | None = None) -> None:
        """Count a row that could not be read, or that one version could not score."""
        whose = "" if by is None else f" by {by.name} {by.version}"
        self.left_out[f"{_REFUSED}{refused.code.value}{whose}"] += 1

    def refusal(self) -> SetupRefused:
        """Return what to raise where no row could be scored."""
        reasons = ", ".join(f"{n} {reason.removeprefix(_REFUSED)}" for reason, n in self.left_out.items() if n)
        return SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest could be scored: {reasons or 'it has none'}")


def _of_splits(rows: Sequence[ManifestRow], split: Split, also: Sequence[Split]) -> tuple[ManifestRow, ...]:
    if all(row.split is not split for row in rows):
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest is of the split {split.value}: see --split")
    return tuple(row for row in rows if row.split in (split, *also))


def image_of(root: Path, row: ManifestRow) -> LesionImage:
    """Read a row's lesion as the service would have it.

    Args:
        root: the manifest's, resolved.
        row: not an excluded one.

    Raises:
        LesionRefused: as `read_lesion`; ``age_missing``.
        Unavailable: ``storage_unavailable``.
    """
    lesion = read_lesion(root, row)
    if lesion.age_years is None:
        raise LesionRefused(Code.AGE_MISSING)
    # Where region and age come from is written nowhere here: a manifest says both.
    return LesionImage(lesion.frame, lesion.region, RegionSource.JOB, Age(lesion.age_years, AgeSource.JOB))


def places_by_lesion(rows: Iterable[ManifestRow]) -> dict[str, list[int]]:
    """Return the places of the rows of each lesion, by its name."""
    return by_lesion([(row.patient_key, row.lesion_id) for row in rows])


def mean_score(card: ModelCard, scores: Sequence[Score]) -> Score:
    """Return what a version says of a lesion on several images: the mean of their scores, read as its card says."""
    return score_of(card, np.mean([[value for _, value in one.probabilities] for one in scores], axis=0))


def about_rules(cards: Iterable[ModelCard]) -> Iterator[str]:
    """Say of which versions the label rule is not the study's."""
    for card in cards:
        rule = other_rule(card)
        if rule is not None:
            yield OTHER_RULE.format(name=f"{card.name} {card.version}", rule=rule)
