"""Rows into what is learned from and what is tested on: whole patients, stratified, and never the same image twice."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose

import numpy as np

from worker.dataset.manifest import Fault, ManifestRow, Pathology, Split
from worker.dataset.near_duplicates import joined
from worker.errors import Code, SetupRefused

Rows = Mapping[int, ManifestRow]
Pairs = Sequence[tuple[int, int]]
_INTERNAL = (Split.TRAIN, Split.VALIDATION, Split.TEST)
_TRAIN = _INTERNAL.index(Split.TRAIN)


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are split.

    Attributes:
        train: share of the rows that are at no external site, 0 to 1; so are the next two, and the three sum to 1.
        validation: share that thresholds are chosen on.
        test: share that nothing is learned from.
        seed: not negative; the same seed and rows give the same splits, whatever order the rows are in.
        folds: of a cross-validation over ``train`` and ``validation`` together; 0 for none.
        external: sites whose rows are all kept for external validation.

    Raises:
        SetupRefused: ``split_impossible``; shares that are none, or one fold.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0
    folds: int = 0
    external: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if min(shares) < 0 or not isclose(sum(shares), 1, abs_tol=1e-6) or self.train <= 0:
            raise _impossible("the shares of train, validation and test are 0 or more, sum to 1, and train has one")
        if self.folds == 1 or self.folds < 0:
            raise _impossible("a cross-validation has 2 folds or more")

    @property
    def shares(self) -> dict[Split, float]:
        """The share of each internal split that is not empty."""
        shares = dict(zip(_INTERNAL, (self.train, self.validation, self.test), strict=True))
        if self.folds:
            shares[Split.TRAIN] += shares.pop(Split.VALIDATION)
        return {split: share for split, share in shares.items() if share > 0}


def split_rows(rows: Rows, pairs: Pairs, plan: Plan) -> dict[int, ManifestRow]:
    """Give each row its split, and its fold.

    Whoever shares an image with another patient, or nearly, is kept together with him. Rows at an external site are
    external, whoever's they are: `leaks` finds a patient who was at another site too.

    Args:
        rows: sound ones, by line.
        pairs: lines whose images are the same or nearly so.
        plan: how.

    Returns:
        The same rows by the same lines, each with a split.

    Raises:
        SetupRefused: ``split_impossible``: a site that no row has, an external one that a version was trained on, or
            too few patients for a benign and a malignant lesion in each split and fold.
    """
    _check_sites(rows, plan)
    external = {line for line, row in rows.items() if row.site is not None and row.site in plan.external}
    within = {line: row for line, row in rows.items() if line not in external}
    splits = dict.fromkeys(external, Split.EXTERNAL) | (_shared_out(within, pairs, plan) if within else {})
    learned = {line: row for line, row in within.items() if splits[line] is Split.TRAIN}
    folds = _folds(learned, pairs, plan) if plan.folds else {}
    made = {line: row.model_copy(update={"split": splits[line], "fold": folds.get(line)}) for line, row in rows.items()}
    _check_classes(made, plan)
    return made


def leaks(rows: Rows, pairs: Pairs) -> list[Fault]:
    """Tell each row that a split shares with another: its patient, its image or nearly that, or its external site.

    Args:
        rows: not excluded ones, by line; those without a split leak nothing.
        pairs: lines whose images are the same or nearly so.
    """
    placed = {line: row for line, row in sorted(rows.items()) if row.split is not None}
    found: list[Fault] = []
    first: dict[str, int] = {}
    for line, row in placed.items():
        before = first.setdefault(row.patient_key, line)
        if _apart(placed[before], row):
            found.append(Fault(line, Code.SPLIT_LEAKS, f"the patient of line {before}, in another split or fold"))
    for one, other in pairs:
        if one in placed and other in placed and _apart(placed[one], placed[other]):
            reason = f"the image of line {one}, or nearly, in another split or fold"
            found.append(Fault(other, Code.SPLIT_LEAKS, reason))
    outside = {row.site for row in placed.values() if row.split is Split.EXTERNAL} - {None}
    found += [
        Fault(line, Code.SPLIT_LEAKS, "its site has external rows, and this one is not external")
        for line, row in placed.items()
        if row.site in outside and row.split is not Split.EXTERNAL
    ]
    return found


def _apart(one: ManifestRow, other: ManifestRow) -> bool:
    return (one.split, one.fold) != (other.split, other.fold)


def _check_sites(rows: Rows, plan: Plan) -> None:
    sites = {row.site for row in rows.values()}
    if plan.external - sites:
        raise _impossible(f"{len(plan.external - sites)} of the external sites are no row's site")
    if plan.external and None in sites:
        raise _impossible("rows without a site could belong to an external one: give each a site")
    if not rows:
        raise _impossible("there are no rows to split")
    learned = sum(row.site in plan.external and row.trained_on is not None for row in rows.values())
    if learned:
        reason = f"{learned} rows of external sites have trained_on, and would test that version on what it learned"
        raise _impossible(f"{reason}: exclude them, or keep another site external")


def _check_classes(rows: Rows, plan: Plan) -> None:
    wanted: list[tuple[Split, int | None]] = [
        (split, None) for split in plan.shares if not plan.folds or split is Split.TEST
    ]
    wanted += [(Split.TRAIN, fold) for fold in range(1, plan.folds + 1)]
    wanted += [(Split.EXTERNAL, None)] if plan.external else []
    there = {(row.split, row.fold, row.pathology) for row in rows.values()}
    for split, fold in wanted:
        missing = [pathology for pathology in Pathology if (split, fold, pathology) not in there]
        if missing:
            where = f"{split} of fold {fold}" if fold else split
            raise _impossible(f"{where} would have no {' and no '.join(missing)} lesion: there are too few patients")


def _groups(rows: Rows, pairs: Pairs) -> list[list[int]]:
    """Lines that have to stay together: of a patient, or of patients who share an image; in the order of the keys."""
    lines = sorted(rows, key=lambda line: _key(rows[line]))
    place = {line: at for at, line in enumerate(lines)}
    first: dict[str, int] = {}
    same_patient = [(first.setdefault(rows[line].patient_key, place[line]), place[line]) for line in lines]
    same_image = [(place[one], place[other]) for one, other in pairs if one in place and other in place]
    together: defaultdict[int, list[int]] = defaultdict(list)
    for line, low in zip(lines, joined(len(lines), [*same_patient, *same_image]), strict=True):
        together[low].append(line)
    return list(together.values())


def _key(row: ManifestRow) -> tuple[str, str, str, int]:
    return row.patient_key, row.lesion_id, row.image, row.frame or 0


def _stratum(row: ManifestRow) -> str:
    return f"{row.pathology} {row.birads}"


def _shared_out(rows: Rows, pairs: Pairs, plan: Plan) -> dict[int, Split]:
    """Give whole groups out, the largest first, each to the split that it brings nearest to its share of strata."""
    strata = sorted({_stratum(row) for row in rows.values()})
    groups = _groups(rows, pairs)
    np.random.default_rng(plan.seed).shuffle(groups)
    counts = [_counts([rows[line] for line in group], strata) for group in groups]
    totals = np.sum(counts, axis=0)
    shares = np.array(list(plan.shares.values()))[:, np.newaxis]
    given = np.zeros((len(shares), len(totals)))
    splits: dict[int, Split] = {}
    for at in sorted(range(len(groups)), key=lambda at: -len(groups[at])):
        # What the squared distance from the wanted number of rows grows by, each stratum by its size.
        growth = counts[at] * (2 * (given - shares * totals) + counts[at]) / totals
        # A version that was trained on a patient can not be tested on him, beside one that is trained now.
        is_known = any(rows[line].trained_on for line in groups[at])
        chosen = _TRAIN if is_known else int(np.argmin(growth.sum(axis=1)))
        given[chosen] += counts[at]
        splits |= dict.fromkeys(groups[at], list(plan.shares)[chosen])
    return splits


def _counts(rows: Sequence[ManifestRow], strata: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rows in all, and of each stratum."""
    found = Counter(_stratum(row) for row in rows)
    return np.array([len(rows), *(found[stratum] for stratum in strata)], np.float64)


def _folds(rows: Rows, pairs: Pairs, plan: Plan) -> dict[int, int]:
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        reason = "folds need the extra: pip install 'dlr-worker[train]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    numbered = [(line, number) for number, group in enumerate(_groups(rows, pairs)) for line in group]
    if len({number for _, number in numbered}) < plan.folds:
        raise _impossible(f"there are fewer patients than {plan.folds} folds")
    labels = [rows[line].pathology for line, _ in numbered]
    if min(Counter(labels).values()) < plan.folds:
        raise _impossible(f"one class has fewer lesions than {plan.folds} folds")
    maker = StratifiedGroupKFold(plan.folds, shuffle=True, random_state=plan.seed)
    parts: Iterator[tuple[Sequence[int], Sequence[int]]] = maker.split(
        np.zeros(len(numbered)), np.array(labels, np.str_), [number for _, number in numbered]
    )
    return {numbered[at][0]: fold for fold, (_, held_out) in enumerate(parts, start=1) for at in held_out}


def _impossible(reason: str) -> SetupRefused:
    return SetupRefused(Code.SPLIT_IMPOSSIBLE, reason)
