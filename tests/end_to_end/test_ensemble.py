"""An ensemble from the registry to the ledger, on real servers: a lesion's score is the mean of its members' scores."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from db.writes import ledger
from tests.conftest import Database
from tests.worker.inference.samples import write_ensemble
from tests.worker.rescoring.hospital import Hospital, Machines, opened, started
from worker.inference.loading import load_engine

pytestmark = pytest.mark.slow

SEEDS = (3, 4, 5)
MEMBERS = tuple(f"member-{seed}" for seed in SEEDS)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with started(tmp_path_factory.mktemp("machines")) as machines:
        yield machines


@pytest.fixture
def hospital(database: Database, tmp_path: Path, machines: Machines) -> Iterator[Hospital]:
    """Its registry has three versions of DLR_BM besides the active one, and their ensemble."""
    with opened(database, tmp_path, machines) as made:
        card_path, weights = write_ensemble(tmp_path / "incoming", SEEDS)
        made.registry.add(card_path, *weights)
        for path in weights:
            made.registry.add(path.with_name("card.json"), path)
        yield made


def served(hospital: Hospital, version: str, lesions: int = 2) -> tuple[UUID, dict[str, float]]:
    """Score a study of the same pixels with a version in service; return it, and its lesions' scores in the ledger."""
    hospital.registry.activate("DLR_BM", version)
    engine = load_engine(hospital.models_dir, "cpu", batch_max=2, wait_ms=1)
    with hospital.sessions.begin() as session:
        for card in engine.cards:
            ledger.register_model(session, card.record())
    try:
        study_id = hospital.queued(hospital.job(lesions, seed=9))
        assert replace(hospital.pipeline, engine=engine).run(study_id) == ("done", None, 1)
    finally:
        engine.close(5.0)
    return study_id, {lesion: by_version[version] for lesion, by_version in of_study(hospital, study_id).items()}


def of_study(hospital: Hospital, study_id: UUID) -> dict[str, dict[str, float]]:
    return {key.split()[1]: found for key, found in hospital.scores().items() if key.startswith(str(study_id))}


def test_its_score_in_the_ledger_is_the_mean_of_what_its_members_serve_alone(hospital: Hospital) -> None:
    each = [served(hospital, version)[1] for version in MEMBERS]
    _, together = served(hospital, "ensemble")
    for lesion, score in together.items():
        of_members = [one[lesion] for one in each]
        assert max(of_members) - min(of_members) > 1e-3
        assert score == pytest.approx(np.mean(of_members), abs=1e-6)


def test_a_backfill_with_it_says_the_mean_too_and_it_is_compared_with_a_member(hospital: Hospital) -> None:
    study_id, _ = served(hospital, MEMBERS[0])
    assert hospital.dlr("backfill", "--model", "DLR_BM/ensemble").returncode == 0
    for version in MEMBERS[1:]:
        assert hospital.dlr("backfill", "--model", f"DLR_BM/{version}").returncode == 0
    for by_version in of_study(hospital, study_id).values():
        assert by_version["ensemble"] == pytest.approx(np.mean([by_version[one] for one in MEMBERS]), abs=1e-4)
    compared = hospital.dlr("models", "compare", f"DLR_BM/{MEMBERS[0]}", "DLR_BM/ensemble", "--format", "json")
    assert compared.returncode in (0, 3), compared.stderr
    assert json.loads(compared.stdout)["models"][0]["differences"]["largest"] > 1e-3


def test_it_is_explained_replayed_and_looked_after_like_any_version(hospital: Hospital, tmp_path: Path) -> None:
    study_id, _ = served(hospital, "ensemble", lesions=1)
    explained = hospital.dlr("explain", study_id, "--model", "DLR_BM", "-o", tmp_path / "pictures", "--format", "json")
    assert explained.returncode == 0, explained.stderr
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
    assert hospital.dlr("models", "check").returncode == 0
    doctor = json.loads(hospital.dlr("doctor", "--format", "json").stdout)
    assert "DLR_BM ensemble (an ensemble of 3)" in json.dumps(doctor)
    (tmp_path / "policy.json").write_text('{"schema_version": 1, "DLR_BM": {"threshold": 0.0}}')
    replayed = hospital.dlr("replay", "--policy", tmp_path / "policy.json", "--format", "json")
    assert replayed.returncode in (0, 3), replayed.stderr
