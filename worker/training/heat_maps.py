"""Where the models looked in lesions of a manifest, for an evaluation's report: one lesion at a time, on the CPU."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from worker.clinical.probability import said
from worker.dataset.manifest import ManifestRow
from worker.errors import LesionRefused
from worker.evaluation.examples import Example, HeatPicture, Shown, Threshold
from worker.imaging.heat_map import heat_picture
from worker.inference.gradcam import grad_cam, loaded
from worker.inference.model_card import ModelCard
from worker.inference.network import DlrNetwork
from worker.study import LesionImage
from worker.training.manifest_rows import image_of

IMAGES = 3
"""Of one lesion that are shown at most."""

_Models = Mapping[Threshold, tuple[ModelCard, tuple[DlrNetwork, ...]]]


def look_at(
    examples: Sequence[Example],
    rows: Mapping[str, Sequence[ManifestRow]],
    root: Path,
    models_dir: Path,
    on_progress: Callable[[int, int], None],
) -> tuple[Shown, ...]:
    """Make the pictures of lesions, by each version that scored them.

    Args:
        examples: the lesions.
        rows: of the manifest, by the names of the lesions.
        root: the manifest's, resolved.
        models_dir: the registry's folder.
        on_progress: told how many lesions are done, and of how many.

    Raises:
        ModelRefused: a version is not in the registry any more, or is damaged.
        Unavailable: the storage is away.
    """
    versions = dict.fromkeys(at for one in examples for at in one.thresholds)
    models = {at: loaded(models_dir, at.scorer.model, at.scorer.version) for at in versions}
    shown = []
    for done, example in enumerate(examples, start=1):
        shown.append(_shown(example, rows[example.lesion.lesion_id], root, models))
        on_progress(done, len(examples))
    return tuple(shown)


def _shown(example: Example, rows: Sequence[ManifestRow], root: Path, models: _Models) -> Shown:
    pictures: list[HeatPicture] = []
    notes = [f"Of its {len(rows)} images {IMAGES} are shown."] if len(rows) > IMAGES else []
    for place, row in enumerate(rows[:IMAGES], start=1):
        which = f"image {place} of {len(rows)}"
        try:
            pictures += _pictures(example, image_of(root, row), models, which if len(rows) > 1 else "")
        except LesionRefused as refused:
            notes.append(f"There is no picture of {which}: {refused.code.value}.")
    return Shown(example, tuple(pictures), tuple(notes))


def _pictures(example: Example, image: LesionImage, models: _Models, which: str) -> Iterator[HeatPicture]:
    for at in example.thresholds:
        card, networks = models[at]
        card, value = card.at_site(image.scanner.site), example.lesion.threshold(at.scorer, at.value)
        looked = grad_cam(card, networks, image.frame, image.region, image.age.years)
        positive, probability = card.positive_class.replace("_", " "), looked.score.positive_probability
        caption = (
            f"{', '.join(filter(None, (at.scorer.name, which)))}: {positive} {said(probability, value)}, "
            f"from {value:.6g} on. {looked.heat.cells} x {looked.heat.cells} cells."
            + ("" if looked.heat.values.any() else f" Nothing in the image weighed for {positive}.")
            + (f" Notice: {card.notice}." if card.notice else "")
        )
        yield HeatPicture(heat_picture(image.frame, image.region, looked.heat), caption)
