"""``dlr models compare``: two versions of a model on the lesions on record, or on a manifest's. It stores nothing."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer
from sqlalchemy.orm import Session

from db.reads import version_comparison
from db.reads.version_comparison import Coverage, RecordedVersion
from worker.cli.compare_rows import Answer, Held, answer_document, print_answer
from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.lesion_options import ImageOnlyOption, RootOption
from worker.cli.models import Model
from worker.cli.monitor import SinceOption
from worker.cli.output import Report, ReportOption, print_json
from worker.cli.progress import progress_bar
from worker.cli.refusals import refuse_learned, refuse_without, sound_manifest
from worker.cli.replay import snapshot
from worker.dataset.finding import Finding
from worker.dataset.manifest import Split
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.lesions import Source
from worker.extras import require_extra
from worker.inference.entry import Entry
from worker.inference.model_card import MODEL_NAMES
from worker.inference.registry import Registry
from worker.monitoring.version_differences import hold_against
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.training.manifest_comparison import Compared, Match

EXIT_LOOK = 3


class _Version(Protocol):
    """A version, on record or in the registry."""

    @property
    def model(self) -> str: ...


_V = TypeVar("_V", bound=_Version)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="[NAME/]VERSION, for example the active one")],
    b: Annotated[str, typer.Argument(metavar="B", help="[NAME/]VERSION, for example a shadow")],
    model: Annotated[Model | None, typer.Option(help="Only this model, if both have versions A and B")] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score this manifest's lesions now with A and B; needs no database"),
    ] = None,
    root: RootOption = None,
    split: Annotated[
        Split | None, typer.Option(help="With --manifest: split to compare on, where rows have one (default: test)")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="With --manifest: leave out bad rows instead of stopping")
    ] = False,
    exclude_finding: ExcludeFindingOption = None,
    image_only: ImageOnlyOption = False,
    since: SinceOption = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Compare two versions of a model on the lesions on record that both scored, or on a manifest's.

    Lists first the 4A lesions that B advises down and A does not, and the known cancers that each advises down. The
    other model's score is the one in service; on a manifest, its active version's. Exit status 3: B would advise a
    known cancer down, or bad rows were left out.
    """
    refuse_without("--root", root, "--manifest", manifest)
    refuse_without("--split", split, "--manifest", manifest)
    refuse_without("--skip-bad", skip_bad or None, "--manifest", manifest)
    refuse_without("--exclude-finding", exclude_finding, "--manifest", manifest)
    refuse_without("--image-only", image_only or None, "--manifest", manifest)
    refuse_without("--since", since, "the lesions on record, without --manifest", True if manifest is None else None)
    if manifest is None:
        found, bad = _on_record(a, b, model, since), False
    else:
        found, bad = _on_manifest(
            a, b, model, manifest, root, split or Split.TEST, exclude_finding, skip_bad=skip_bad, image_only=image_only
        )
    if fmt is Report.JSON:
        print_json(answer_document(found))
    else:
        print_answer(found)
    raise typer.Exit(EXIT_LOOK if found.missed or bad else 0)


def _pairs(a: str, b: str, model: Model | None, find: Callable[[str], Sequence[_V]]) -> list[tuple[_V, _V]]:
    """The versions that were asked for and are of one model."""
    first, second = (find(one if model is None or "/" in one else f"{model.value}/{one}") for one in (a, b))
    found = [
        (one, other)
        for name in MODEL_NAMES
        if model in (None, name)
        for one in first
        for other in second
        if one.model == other.model == name
    ]
    if not found:
        said = "are versions of different models" if model is None else f"are not both versions of {model.value}"
        raise ModelRefused(Code.MODEL_NOT_FOUND, f"{a} and {b} {said}")
    return found


def _on_record(a: str, b: str, model: Model | None, since: datetime | None) -> Answer:
    with snapshot() as session:
        models = [_held(session, *pair, since) for pair in _pairs(a, b, model, partial(_recorded, session))]
    if all(one.versions is None for one in models):
        reasons = "; ".join(one.lacks or "there are no lesions" for one in models)
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no lesion on record has scores from both: {reasons}")
    return Answer(Source.DATABASE, models, since)


def _recorded(session: Session, spec: str) -> Sequence[RecordedVersion]:
    name, _, version = spec.rpartition("/")
    found = version_comparison.versions_named(session, version, name or None)
    if not found:
        raise ModelRefused(Code.MODEL_NOT_FOUND, f"{spec} has not scored anything yet: dlr backfill --model {spec}")
    return found


def _held(session: Session, a: RecordedVersion, b: RecordedVersion, since: datetime | None) -> Held:
    coverage = version_comparison.coverage(session, a.key, b.key, since)
    lesions = version_comparison.compared_lesions(session, a.model, a.key, b.key, since)
    return Held(
        model=a.model,
        a=a.version,
        b=b.version,
        notice=_notice(a.notice, b.notice),
        coverage=coverage,
        lacks=_lacks(a, b, coverage),
        versions=hold_against(a.model, lesions) if coverage.both else None,
    )


def _lacks(a: RecordedVersion, b: RecordedVersion, coverage: Coverage) -> str | None:
    missing = [
        f"{coverage.lesions - have} without {one.model} {one.version}: dlr backfill --model {one.model}/{one.version}"
        for one, have in ((a, coverage.a), (b, coverage.b))
        if have < coverage.lesions
    ]
    return "; ".join(missing) or None


def _notice(*notices: str | None) -> str | None:
    return "; ".join(dict.fromkeys(filter(None, notices))) or None


def _on_manifest(
    a: str,
    b: str,
    model: Model | None,
    path: Path,
    root: Path | None,
    split: Split,
    excluding: Sequence[Finding] | None,
    *,
    skip_bad: bool,
    image_only: bool,
) -> tuple[Answer, bool]:
    """Return the answer, and whether bad rows were left out."""
    require_extra("worker", "--manifest")
    refuse_learned(split)
    versions = _versions(a, b, model, advised=not image_only)
    manifest = sound_manifest(path, root, "compared", excluding, skip_bad=skip_bad)
    if manifest.has_splits:
        refuse_learned(split, *(entry.card for match in versions for entry in match if entry is not None))
    with progress_bar("lesions") as on_progress:
        from worker.training.manifest_comparison import Match, compare_on_manifest

        matches = [Match(*three) for three in versions]
        found = compare_on_manifest(manifest, split, matches, on_progress, image_only=image_only)
    return Answer(
        source=Source.MANIFEST,
        models=[_held_on(*pair) for pair in zip(matches, found.compared, strict=True)],
        split=split if manifest.has_splits else None,
        left_out=found.left_out,
        notices=found.notices,
    ), bool(manifest.faults)


def _versions(a: str, b: str, model: Model | None, *, advised: bool) -> list[tuple[Entry, Entry, Entry | None]]:
    """The pairs that were asked for, each with what advises beside it, if anything."""
    registry = Registry(get_settings().models_dir)
    pairs = _pairs(a, b, model, registry.named)
    return [(*pair, _other(registry, pair[0].model) if advised else None) for pair in pairs]


def _other(registry: Registry, model: str) -> Entry:
    """The active version of the other model: what is advised follows from both."""
    [name] = [name for name in MODEL_NAMES if name != model]
    try:
        return registry.active(name)
    except ModelRefused as refused:
        if refused.code is not Code.MODEL_NOT_ACTIVE:
            raise
        reason = (
            f"the advice needs both models, and no version of {name} is active: dlr models activate {name} VERSION, "
            "here or in a copy of the registry (DLR_MODELS_DIR)"
        )
        raise ModelRefused(refused.code, reason) from None


def _held_on(match: "Match", found: "Compared") -> Held:
    a, b, *others = (entry.card for entry in match.entries)
    lesions, both = found.coverage.lesions, found.coverage.both
    return Held(
        model=a.name,
        a=a.version,
        b=b.version,
        notice=_notice(a.notice, b.notice, *(other.notice for other in others)),
        coverage=found.coverage,
        lacks=f"{lesions - both} are left out" if both < lesions else None,
        versions=hold_against(a.name, found.lesions) if found.lesions else None,
        other=others[0].version if others else None,
        advises=match.other is not None,
    )
