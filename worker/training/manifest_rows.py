"""The rows of a manifest that are scored: their images as the service has them, and what is left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from db.schema.vocabulary import AgeSource, RegionSource
from worker.dataset.lesion_facts import with_lesion_facts
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.dataset.manifest_image import read_lesion
from worker.errors import Code, ImagesRefused, LesionRefused, SetupRefused
from worker.evaluation.lesions import by_lesion
from worker.inference.model_card import ModelCard
from worker.scoring.lesion_images import of_one_age
from worker.study import Age, LesionImage, Scanner
from worker.training.labels import other_rule

SEVERAL_IMAGES = "A lesion on several images has one score, as in the service: {how}."

OTHER_RULE = (
    "{name}: its card's label rule is not the study's, but: {rule}. Held against the category, it is asked something "
    "else than what it learnt."
)

IMAGE_ONLY = (
    "{name}: scored by the image alone, through FC2 (Fig. S2), with an age or without: as the service never does. "
    "There is no advice of such scores."
)

NOT_ITS_THRESHOLD = "{name}: its card's threshold is that of the score with age; of the image alone it is a guess."

_REFUSED = "rows: "


@dataclass(frozen=True, slots=True)
class ReadLesion:
    """A lesion with those of its rows that could be read, one at least, and their images in the same order."""

    name: str
    rows: tuple[ManifestRow, ...]
    images: tuple[LesionImage, ...]


class Reading:
    """The rows of a manifest that are scored, and how many are left out.

    Args:
        manifest: its rows and its root.
        split: that is measured on; where no row says its split, all of them are.
        also: another split whose rows are scored too, if there are any.
        needs_ages: a row without an age is refused; else its age is no number.

    Attributes:
        root: what the paths of the rows are relative to, resolved.
        rows: to be scored, in their order.
        places: of each lesion's rows among them, by its name.
        left_out: how many rows are not among them or could not be scored, by the reason.

    Raises:
        SetupRefused: ``lesions_too_few``: no row is of the split.
    """

    def __init__(self, manifest: Manifest, split: Split, *also: Split, needs_ages: bool = True) -> None:
        self._needs_ages = needs_ages
        included = tuple(with_lesion_facts(manifest.included).values())
        self.root: Path = manifest.root
        self.rows = _of_splits(included, split, also) if manifest.has_splits else included
        self.places = by_lesion([(row.patient_key, row.lesion_id) for row in self.rows])
        self.left_out = Counter[str](
            {
                "rows that are bad": len({fault.line for fault in manifest.faults}),
                "rows that are excluded": len(manifest.rows) - len(included),
                "rows of splits that are not scored": len(included) - len(self.rows),
            }
        )

    def lesions(self, on_progress: Callable[[int, int], None]) -> Iterator[ReadLesion]:
        """Read one lesion after the other, each with one age, as the service does. Refused rows are counted by code.

        Args:
            on_progress: told how many rows are done, and of how many.

        Raises:
            Unavailable: the storage is away.
        """
        done = 0
        for name, places in self.places.items():
            rows: list[ManifestRow] = []
            images: list[LesionImage] = []
            for row in map(self.rows.__getitem__, places):
                try:
                    images.append(image_of(self.root, row, needs_age=self._needs_ages))
                    rows.append(row)
                except LesionRefused as refused:
                    self.count(refused)
                done += 1
                on_progress(done, len(self.rows))
            if not images:
                continue
            try:
                read = ReadLesion(name, tuple(rows), tuple(of_one_age(images) if self._needs_ages else images))
            except LesionRefused as refused:
                self.count(refused, rows=len(rows))
            else:
                yield read

    def count(self, refused: LesionRefused, by: ModelCard | None = None, rows: int = 1) -> None:
        """Count rows that could not be read, or that one version could not score."""
        whose = "" if by is None else f" by {by.name} {by.version}"
        self.left_out[f"{_REFUSED}{refused.code.value}{whose}"] += rows

    def count_lesion(self, refused: ImagesRefused, rows: int, by: ModelCard | None = None) -> None:
        """Count the rows of a lesion that was not scored: those that were refused, and those that were too few."""
        for why in refused.images.values():
            self.count(why, by)
        if rows > len(refused.images):
            self.count(refused, by, rows - len(refused.images))

    def refusal(self) -> SetupRefused:
        """Return what to raise where no row could be scored."""
        reasons = ", ".join(f"{n} {reason.removeprefix(_REFUSED)}" for reason, n in self.left_out.items() if n)
        return SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest could be scored: {reasons or 'it has none'}")


def _of_splits(rows: Sequence[ManifestRow], split: Split, also: Sequence[Split]) -> tuple[ManifestRow, ...]:
    if all(row.split is not split for row in rows):
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest is of the split {split.value}: see --split")
    return tuple(row for row in rows if row.split in (split, *also))


def image_of(root: Path, row: ManifestRow, *, needs_age: bool = True) -> LesionImage:
    """Read a row's lesion as the service would have it.

    Args:
        root: the manifest's, resolved.
        row: not an excluded one.
        needs_age: refuse it without an age; else that is NaN.

    Raises:
        LesionRefused: as `read_lesion`; ``age_missing``.
        Unavailable: ``storage_unavailable``.
    """
    lesion = read_lesion(root, row)
    if lesion.age_years is None and needs_age:
        raise LesionRefused(Code.AGE_MISSING)
    years = nan if lesion.age_years is None else lesion.age_years
    # Where region and age come from is written nowhere here: a manifest says both.
    scanner = Scanner(site=row.site)
    return LesionImage(lesion.frame, lesion.region, RegionSource.JOB, Age(years, AgeSource.JOB), scanner=scanner)


def about_the_image_alone(cards: Iterable[ModelCard], *, by_card: bool) -> Iterator[str]:
    """Say that scores are of the image alone.

    Args:
        cards: of the versions.
        by_card: their cards' thresholds are used all the same.
    """
    for card in cards:
        name = f"{card.name} {card.version}"
        yield IMAGE_ONLY.format(name=name)
        if by_card and card.stage == "age":
            yield NOT_ITS_THRESHOLD.format(name=name)


def about_images(cards: Iterable[ModelCard]) -> str:
    """Say how each version's scores of a lesion's images become one."""
    how = ", ".join(f"{card.name} {card.version} by {card.aggregation.replace('_', ' ')}" for card in cards)
    return SEVERAL_IMAGES.format(how=how)


def about_rules(cards: Iterable[ModelCard]) -> Iterator[str]:
    """Say of which versions the label rule is not the study's."""
    for card in cards:
        rule = other_rule(card)
        if rule is not None:
            yield OTHER_RULE.format(name=f"{card.name} {card.version}", rule=rule)
