"""Trainings that take seconds, and phantoms to train on."""

from functools import lru_cache
from typing import Any

from worker.dataset.manifest import Split
from worker.training.cohort import Cohort, CohortRow, phantom_cohort
from worker.training.config import DEMO, Phantoms, TrainingConfig, read_config

FIELDS: dict[str, Any] = {
    "backbone": "resnet18",
    "input_size": 32,
    "epochs": 2,
    "batch": 16,
    "age.steps": 20,
    "augmentation.rotation_degrees": 7,
    "augmentation.gamma": 0.2,
}


DRAWN_BY = ("seed", "phantoms", "channels", "input_size", "roi_margin", "resize", "pixel_mean", "pixel_std")
"""Fields of a configuration that phantoms depend on."""


def config(**changes: Any) -> TrainingConfig:
    """A small configuration, with changes; ``part__field`` is a field of a part."""
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return read_config(None, FIELDS | given, DEMO.model_copy(update={"phantoms": Phantoms(count=110)}))


def phantoms(of: TrainingConfig) -> Cohort:
    """Phantoms, drawn once for all configurations that take the same ones."""
    return _drawn(TrainingConfig(**{name: getattr(of, name) for name in DRAWN_BY}))


@lru_cache(maxsize=8)
def _drawn(of: TrainingConfig) -> Cohort:
    return phantom_cohort(of)


def cohort_row(**changes: Any) -> CohortRow:
    fields: dict[str, Any] = {
        "lesion_id": "L1", "patient_key": "P1", "split": Split.TRAIN, "malignant": False, "birads": "3",
        "age_years": 44.0,
    }  # fmt: skip
    return CohortRow(**(fields | changes))
