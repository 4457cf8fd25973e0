"""``dlr models compare``: two versions of a model on the lesions on record. It reads, and writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy.orm import Session

from db import compared
from db.compared import Coverage, RecordedVersion
from worker.cli.models import Model
from worker.cli.monitor import SinceOption, comparison_document, comparison_row, counted
from worker.cli.output import Format, Report, ReportOption, print_json, print_rows, stdout
from worker.cli.replay import snapshot
from worker.clinical.proportions import ARMS
from worker.errors import Code, ModelRefused, SetupRefused
from worker.monitoring.versions import Readvised, Side, Versions, hold_against

if TYPE_CHECKING:
    from worker.evaluation.discrimination import Auc
    from worker.evaluation.paired import PairedAucs

EXIT_MISSED_CANCER = 3

LESION_COLUMNS = ("study_id", "lesion_id", "under_a", "under_b", "probability_a", "probability_b", "pathology")
SCORE_COLUMNS = (
    "model", "a", "b", "lesions", "correlation", "mean_difference", "mean_absolute", "largest", "other_class", "notice",
)  # fmt: skip
ARM_COLUMNS = ("version", "4A_lesions", "downgraded", "maintained", "upgraded", "not_certain")
MOVE_COLUMNS = ("under_a", "b_downgraded", "b_maintained", "b_upgraded")
TRUTH_COLUMNS = ("version", "missed_cancers", "sensitivity", "specificity", "auc")


@dataclass(frozen=True, slots=True)
class _Compared:
    a: RecordedVersion
    b: RecordedVersion
    coverage: Coverage
    versions: Versions | None
    aucs: "PairedAucs | None"

    @property
    def notice(self) -> str | None:
        notices = dict.fromkeys(one for one in (self.a.notice, self.b.notice) if one)
        return "; ".join(notices) or None

    @property
    def lacks(self) -> str | None:
        """A sentence on the lesions without a score of one of the versions."""
        missing = [
            f"{self.coverage.lesions - have} without {one.model} {one.version}: "
            f"dlr backfill --model {one.model}/{one.version}"
            for one, have in ((self.a, self.coverage.a), (self.b, self.coverage.b))
            if have < self.coverage.lesions
        ]
        return "; ".join(missing) or None


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="[NAME/]VERSION, such as the active one")],
    b: Annotated[str, typer.Argument(metavar="B", help="[NAME/]VERSION, such as a shadow")],
    model: Annotated[Model | None, typer.Option(help="Only this model, where A and B are versions of both")] = None,
    since: SinceOption = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Hold two versions of a model against each other, on the lesions on record that both scored.

    First the 4A lesions that B advises down and A does not, and the known cancers that each advises down. The other
    model's score is the one that serves. Exit status 3: B would advise a known cancer down.
    """
    with snapshot() as session:
        found = [_held(session, *pair, since) for pair in _pairs(session, a, b, model)]
    if all(one.versions is None for one in found):
        reason = "no lesion on record has a score of both: " + "; ".join(
            one.lacks or "no lesion at all" for one in found
        )
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    if fmt is Report.JSON:
        print_json({"since": since, "models": [_document(one) for one in found]})
    else:
        for one in found:
            _print(one)
    missed = any(one.versions is not None and one.versions.b.missed.cancers for one in found)
    raise typer.Exit(EXIT_MISSED_CANCER if missed else 0)


def _pairs(session: Session, a: str, b: str, model: Model | None) -> Iterator[tuple[RecordedVersion, RecordedVersion]]:
    first, second = _on_record(session, a, model), _on_record(session, b, model)
    found = [(one, other) for one in first for other in second if one.model == other.model]
    if not found:
        raise ModelRefused(Code.MODEL_NOT_FOUND, f"{a} and {b} are versions of different models")
    yield from found


def _on_record(session: Session, spec: str, model: Model | None) -> Sequence[RecordedVersion]:
    name, _, version = spec.rpartition("/")
    found = compared.versions_named(session, version, name or (None if model is None else model.value))
    if not found:
        raise ModelRefused(Code.MODEL_NOT_FOUND, f"{spec} has scored nothing: dlr backfill --model {spec}")
    return [one for one in found if model is None or one.model == model.value]


def _held(session: Session, a: RecordedVersion, b: RecordedVersion, since: Any) -> _Compared:
    coverage = compared.coverage(session, a.key, b.key, since)
    if not coverage.both:
        return _Compared(a, b, coverage, None, None)
    versions = hold_against(a.model, compared.compared_lesions(session, a.model, a.key, b.key, since))
    return _Compared(a, b, coverage, versions, _aucs(versions) if _has_statistics() else None)


def _has_statistics() -> bool:
    return find_spec("scipy") is not None and find_spec("sklearn") is not None


def _aucs(versions: Versions) -> "PairedAucs | None":
    from worker.evaluation.paired import paired_aucs

    return paired_aucs(versions.judged)


def _document(one: _Compared) -> dict[str, Any]:
    said: dict[str, Any] = {
        "model": one.a.model,
        "a": one.a.version,
        "b": one.b.version,
        "notice": one.notice,
        "coverage": asdict(one.coverage),
    }
    found = one.versions
    if found is None:
        return said
    return said | {
        "newly_downgraded": [_row(lesion) for lesion in found.newly_downgraded],
        "missed_cancers": {
            side: [_row(lesion) for lesion in of.missed.cancers] for side, of in (("a", found.a), ("b", found.b))
        },
        "differences": asdict(found.differences),
        "moves": {before.value: {after.value: found.moves[before, after] for after in ARMS} for before in ARMS},
        "arms": {
            side: comparison_document(of.arms) | {"uncertain": of.uncertain}
            for side, of in (("a", found.a), ("b", found.b))
        },
        "pathology": _truth(one, found),
    }


def _truth(one: _Compared, found: Versions) -> dict[str, Any] | None:
    if not found.with_pathology:
        return None
    sides = {
        side: {"sensitivity": asdict(of.sensitivity), "specificity": asdict(of.specificity)}
        for side, of in (("a", found.a), ("b", found.b))
    }
    aucs = None if one.aucs is None else asdict(one.aucs)
    return {
        "lesions": found.with_pathology,
        **sides,
        "auc": aucs,
        "needs_extra": None if _has_statistics() else "train",
    }


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


def _print(one: _Compared) -> None:
    heading = f"{one.a.model}: A is {one.a.version}, B is {one.b.version}"
    stdout.print(heading, style="bold", markup=False, highlight=False)
    if one.lacks:
        stdout.print(f"of {one.coverage.lesions} lesions, {one.lacks}", markup=False, highlight=False)
    found = one.versions
    if found is None:
        return
    cancers = len(found.b.missed.cancers)
    if cancers:
        sentence = f"ALERT downgraded_cancer: B advises {cancers} known cancers down to BI-RADS 3"
        stdout.print(sentence, style="red", highlight=False)
        missed = [_row(lesion) for lesion in found.b.missed.cancers]
        print_rows(missed, LESION_COLUMNS, Format.TABLE, title="cancers that B misses")
    downgraded = [_row(lesion) for lesion in found.newly_downgraded]
    print_rows(downgraded, LESION_COLUMNS, Format.TABLE, title="4A lesions that B advises down and A does not")
    print_rows([_score_row(one, found)], SCORE_COLUMNS, Format.TABLE, title="scores of the same lesions, B less A")
    sides = ((f"A {one.a.version}", found.a), (f"B {one.b.version}", found.b))
    arms = [comparison_row(side.arms) | {"version": name, "not_certain": side.uncertain} for name, side in sides]
    print_rows(arms, ARM_COLUMNS, Format.TABLE, title="rates of the 4A lesions; *: the study's rate is outside")
    moves = [
        {"under_a": before.value} | {f"b_{after.value}": found.moves[before, after] for after in ARMS}
        for before in ARMS
    ]
    print_rows(moves, MOVE_COLUMNS, Format.TABLE, title="4A lesions, from A to B")
    _print_truth(one, found, sides)


def _score_row(one: _Compared, found: Versions) -> dict[str, object]:
    apart = found.differences
    return {
        "model": one.a.model,
        "a": one.a.version,
        "b": one.b.version,
        "lesions": found.lesions,
        "correlation": apart.correlation,
        "mean_difference": apart.mean,
        "mean_absolute": apart.mean_absolute,
        "largest": apart.largest,
        "other_class": apart.other_class,
        "notice": one.notice,
    }


def _print_truth(one: _Compared, found: Versions, sides: Sequence[tuple[str, Side]]) -> None:
    if not found.with_pathology:
        stdout.print("pathology reported on none of them: dlr pathology import", highlight=False)
        return
    aucs = (None, None) if one.aucs is None else (one.aucs.a, one.aucs.b)
    rows = [
        {
            "version": name,
            "missed_cancers": f"{len(side.missed.cancers)} of {side.missed.downgraded} downgraded",
            "sensitivity": counted(side.sensitivity),
            "specificity": counted(side.specificity),
            "auc": _area(area),
        }
        for (name, side), area in zip(sides, aucs, strict=True)
    ]
    print_rows(rows, TRUTH_COLUMNS, Format.TABLE, title=f"against pathology, on {found.with_pathology} lesions")
    if one.aucs is not None:
        p_value = one.aucs.difference.p_value
        said = "no test" if p_value is None else f"p = {p_value:.3g} (DeLong, paired)"
        stdout.print(f"AUC of B less A: {one.aucs.difference.value:+.4f}, {said}", highlight=False)
    elif not _has_statistics():
        stdout.print("the AUC needs the extra `train`: pip install 'dlr-worker[train]'", markup=False, highlight=False)


def _area(area: "Auc | None") -> str | None:
    if area is None:
        return None
    reach = "" if area.interval is None else f" ({area.interval.low:.4f}–{area.interval.high:.4f})"
    return f"{area.value:.4f}{reach}"
