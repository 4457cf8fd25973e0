"""What goes together with a lesion's label besides the lesion: calipers, sizes, sites and scanners.

A model learns whatever tells malignant from benign in its data. Where cancers were measured with calipers and cysts
were not, it can learn the calipers. DLR_BM's label is pathology and DLR_LH's the category, so each property is tested
against both: by itself, on lesions and not on images, and with Holm's correction over all tests.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from statistics import median

from db.schema.vocabulary import QualityFinding
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_image import Appearance

SIGNIFICANT = 0.05
FEWEST_EXPECTED = 5
"""Where fewer lesions are expected in a cell, a 2 x 2 table is tested by Fisher's exact test (Cochran's rule)."""

_FEWEST = 2
_SIZES = "lesion_mm", "lesion_px", "frame_px", "images"
_SAID = {
    "lesion_mm": "the lesion's longer side in mm",
    "lesion_px": "the longer side of the lesion's rectangle in pixels",
    "frame_px": "the longer side of the image in pixels",
    "images": "the number of a lesion's images",
}


class Label(StrEnum):
    """What a model learns to tell.

    ``pathology``: malignant from benign, as DLR_BM. ``birads``: high risk (BI-RADS 4 and above) from low, as DLR_LH.
    """

    PATHOLOGY = "pathology"
    BIRADS = "birads"


_CLASSES = {
    Label.PATHOLOGY: ("malignant", "benign", ""),
    Label.BIRADS: ("high-risk", "low-risk", " by BI-RADS"),
}


@dataclass(frozen=True, slots=True)
class Association:
    """A property, held against a label.

    Attributes:
        feature: a quality finding, ``calipers`` (on the lesion or beside it), ``site``, ``scanner_model``, or a size:
            ``lesion_mm``, ``lesion_px``, ``frame_px`` (longer sides) and ``images`` (how many the lesion has).
        level: for a site or a scanner, the one that is furthest from its share; else empty.
        lesions: that it is known of.
        benign: of a size, the median; else the share of benign lesions (``birads``: of low risk) that have it, 0 to 1.
        malignant: likewise of malignant ones (``birads``: of high risk).
        test: ``chi-squared``, ``Fisher`` or ``Mann-Whitney``.
        effect: ``odds ratio`` (of malignant to benign), ``Cramér's V`` or ``AUC`` (the chance that a malignant lesion
            has more of it than a benign one); by ``birads``, of high risk to low.
        effect_size: its value.
        p_value: two-sided.
        p_holm: after Holm's correction over all properties and labels.
        label: what it was tested against.
    """

    feature: str
    level: str
    lesions: int
    benign: float
    malignant: float
    test: str
    effect: str
    effect_size: float
    p_value: float
    p_holm: float
    label: Label = Label.PATHOLOGY

    @property
    def is_significant(self) -> bool:
        """Whether it goes together with the label beyond chance."""
        return self.p_holm < SIGNIFICANT

    @property
    def sentence(self) -> str:
        """What goes together, for a person to judge."""
        of = f"P = {self.p_value:.1g}, {self.p_holm:.1g} by Holm's correction; {self.effect} {self.effect_size:.2f}"
        positive, negative, by = _CLASSES[self.label]
        if self.feature in _SIZES:
            medians = f"median {self.malignant:.3g} {positive}, {self.benign:.3g} {negative}"
            return f"{_SAID[self.feature]}: {medians}{by} ({of})"
        what = f"{self.feature} {self.level}".strip()
        return f"{what}: {self.malignant:.0%} of {positive} lesions, {self.benign:.0%} of {negative} ones{by} ({of})"


def associations(
    rows: Mapping[int, ManifestRow], seen: Mapping[int, Appearance], calipers: Mapping[int, bool]
) -> tuple[Association, ...]:
    """Test every property that differs among the lesions of a manifest against their pathology and their category.

    A finding, or calipers, count for a lesion that has them on any image. Of a size, a lesion has the largest; of sites
    and scanners, that of its first image. A lesion without a category, or with two that are of both classes, is in no
    test of it.

    Args:
        rows: sound ones, by line.
        seen: what each of them shows.
        calipers: whether each has calipers on the lesion or beside it; may be empty.

    Returns:
        The most significant first.

    Raises:
        ImportError: SciPy is not installed.
    """
    lesions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for line, row in sorted(rows.items()):
        if row.pathology is not None:
            lesions[row.patient_key, row.lesion_id].append(line)
    groups = list(lesions.values())
    labels = {
        Label.PATHOLOGY: [rows[group[0]].malignant for group in groups],
        Label.BIRADS: [_risk([rows[line] for line in group]) for group in groups],
    }
    found: list[Association] = []
    for label, of in labels.items():
        known = [(group, positive) for group, positive in zip(groups, of, strict=True) if positive is not None]
        lines, positives = [group for group, _ in known], [positive for _, positive in known]
        tested = (
            *_findings(lines, seen, calipers, positives),
            *_named(lines, rows, seen, positives),
            *_sizes(lines, seen, positives),
        )
        found += [replace(one, label=label) for one in tested]
    return _corrected(found)


Groups = Sequence[Sequence[int]]


def _risk(images: Sequence[ManifestRow]) -> bool | None:
    """Whether a lesion is of high risk; ``None`` where no category says so, or two contradict each other."""
    said = {row.high_risk for row in images} - {None}
    return said.pop() if len(said) == 1 else None


def _findings(
    groups: Groups, seen: Mapping[int, Appearance], calipers: Mapping[int, bool], malignant: Sequence[bool]
) -> Iterator[Association]:
    there: dict[str, Callable[[int], bool]] = {str(one): partial(_shows, seen, one) for one in QualityFinding}
    for name, is_there in (there | {"calipers": lambda line: calipers.get(line, False)}).items():
        has = [any(map(is_there, group)) for group in groups]
        if len(set(has)) == 2 and len(set(malignant)) == 2:
            yield _two_by_two(name, has, malignant)


def _shows(seen: Mapping[int, Appearance], finding: QualityFinding, line: int) -> bool:
    return finding in seen[line].quality_findings


def _two_by_two(name: str, has: Sequence[bool], malignant: Sequence[bool]) -> Association:
    from scipy import stats

    counts = Counter(zip(malignant, has, strict=True))
    table = [[counts[label, there] for there in (True, False)] for label in (True, False)]
    chi = stats.chi2_contingency(table, correction=True)
    is_rough = bool((chi.expected_freq < FEWEST_EXPECTED).any())
    test, p_value = ("Fisher", stats.fisher_exact(table).pvalue) if is_rough else ("chi-squared", chi.pvalue)
    # Haldane's half keeps the ratio finite where a cell is empty.
    (a, b), (c, d) = [[cell + 0.5 for cell in row] for row in table] if 0 in [*table[0], *table[1]] else table
    shares = [row[0] / sum(row) for row in table]
    return Association(
        name, "", len(has), shares[1], shares[0], test, "odds ratio", a * d / (b * c), float(p_value), float(p_value)
    )


def _named(
    groups: Groups, rows: Mapping[int, ManifestRow], seen: Mapping[int, Appearance], malignant: Sequence[bool]
) -> Iterator[Association]:
    from scipy import stats

    of: dict[str, Callable[[int], str | None]] = {
        "site": lambda line: rows[line].site,
        "scanner_model": lambda line: seen[line].scanner_model,
    }
    for name, get in of.items():
        known = [(get(group[0]), label) for group, label in zip(groups, malignant, strict=True) if get(group[0])]
        levels = sorted({str(level) for level, _ in known})
        labels = {label for _, label in known}
        if len(levels) < _FEWEST or len(labels) < _FEWEST:
            continue
        counts = Counter((str(level), label) for level, label in known)
        table = [[counts[level, label] for level in levels] for label in (True, False)]
        chi = stats.chi2_contingency(table, correction=len(levels) == _FEWEST)
        shares = [[cell / sum(row) for cell in row] for row in table]
        furthest = max(range(len(levels)), key=lambda at: abs(shares[0][at] - shares[1][at]))
        strength = float((stats.chi2_contingency(table, correction=False).statistic / len(known)) ** 0.5)
        yield Association(
            name,
            levels[furthest],
            len(known),
            shares[1][furthest],
            shares[0][furthest],
            "chi-squared",
            "Cramér's V",
            strength,
            float(chi.pvalue),
            float(chi.pvalue),
        )


def _sizes(groups: Groups, seen: Mapping[int, Appearance], malignant: Sequence[bool]) -> Iterator[Association]:
    from scipy import stats

    values: dict[str, list[float | None]] = {
        "lesion_mm": [_largest(seen[line].lesion_mm for line in group) for group in groups],
        "lesion_px": [_largest(seen[line].lesion_px for line in group) for group in groups],
        "frame_px": [_largest(seen[line].frame_px for line in group) for group in groups],
        "images": [float(len(group)) for group in groups],
    }
    for name, column in values.items():
        known = [(value, label) for value, label in zip(column, malignant, strict=True) if value is not None]
        ill, well = [value for value, label in known if label], [value for value, label in known if not label]
        if min(len(ill), len(well)) < _FEWEST or len({value for value, _ in known}) < _FEWEST:
            continue
        result = stats.mannwhitneyu(ill, well, alternative="two-sided")
        auc = float(result.statistic) / (len(ill) * len(well))
        p_value = float(result.pvalue)
        yield Association(name, "", len(known), median(well), median(ill), "Mann-Whitney", "AUC", auc, p_value, p_value)


def _largest(values: Iterator[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _corrected(found: Sequence[Association]) -> tuple[Association, ...]:
    """Holm's step-down correction: the smallest P times their number, the next times one less, never decreasing."""
    ordered = sorted(found, key=lambda one: (one.p_value, one.feature, one.label))
    corrected, least = [], 0.0
    for place, one in enumerate(ordered):
        least = min(1.0, max(least, (len(ordered) - place) * one.p_value))
        corrected.append(replace(one, p_holm=least))
    return tuple(corrected)
