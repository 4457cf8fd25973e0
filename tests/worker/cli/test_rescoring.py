"""`dlr backfill`, `dlr shadow` and `dlr models compare`, as a user types them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tests.conftest import Database
from tests.waiting import patience, until
from tests.worker.rescoring.hospital import Hospital, Machines, opened, started

DLR = (sys.executable, "-m", "worker.cli.main")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with started(tmp_path_factory.mktemp("machines")) as machines:
        yield machines


@pytest.fixture
def hospital(database: Database, tmp_path: Path, machines: Machines) -> Iterator[Hospital]:
    with opened(database, tmp_path, machines) as made:
        yield made


def answer(done: "subprocess.CompletedProcess[str]", status: int = 0) -> Any:
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in ("scored", "there_already", "left", "could_not_be", "purged"))


def rescored(hospital: Hospital) -> int:
    """How many scores of version 2.0 are on record."""
    return sum("2.0" in found for found in hospital.scores().values())


def until_rescored(hospital: Hospital, count: int) -> None:
    """Wait for so many scores of a process that has the lowest priority."""
    until(lambda: rescored(hospital) >= count, 60)


@pytest.mark.slow
def test_a_backfill_says_what_it_did_and_what_it_could_not(hospital: Hospital) -> None:
    harmed = hospital.scored(seed=1)
    hospital.scored(lesions=2, seed=2)
    hospital.file_of(harmed).unlink()
    hospital.add("2.0", seed=5)
    planned = answer(hospital.dlr("backfill", "--model", "2.0", "--dry-run", "--format", "json"))
    assert [counts(row) for row in planned["models"]] == [(0, 0, 3, 0, 0)]
    assert rescored(hospital) == 0
    first = answer(hospital.dlr("backfill", "--model", "2.0", "--limit", 1, "--format", "json"))
    assert [counts(row) for row in first["models"]] == [(1, 0, 2, 0, 0)]
    second = answer(hospital.dlr("backfill", "--model", "DLR_BM/2.0", "--format", "json"), status=3)
    (row,) = second["models"]
    assert counts(row) == (1, 1, 0, 1, 0)
    assert row["refused"] == {"file_not_found": 1}
    table = hospital.dlr("backfill", "--model", "2.0")
    assert table.returncode == 3
    assert "file_not_found 1" in table.stdout
    unknown = hospital.dlr("backfill", "--model", "DLR_LH/2.0")
    assert unknown.returncode == 1
    assert "model_not_found" in unknown.stderr
    alone = hospital.dlr("backfill", "--model", "2.0", DLR_SHADOW_DATABASE_URL="")
    assert "DLR_SHADOW_DATABASE_URL" in alone.stderr


@pytest.mark.slow
def test_a_backfill_that_was_ended_goes_on_where_it_was(hospital: Hospital) -> None:
    lesions = 4 * 4
    for seed in range(4):
        hospital.scored(lesions=4, seed=seed)
    hospital.add("2.0", seed=5)
    before: dict[str, float] = {}
    for how, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        command = [*DLR, "backfill", "--model", "2.0"]
        with subprocess.Popen(command, env=hospital.environment, stdout=PIPE, stderr=PIPE) as ended:
            until_rescored(hospital, len(before) + 1)
            ended.send_signal(how)
            ended.communicate(timeout=patience(60))
        assert ended.returncode == status
        kept = {lesion: found["2.0"] for lesion, found in hospital.scores().items() if "2.0" in found}
        assert kept == kept | before
        assert len(before) < len(kept) < lesions
        before = kept
    (row,) = answer(hospital.dlr("backfill", "--model", "2.0", "--format", "json"))["models"]
    assert counts(row) == (lesions - len(kept), len(kept), 0, 0, 0)
    after = hospital.scores()
    assert all(after[lesion]["2.0"] == score for lesion, score in kept.items())


@pytest.mark.slow
def test_a_shadow_scores_what_arrives_until_it_is_stopped_and_says_that_it_is_at_work(hospital: Hospital) -> None:
    hospital.add("2.0", seed=5)
    hospital.registry.shadow("DLR_BM", "2.0")
    assert hospital.dlr("shadow", "health").returncode == 1
    hospital.scored(seed=1)
    once = hospital.dlr("shadow", "--once")
    assert once.returncode == 0, once.stderr
    assert "2.0" in once.stdout
    with subprocess.Popen([*DLR, "shadow"], env=hospital.environment, stdout=PIPE, stderr=PIPE) as running:
        hospital.scored(seed=2)
        until_rescored(hospital, 2)
        assert hospital.dlr("shadow", "health").returncode == 0
        running.terminate()
        _, said = running.communicate(timeout=patience(60))
    assert running.returncode == 0, said
    assert b"1.2.826" not in said, "no identifier"


@pytest.mark.slow
def test_two_versions_are_compared_on_the_lesions_that_both_scored(hospital: Hospital, tmp_path: Path) -> None:
    studies = [hospital.scored(lesions=2, seed=seed) for seed in range(4)]
    hospital.add("low", seed=5, threshold=1.0)
    nothing = hospital.dlr("models", "compare", "1.0", "low")
    assert nothing.returncode == 1
    assert "dlr backfill --model low" in nothing.stderr
    assert hospital.dlr("backfill", "--model", "low", "--limit", 3).returncode == 0
    rows = [f"{study},L{n},{result},2026-11-20" for study in studies for n, result in ((0, "malignant"), (1, "benign"))]
    (tmp_path / "pathology.csv").write_text("\n".join(["study,lesion_id,result,reported_on", *rows]) + "\n")
    assert hospital.dlr("pathology", "import", tmp_path / "pathology.csv").returncode == 0
    partly = hospital.dlr("models", "compare", "DLR_BM/1.0", "low", "--format", "json")
    document = json.loads(partly.stdout)
    assert (document["source"], document["split"], document["left_out"]) == ("database", None, {})
    (found,) = document["models"]
    assert (found["other"], found["category"]) == (None, None)
    assert found["coverage"] == {"lesions": 8, "a": 8, "b": 3, "both": 3}
    assert hospital.dlr("backfill", "--model", "low").returncode == 0
    done = hospital.dlr("models", "compare", "1.0", "low", "--model", "DLR_BM", "--format", "json")
    (found,) = json.loads(done.stdout)["models"]
    assert found["coverage"]["both"] == 8
    assert found["arms"]["b"]["rates"]["upgraded"]["count"] == 0, "a threshold of 1 makes no lesion malignant"
    assert done.returncode == (3 if found["missed_cancers"]["b"] else 0)
    assert found["pathology"]["b"]["sensitivity"]["count"] == 0
    assert 0 <= found["pathology"]["auc"]["b"]["value"] <= 1
    table = hospital.dlr("models", "compare", "1.0", "low", "--model", "DLR_BM")
    assert "4A lesions, from A to B" in table.stdout
    assert "DeLong" in table.stdout
    bare = (
        "import sys; from worker.cli import compare_rows, main; compare_rows.find_spec = lambda name: None;"
        "sys.argv = ['dlr', 'models', 'compare', 'DLR_BM/1.0', 'low']\ntry: main.main()\nfinally:"
        " assert not {'scipy', 'sklearn', 'torch'} & set(sys.modules)"
    )
    without = subprocess.run(
        [sys.executable, "-c", bare], env=hospital.environment, capture_output=True, text=True, check=False
    )
    assert "AUCs need the extra `train`" in without.stdout, without.stderr
    assert "sensitivity" in without.stdout
    assert "Assertion" not in without.stderr
    wrong = hospital.dlr("models", "compare", "DLR_LH/1.0", "low")
    assert "model_not_found" in wrong.stderr
