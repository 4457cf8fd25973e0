"""How long the cancers of a cohort of phantoms would wait: drawn by the study's Table S1, scored, and listed."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from db.schema.vocabulary import AgeSource, RegionSource
from worker import durable_files
from worker.clinical.categories import Priority
from worker.clinical.reading_order.policy import DEFAULT, built_in
from worker.evaluation.evaluation_options import Options
from worker.evaluation.scores_file import COLUMN_OF, read_scores
from worker.inference.loading import load_engine
from worker.inference.model_card import MODEL_NAMES
from worker.inference.registry import Registry
from worker.phantom.phantom import Phantom, phantom
from worker.phantom.table_s1 import class_table
from worker.study import Age, LesionImage
from worker.waiting_times.cohort import ARRIVAL, judged_cohort
from worker.waiting_times.document import WaitingTimes, waiting_times
from worker.waiting_times.formatting import minutes, said_of
from worker.waiting_times.setting import Setting, Workload

PHANTOMS, DAYS, RESAMPLES = 300, 50, 100
COLUMNS = ("lesion_id", "study_id", "patient_key", "pathology", "birads", "age_years", *COLUMN_OF.values())

_APART = 18
"""Drawn beside the seed, so that none of these is a phantom that the demo models learned from."""


def phantoms_waiting(models_dir: Path, folder: Path, seed: int) -> WaitingTimes:
    """Simulate how long phantoms wait under the default policy, and under the orders that it is held against.

    Their scores stay in the folder, as a table that `dlr report reading-order --scores` reads.

    Args:
        models_dir: the registry's folder; its active models score.
        folder: where the scores are kept.
        seed: of the phantoms and of the days.
    """
    registry = Registry(models_dir)
    lh, bm = (registry.active(name).card for name in MODEL_NAMES)
    kept = folder / f"phantoms-{seed}-{lh.version}-{bm.version}.csv"
    if not kept.exists():
        durable_files.replace(kept, scored_phantoms(models_dir, seed))
    read = read_scores(kept)
    cohort = judged_cohort(read.material, read.unscored, Options(lh_threshold=lh.threshold, bm_threshold=bm.threshold))
    return waiting_times(cohort, built_in(DEFAULT), Setting(Workload(), DAYS, None, RESAMPLES, seed))


def scored_phantoms(models_dir: Path, seed: int) -> bytes:
    """Draw phantoms, with Table S1's share of malignant ones, and score them: a table of scores, CSV."""
    written = io.StringIO(newline="")
    table = csv.writer(written, lineterminator="\n")
    table.writerow(COLUMNS)
    engine = load_engine(models_dir, "cpu", None, 0)
    try:
        drawn = [(one, engine.submit([_image(one)], Priority.ROUTINE)) for one in _phantoms(seed)]
        for number, (one, scoring) in enumerate(drawn, start=1):
            pathology, scores = "malignant" if one.malignant else "benign", scoring.result()
            probabilities = scores.lh.positive_probability, scores.bm.positive_probability
            table.writerow(("L1", f"S{number}", f"P{number}", pathology, one.birads, one.age_years, *probabilities))
    finally:
        engine.close()
    return written.getvalue().encode()


def sentences(found: WaitingTimes) -> Iterator[str]:
    """Say in a few sentences how much sooner the cancers are read under the policy than as they arrive."""
    [sooner] = [one for one in found.differences if (one.first, one.second) == (found.policy, ARRIVAL)]
    before, after = (found.orders[order].cancers_mean.value for order in (ARRIVAL, found.policy))
    yield f"Simulated reading of phantoms, which says nothing of any hospital: {said_of(found)}"
    yield (
        f"Until they are opened, cancers wait {before:.1f} minutes in the mean as they arrive, and {after:.1f} under "
        f"{found.policy}; difference, with its 95 % interval: {minutes(sooner.figures.cancers_mean)} minutes."
    )


def _phantoms(seed: int) -> Iterator[Phantom]:
    rng = np.random.default_rng((seed, _APART))
    benign, malignant = (class_table(malignant=kind).lesions for kind in (False, True))
    for kind, own in zip(rng.random(PHANTOMS) < malignant / (benign + malignant), rng.integers(2**63, size=PHANTOMS),
                         strict=True):  # fmt: skip
        yield phantom(int(own), malignant=bool(kind))


def _image(one: Phantom) -> LesionImage:
    return LesionImage(one.image, one.roi, RegionSource.JOB, Age(one.age_years, AgeSource.JOB))
