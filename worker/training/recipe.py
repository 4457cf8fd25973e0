"""How a model is trained: every number that a result depends on besides the seed."""

import hashlib
from dataclasses import asdict, dataclass

from worker.inference.card import Backbone, Preprocessing

DEMO_SEED = 20261123
DEMO_PREPROCESSING = Preprocessing(
    size=64, margin=0.25, resize="letterbox", channels="gray", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe; its defaults make the demo models.

    Attributes:
        backbone: a ResNet of torchvision.
        preprocessing: of each lesion, in training and in service.
        age_mean: years; the study's cohort.
        age_sd: years; the study's cohort.
        train: phantoms that the image network learns from.
        calibration: phantoms that it does not learn from: the age classifier and the threshold do too.
        test: phantoms that nothing learns from: the metrics are theirs.
        epochs: of the first model's image network.
        epochs_continued: of the second one's, which goes on from the first's.
        batch: lesions a step.
        learning_rate: the highest of the one-cycle schedule.
        weight_decay: of AdamW.
        age_steps: full-batch steps of the age classifier.
        age_learning_rate: of the age classifier.
        age_weight_decay: of the age classifier; strong, since it has few lesions to learn from.
        phantoms: the version of the phantoms' drawing; goes up when their pixels change.
    """

    backbone: Backbone = "resnet50"
    preprocessing: Preprocessing = DEMO_PREPROCESSING
    age_mean: float = 44.23
    age_sd: float = 12.67
    train: int = 800
    calibration: int = 400
    test: int = 500
    epochs: int = 3
    epochs_continued: int = 2
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    age_steps: int = 300
    age_learning_rate: float = 3e-3
    age_weight_decay: float = 1.0
    phantoms: int = 1

    def fingerprint(self) -> str:
        """Return six characters that change with any number of the recipe."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:6]
