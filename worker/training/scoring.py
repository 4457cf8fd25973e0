"""The lesions of a manifest, scored by the models that are active, as the service scores them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from db.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Priority
from worker.clinical.conformal import conformal_set
from worker.errors import Code, LesionRefused, SetupRefused
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source, named_apart, pairs_of
from worker.inference.card import ModelCard
from worker.inference.engine import Engine, load_engine
from worker.study import Age, AgeSource, LesionImage, RegionSource, Scores
from worker.training.image import read_lesion
from worker.training.labels import other_rule
from worker.training.manifest import Manifest, ManifestRow, Split

WAITING = 64
"""Images that are decoded and wait for the models at most."""

AVERAGED = (
    "A lesion on several images has the mean of its scores. In the service it is scored on the one image that it was "
    "marked on."
)

OTHER_RULE = (
    "{name}: its card's label rule is not the study's, but: {rule}. Held against the category, it is asked something "
    "else than what it learnt."
)


@dataclass(frozen=True, slots=True)
class ScoredManifest:
    """What became of a manifest.

    Attributes:
        material: its lesions with their scores.
        root: what its paths are relative to, resolved.
        rows: those that were scored, by the name of their lesion in the material.
    """

    material: Material
    root: Path
    rows: Mapping[str, tuple[ManifestRow, ...]]


_Key = tuple[str, str]
_Scored = tuple[ManifestRow, float, Scores]


def score_manifest(
    manifest: Manifest, split: Split, models_dir: Path, on_progress: Callable[[int, int], None], device: str = "cpu"
) -> ScoredManifest:
    """Score the rows that an evaluation needs, and put the rows of a lesion together.

    Where rows are of splits, those of ``train`` and of other splits are not scored.

    Args:
        manifest: its rows and its root.
        split: that is measured on; ``validation`` is scored too.
        models_dir: the registry's folder; the active versions are used, with their cards' thresholds.
        on_progress: told how many rows are done, and of how many.
        device: as `load_engine` takes it.

    Raises:
        ModelRefused: a model is not active, or is not sound.
        SetupRefused: ``lesions_too_few``: no row is of the split, or none could be scored.
        Unavailable: the device does not score, or the storage is away.
    """
    rows = _wanted(manifest, split)
    engine = load_engine(models_dir, device, None, 0)
    try:
        scored, left_out = _score_rows(engine, manifest.root, rows, on_progress)
    finally:
        engine.close()
    if not scored:
        reasons = ", ".join(f"{count} {code}" for code, count in left_out.items())
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest could be scored: {reasons or 'it has none'}")
    cards = {_scorer(card): card for card in reversed(engine.cards)}
    scorers = tuple(cards)
    together = _together(scored)
    lesions = tuple(_lesion(name, of_lesion, cards) for name, of_lesion in together.items())
    set_apart = {
        "rows that are excluded": len(manifest.rows) - len(manifest.included),
        "rows of splits that are not scored": len(manifest.included) - len(rows),
    }
    material = Material(
        source=Source.MANIFEST,
        lesions=lesions,
        scorers=scorers,
        pairs=pairs_of(scorers),
        left_out={**set_apart, **{f"rows: {code}": count for code, count in left_out.items()}},
        notices=(*_about_rules(cards), *(() if len(lesions) == len(scored) else (AVERAGED,))),
    )
    images = {name: tuple(row for row, *_ in of_lesion) for name, of_lesion in together.items()}
    return ScoredManifest(material, manifest.root, images)


def _about_rules(cards: Mapping[Scorer, ModelCard]) -> Iterator[str]:
    for scorer, card in cards.items():
        rule = other_rule(card)
        if rule is not None:
            yield OTHER_RULE.format(name=scorer.name, rule=rule)


def _wanted(manifest: Manifest, split: Split) -> list[ManifestRow]:
    rows = list(manifest.included.values())
    if all(row.split is None for row in rows):
        return rows
    if all(row.split is not split for row in rows):
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no row of the manifest is of the split {split.value}: see --split")
    return [row for row in rows if row.split in (split, Split.VALIDATION)]


def _score_rows(
    engine: Engine, root: Path, rows: Sequence[ManifestRow], on_progress: Callable[[int, int], None]
) -> tuple[list[_Scored], Mapping[str, int]]:
    """The rows that were scored, in their order, and how many were not, by their codes."""
    scored: list[_Scored] = []
    left_out = Counter[str]()
    waiting: list[tuple[ManifestRow, float, Future[Scores]]] = []

    def take(count: int) -> None:
        for row, age, future in waiting[:count]:
            try:
                scored.append((row, age, future.result()))
            except LesionRefused as refused:
                left_out[refused.code.value] += 1
        del waiting[:count]

    for done, row in enumerate(rows, start=1):
        try:
            image = image_of(root, row)
        except LesionRefused as refused:
            left_out[refused.code.value] += 1
        else:
            waiting.append((row, image.age.years, engine.submit(image, Priority.ROUTINE)))
        if len(waiting) >= WAITING:
            take(WAITING // 2)
        on_progress(done, len(rows))
    take(len(waiting))
    return scored, left_out


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
    return LesionImage(
        row.lesion_id, lesion.frame, lesion.region, RegionSource.JOB, Age(lesion.age_years, AgeSource.JOB)
    )


def _scorer(card: ModelCard) -> Scorer:
    return Scorer(card.name, card.version, card.threshold, card.notice or None)


def _together(scored: Sequence[_Scored]) -> dict[str, list[_Scored]]:
    """The rows of each lesion, by its name."""
    together: defaultdict[_Key, list[_Scored]] = defaultdict(list)
    for one in scored:
        together[one[0].patient_key, one[0].lesion_id].append(one)
    return dict(zip(named_apart(list(together)), together.values(), strict=True))


def _lesion(name: str, scored: Sequence[_Scored], cards: Mapping[Scorer, ModelCard]) -> JudgedLesion:
    first = scored[0][0]
    of_model = {
        LH_MODEL: sum(scores.lh.positive_probability for *_, scores in scored) / len(scored),
        BM_MODEL: sum(scores.bm.positive_probability for *_, scores in scored) / len(scored),
    }
    return JudgedLesion(
        lesion_id=name,
        malignant=first.malignant is True,
        scores={one: of_model[one.model] for one in cards},
        patient=first.patient_key,
        birads=first.birads,
        age_years=min(age for _, age, _ in scored),
        site=first.site,
        split=first.split,
        sets={
            one: conformal_set(
                ((card.negative_class, 1 - of_model[one.model]), (card.positive_class, of_model[one.model])),
                card.conformal.quantile,
            )
            for one, card in cards.items()
            if card.conformal is not None
        },
    )
