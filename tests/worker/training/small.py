"""Trainings that take seconds, and phantoms to train on."""

from typing import Any

from worker.training.cohort import Cohort, CohortRow, phantom_cohort
from worker.training.config import DEMO, Phantoms, TrainingConfig, read_config
from worker.training.manifest import Split

FIELDS: dict[str, Any] = {
    "backbone": "resnet18",
    "input_size": 32,
    "epochs": 2,
    "batch": 16,
    "age.steps": 20,
    "augmentation.rotation_degrees": 7,
    "augmentation.gamma": 0.2,
}


def config(**changes: Any) -> TrainingConfig:
    """A small configuration, with changes; ``part__field`` is a field of a part."""
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return read_config(None, FIELDS | given, DEMO.model_copy(update={"phantoms": Phantoms(count=110)}))


def phantoms(of: TrainingConfig) -> Cohort:
    return phantom_cohort(of)


def cohort_row(**changes: Any) -> CohortRow:
    fields: dict[str, Any] = {
        "lesion_id": "L1", "patient_key": "P1", "split": Split.TRAIN, "malignant": False, "birads": "3",
        "age_years": 44.0,
    }  # fmt: skip
    return CohortRow(**(fields | changes))
