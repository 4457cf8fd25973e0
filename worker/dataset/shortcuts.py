"""What goes together with a lesion's pathology besides the lesion: calipers, sizes, sites and scanners.

A model learns whatever tells malignant from benign in its data. Where cancers were measured with calipers and cysts
were not, it can learn the calipers. Each property is tested by itself, on lesions and not on images, and Holm's
correction is over all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Association:
    """A property, held against pathology.

    Attributes:
        feature: a quality finding, ``calipers`` (on the lesion or beside it), ``site``, ``scanner_model``, or a size:
            ``lesion_mm``, ``lesion_px``, ``frame_px`` (longer sides) and ``images`` (how many the lesion has).
        level: for a site or a scanner, the one that is furthest from its share; else empty.
        lesions: that it is known of.
        benign: of a size, the median; else the share of benign lesions that have it, 0 to 1.
        malignant: likewise.
        test: ``chi-squared``, ``Fisher`` or ``Mann-Whitney``.
        effect: ``odds ratio`` (of malignant to benign), ``Cramér's V`` or ``AUC`` (the chance that a malignant lesion
            has more of it than a benign one).
        effect_size: its value.
        p_value: two-sided.
        p_holm: after Holm's correction over all properties.
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

    @property
    def is_significant(self) -> bool:
        """Whether it goes together with pathology beyond chance."""
        return self.p_holm < SIGNIFICANT

    @property
    def sentence(self) -> str:
        """What goes together, for a person to judge."""
        of = f"P = {self.p_value:.1g}, {self.p_holm:.1g} by Holm's correction; {self.effect} {self.effect_size:.2f}"
        if self.feature in _SIZES:
            return f"{_SAID[self.feature]}: median {self.malignant:.3g} malignant, {self.benign:.3g} benign ({of})"
        what = f"{self.feature} {self.level}".strip()
        return f"{what}: {self.malignant:.0%} of malignant lesions, {self.benign:.0%} of benign ones ({of})"


def associations(
    rows: Mapping[int, ManifestRow], seen: Mapping[int, Appearance], calipers: Mapping[int, bool]
) -> tuple[Association, ...]:
    """Test every property that differs among the lesions of a manifest against their pathology.

    A finding, or calipers, count for a lesion that has them on any image. Of a size, a lesion has the largest; of sites
    and scanners, that of its first image.

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
    malignant = [rows[group[0]].malignant is True for group in groups]
    found = [*_findings(groups, seen, calipers, malignant), *_named(groups, rows, seen, malignant)]
    found += _sizes(groups, seen, malignant)
    return _corrected(found)


Groups = Sequence[Sequence[int]]


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
    ordered = sorted(found, key=lambda one: (one.p_value, one.feature))
    corrected, least = [], 0.0
    for place, one in enumerate(ordered):
        least = min(1.0, max(least, (len(ordered) - place) * one.p_value))
        corrected.append(replace(one, p_holm=least))
    return tuple(corrected)
