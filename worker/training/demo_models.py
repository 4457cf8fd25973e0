"""The demo models: both trained on phantoms, for trying the service out and never for a patient.

They come from the trainer that a hospital uses (`worker.training.train`); what is theirs is a configuration.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ModelRefused
from worker.inference.entry import Entry
from worker.inference.model_card import DEMO_NOTICE, MODEL_NAMES, ModelCard, ModelName
from worker.inference.registry import Registry
from worker.training.artefacts import version_prefix
from worker.training.cohort import Cohort, phantom_cohort
from worker.training.config import DEMO, DEMO_EPOCHS_CONTINUED, TrainingConfig
from worker.training.folder import TrainingFolder
from worker.training.train import Running, Trained, train

OnProgress = Callable[[str, float], None]
_COHORT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A demo model in the registry.

    Attributes:
        card: with its metrics on held-out phantoms.
        trained: now; ``False`` when the registry had it already.
        activated: now; ``False`` when a version of the model was active already, which is left alone.
    """

    card: ModelCard
    trained: bool
    activated: bool


def make_demo_models(
    registry: Registry, *, on_progress: OnProgress, config: TrainingConfig = DEMO
) -> tuple[DemoModel, ...]:
    """Make sure that the registry has both demo models, and activate them where nothing is active.

    Args:
        registry: where they go.
        on_progress: told what is being done, and the share of all that is.
        config: the demo's, with another seed, or a quicker one for a test. The same one gives the same weights on the
            same machine.

    Returns:
        DLR_LH and DLR_BM.
    """
    known = {name: _sound_entry(registry, name, config) for name in MODEL_NAMES}
    cards: dict[ModelName, ModelCard] = {name: entry.card for name, entry in known.items() if entry is not None}
    made = {} if len(cards) == len(MODEL_NAMES) else _train_both(registry, config, on_progress)
    on_progress("done", 1.0)
    cards |= made
    return tuple(
        DemoModel(cards[name], trained=name in made, activated=_activate_if_none_is(registry, cards[name]))
        for name in MODEL_NAMES
    )


def config_of(name: ModelName, config: TrainingConfig, first: Path | None = None) -> TrainingConfig:
    """Return how a model is trained: DLR_BM goes on from the weights of DLR_LH, which ``first`` are."""
    if name == MODEL_NAMES[0]:
        return config
    return config.model_copy(update={"epochs": min(DEMO_EPOCHS_CONTINUED, config.epochs), "init": str(first or "file")})


def train_both(
    cohort: Cohort, config: TrainingConfig, folder: Path, on_progress: OnProgress
) -> dict[ModelName, Trained]:
    """Train DLR_LH, and DLR_BM on from it, each in a folder of its name.

    Args:
        cohort: what both learn from.
        config: of DLR_LH; see `config_of`.
        folder: theirs.
        on_progress: told what is being done, and the share of all that is.
    """
    made: dict[ModelName, Trained] = {}
    for place, name in enumerate(MODEL_NAMES):

        def tell(done: float, what: str = f"training {name}", place: int = place) -> None:
            on_progress(what, (place + done) / len(MODEL_NAMES))

        first = TrainingFolder(folder / MODEL_NAMES[0]).weights_path
        trained = train(name, cohort, config_of(name, config, first), folder / name, Running(on_share=tell))
        assert trained is not None  # noqa: S101  there is one process
        made[name] = trained
    return made


def _sound_entry(registry: Registry, name: ModelName, config: TrainingConfig) -> Entry | None:
    prefix = version_prefix(DEMO_NOTICE, config_of(name, config))
    for entry in registry.list():
        if entry.card.name == name and entry.card.version.startswith(prefix) and registry.is_sound(entry):
            return entry
    return None


def _activate_if_none_is(registry: Registry, card: ModelCard) -> bool:
    try:
        registry.active(card.name)
    except ModelRefused:
        registry.activate(card.name, card.version)
        return True
    return False


def _train_both(registry: Registry, config: TrainingConfig, on_progress: OnProgress) -> dict[ModelName, ModelCard]:
    def drawn(done: int, total: int) -> None:
        on_progress("drawing phantoms", done / total * _COHORT_SHARE)

    def trained(what: str, share: float) -> None:
        on_progress(what, _COHORT_SHARE + share * (1 - _COHORT_SHARE))

    with tempfile.TemporaryDirectory() as folder:
        made = train_both(phantom_cohort(config, drawn), config, Path(folder), trained)
        written = {name: TrainingFolder(Path(folder) / name) for name in made}
        return {name: registry.add(one.card_path, one.weights_path) for name, one in written.items()}
