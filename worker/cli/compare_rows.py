"""The rows and documents of ``dlr models compare``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from db.reads.version_comparison import Coverage
from db.schema.vocabulary import LH_MODEL
from worker.cli.monitor import comparison_document, comparison_row
from worker.cli.output import Card, Format, print_rows, stdout
from worker.cli.proportion_cells import counted
from worker.clinical.proportions import ARMS
from worker.dataset.manifest import Split
from worker.evaluation.lesions import Source
from worker.monitoring.version_differences import Readvised, Side, Versions

if TYPE_CHECKING:
    from worker.evaluation.discrimination import Auc
    from worker.evaluation.paired_aucs import PairedAucs

LESION_COLUMNS = ("study_id", "lesion_id", "under_a", "under_b", "probability_a", "probability_b", "pathology")
LESION_CARD = Card(LESION_COLUMNS[:4], LESION_COLUMNS[4:])
SCORE_COLUMNS = (
    "model", "a", "b", "lesions", "correlation", "mean_difference", "mean_absolute", "largest", "other_class", "notice",
)  # fmt: skip
ARM_COLUMNS = ("version", "4A_lesions", "downgraded", "maintained", "upgraded", "not_certain")
MOVE_COLUMNS = ("under_a", "b_downgraded", "b_maintained", "b_upgraded")
SITE_COLUMNS = (
    "site", "lesions", "other_class", "missed_by_a", "missed_by_b", "sensitivity_a", "sensitivity_b", "specificity_a",
    "specificity_b", "auc_a", "auc_b", "auc_b_minus_a",
)  # fmt: skip
SITE_CARD = Card(SITE_COLUMNS[:3], SITE_COLUMNS[3:])
ADVICE = ("newly_downgraded", "missed_cancers", "moves", "arms")
"""Of a document: what follows from advice."""

TRUTH_COLUMNS = ("version", "missed_cancers", "sensitivity", "specificity", "auc")


@dataclass(frozen=True, slots=True)
class Held:
    """Two versions of a model, held against each other.

    Attributes:
        model: whose versions they are.
        a: the first version.
        b: the second one.
        notice: what goes with their results; ``None`` where they need none.
        coverage: how many lesions there are, and were compared.
        lacks: what to know of lesions that were not; ``None`` where all were.
        versions: what came of it; ``None`` where no lesion could be compared.
        other: the other model's version whose score advises with theirs; ``None``: of each lesion the one that serves.
        advises: whether anything follows from their scores; from those of the image alone nothing does.
    """

    model: str
    a: str
    b: str
    notice: str | None
    coverage: Coverage
    lacks: str | None
    versions: Versions | None
    other: str | None = None
    advises: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the command.

    Attributes:
        source: where the lesions come from.
        models: each of which both versions are there.
        since: of lesions on record, by when they were advised on.
        split: of a manifest's lesions, where they are of splits.
        left_out: how many rows of a manifest were not scored, by the reason.
        notices: what a reader has to know.
    """

    source: Source
    models: Sequence[Held]
    since: datetime | None = None
    split: Split | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notices: Sequence[str] = ()

    @property
    def missed(self) -> bool:
        """Whether a second version advises a known cancer down."""
        return any(one.versions is not None and one.versions.b.missed.cancers for one in self.models)


def answer_document(found: Answer) -> dict[str, Any]:
    """Return the answer as JSON has it."""
    return {
        "source": found.source.value,
        "since": found.since,
        "split": found.split,
        "left_out": found.left_out,
        "notices": found.notices,
        "models": [_document(one) for one in found.models],
    }


def print_answer(found: Answer) -> None:
    """Print the answer as tables."""
    for one in found.models:
        _print(one)
    left_out = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items() if count)
    notes = [*([f"left out: {left_out}"] if left_out else []), *(f"note: {notice}" for notice in found.notices)]
    for note in notes:
        stdout.print(note, markup=False, highlight=False, soft_wrap=True)


def _document(one: Held) -> dict[str, Any]:
    said: dict[str, Any] = {
        "model": one.model,
        "a": one.a,
        "b": one.b,
        "other": one.other,
        "notice": one.notice,
        "coverage": asdict(one.coverage),
    }
    found = one.versions
    if found is None:
        return said
    return said | {
        **(_advice_document(found) if one.advises else dict.fromkeys(ADVICE)),
        "differences": asdict(found.differences),
        "pathology": _pathology(found),
        "category": None if one.model != LH_MODEL else _with_extra(_on_category(found)),
        "sites": [_site_document(site, at, advises=one.advises) for site, at in found.sites.items()],
    }


def _advice_document(found: Versions) -> dict[str, Any]:
    sides = {"a": found.a, "b": found.b}
    return {
        "newly_downgraded": [_row(lesion) for lesion in found.newly_downgraded],
        "missed_cancers": {side: [_row(lesion) for lesion in of.missed.cancers] for side, of in sides.items()},
        "moves": {before.value: {after.value: found.moves[before, after] for after in ARMS} for before in ARMS},
        "arms": {side: comparison_document(of.arms) | {"uncertain": of.uncertain} for side, of in sides.items()},
    }


def _site_document(site: str, at: Versions, *, advises: bool) -> dict[str, Any]:
    missed = {"a": len(at.a.missed.cancers), "b": len(at.b.missed.cancers)} if advises else None
    said = {"site": site, "lesions": at.lesions, "missed_cancers": missed, "differences": asdict(at.differences)}
    return said | {"pathology": _pathology(at, _of_enough)}


def _pathology(
    found: Versions, tested: "Callable[[PairedAucs | None], PairedAucs | None]" = lambda aucs: aucs
) -> dict[str, Any] | None:
    if not found.with_pathology:
        return None
    sides = {
        side: {"sensitivity": asdict(of.sensitivity), "specificity": asdict(of.specificity)}
        for side, of in (("a", found.a), ("b", found.b))
    }
    return {"lesions": found.with_pathology, **sides, **_with_extra(tested(_on_pathology(found)))}


def _with_extra(aucs: "PairedAucs | None") -> dict[str, Any]:
    return {"auc": None if aucs is None else asdict(aucs), "needs_extra": None if _has_statistics() else "train"}


def _has_statistics() -> bool:
    return find_spec("scipy") is not None and find_spec("sklearn") is not None


def _on_pathology(found: Versions) -> "PairedAucs | None":
    if not _has_statistics():
        return None
    from worker.evaluation.paired_aucs import paired_aucs

    return paired_aucs(found.judged)


def _of_enough(aucs: "PairedAucs | None") -> "PairedAucs | None":
    """Leave out the AUCs of a site with too few lesions of a class, as an evaluation does."""
    from worker.evaluation.subgroups import FEWEST

    if aucs is None or min(aucs.positives, aucs.lesions - aucs.positives) < FEWEST:
        return None
    return aucs


def _on_category(found: Versions) -> "PairedAucs | None":
    if not _has_statistics():
        return None
    from worker.evaluation.paired_aucs import paired_on_category

    return paired_on_category(found.rated)


def _row(one: Readvised) -> dict[str, object]:
    lesion = one.lesion
    return {
        "study_id": lesion.study_id,
        "lesion_id": lesion.lesion_id,
        "under_a": one.under_a.value,
        "under_b": one.under_b.value,
        "probability_a": lesion.a_probability,
        "probability_b": lesion.b_probability,
        "pathology": {None: None, True: "malignant", False: "benign"}[lesion.malignant],
    }


def _print(one: Held) -> None:
    heading = f"{one.model}: A is {one.a}, B is {one.b}"
    stdout.print(heading, style="bold", markup=False, highlight=False)
    if one.lacks:
        stdout.print(f"of {one.coverage.lesions} lesions, {one.lacks}", markup=False, highlight=False)
    found = one.versions
    if found is None:
        return
    sides = ((f"A {one.a}", found.a), (f"B {one.b}", found.b))
    if one.advises:
        _print_downgraded(found)
    print_rows([_score_row(one, found)], SCORE_COLUMNS, Format.TABLE, title="scores of the same lesions, B minus A")
    if one.advises:
        _print_rates(found, sides)
    _print_pathology(found, sides, advises=one.advises)
    if one.model == LH_MODEL:
        _print_category(found)
    if found.sites:
        sites = [_site_row(site, at, advises=one.advises) for site, at in found.sites.items()]
        print_rows(sites, SITE_COLUMNS, Format.TABLE, "the same by site", SITE_CARD)
    if not _has_statistics():
        stdout.print("AUCs need the extra `train`: pip install 'dlr-worker[train]'", markup=False, highlight=False)


def _print_downgraded(found: Versions) -> None:
    cancers = len(found.b.missed.cancers)
    if cancers:
        sentence = f"ALERT downgraded_cancer: B advises {cancers} known cancers down to BI-RADS 3"
        stdout.print(sentence, style="red", highlight=False)
        missed = [_row(lesion) for lesion in found.b.missed.cancers]
        print_rows(missed, LESION_COLUMNS, Format.TABLE, "cancers that B misses", LESION_CARD)
    downgraded = [_row(lesion) for lesion in found.newly_downgraded]
    print_rows(downgraded, LESION_COLUMNS, Format.TABLE, "4A lesions that B advises down and A does not", LESION_CARD)


def _print_rates(found: Versions, sides: Sequence[tuple[str, Side]]) -> None:
    arms = [comparison_row(side.arms) | {"version": name, "not_certain": side.uncertain} for name, side in sides]
    print_rows(
        arms, ARM_COLUMNS, Format.TABLE, title="rates of the 4A lesions; *: the study's rate is outside the interval"
    )
    moves = [
        {"under_a": before.value} | {f"b_{after.value}": found.moves[before, after] for after in ARMS}
        for before in ARMS
    ]
    print_rows(moves, MOVE_COLUMNS, Format.TABLE, title="4A lesions, from A to B")


def _site_row(site: str, at: Versions, *, advises: bool) -> dict[str, object]:
    aucs = _of_enough(_on_pathology(at)) if _has_statistics() else None
    sides = {"a": at.a, "b": at.b}
    row: dict[str, object] = {"site": site, "lesions": at.lesions, "other_class": at.differences.other_class}
    if advises:
        row |= {f"missed_by_{name}": len(side.missed.cancers) for name, side in sides.items()}
    if at.with_pathology:
        row |= {f"sensitivity_{name}": counted(side.sensitivity) for name, side in sides.items()}
        row |= {f"specificity_{name}": counted(side.specificity) for name, side in sides.items()}
    if aucs is not None:
        row |= {"auc_a": _area(aucs.a), "auc_b": _area(aucs.b), "auc_b_minus_a": _difference(aucs)}
    return row


def _score_row(one: Held, found: Versions) -> dict[str, object]:
    apart = found.differences
    return {
        "model": one.model,
        "a": one.a,
        "b": one.b,
        "lesions": found.lesions,
        "correlation": apart.correlation,
        "mean_difference": apart.mean,
        "mean_absolute": apart.mean_absolute,
        "largest": apart.largest,
        "other_class": apart.other_class,
        "notice": one.notice,
    }


def _print_pathology(found: Versions, sides: Sequence[tuple[str, Side]], *, advises: bool) -> None:
    if not found.with_pathology:
        stdout.print("none of them has a pathology result: dlr pathology import", highlight=False)
        return
    aucs = _on_pathology(found)
    rows = [
        {
            "version": name,
            "missed_cancers": f"{len(side.missed.cancers)} of {side.missed.downgraded} downgraded" if advises else None,
            "sensitivity": counted(side.sensitivity),
            "specificity": counted(side.specificity),
            "auc": area,
        }
        for (name, side), area in zip(sides, _areas(aucs), strict=True)
    ]
    print_rows(rows, TRUTH_COLUMNS, Format.TABLE, title=f"against pathology, on {found.with_pathology} lesions")
    _print_difference(aucs)


def _print_category(found: Versions) -> None:
    aucs = _on_category(found)
    if aucs is None:
        return
    a, b = _areas(aucs)
    said = f"against the radiologist's category, 4A and above, on {aucs.lesions} lesions: AUC of A {a}, of B {b}"
    stdout.print(said, highlight=False)
    _print_difference(aucs)


def _print_difference(aucs: "PairedAucs | None") -> None:
    if aucs is not None:
        stdout.print(f"AUC of B minus A: {_difference(aucs)}", highlight=False)


def _difference(aucs: "PairedAucs") -> str:
    p_value = aucs.difference.p_value
    said = "no test" if p_value is None else f"p = {p_value:.3g} (DeLong, paired)"
    return f"{aucs.difference.value:+.4f}, {said}"


def _areas(aucs: "PairedAucs | None") -> tuple[str | None, str | None]:
    return (None, None) if aucs is None else (_area(aucs.a), _area(aucs.b))


def _area(area: "Auc") -> str:
    reach = "" if area.interval is None else f" ({area.interval.low:.4f}–{area.interval.high:.4f})"
    return f"{area.value:.4f}{reach}"
