"""`dlr monitor`, `dlr pathology` and `dlr replay`, as a user types them, on a real database."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.session import make_engine, session_factory
from tests import command_line
from tests.conftest import Database
from tests.db.samples import DEMO, ended, register, scored, study
from tests.worker.inference.samples import registry_with_both, write_model
from worker.inference.registry import Registry

HEADER = "study,lesion_id,result,reported_on\n"


def dlr(database: Database, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr(*arguments, DLR_DATABASE_URL=database.writer_url)


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


@pytest.fixture
def missed(database: Database) -> UUID:
    """The id of the study 1.1, whose lesion was advised down; 1.2 is kept, by DLR_BM's 0.55, and 1.3 upgraded."""
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        study_id = ended(session, study("1.1"), scored(lh=0.1, bm=0.2)).study_id
        ended(session, study("1.2", accession_number="A2"), scored(lh=0.1, bm=0.55))
        ended(session, study("1.3", accession_number="A3"), scored(lh=0.9, bm=0.9))
    engine.dispose()
    return study_id


def pathology(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "pathology.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def policy(tmp_path: Path, **thresholds: float) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"schema_version": 1} | {name: {"threshold": at} for name, at in thresholds.items()}))
    return path


def test_what_the_models_are_not_certain_of_is_shown_listed_and_replayed(database: Database, tmp_path: Path) -> None:
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        unsure = scored(lh=0.1, bm=0.2, lh_set=("low_risk",), bm_set=("benign", "malignant"))
        study_id = ended(session, study("1.1"), unsure).study_id
    engine.dispose()
    people = " ".join(re.sub(r"[│┃\s]+", " ", dlr(database, "show", study_id).stdout).split())
    assert "uncertain" in people
    [shown] = answer(dlr(database, "show", study_id, "--format", "json"))
    assert (shown["lesions"][0]["uncertain"], shown["lesions"][0]["outcome"]) == (True, "maintained")
    assert shown["lesions"][0]["predictions"][1]["conformal_set"] == ["benign", "malignant"]
    assert dlr(database, "show", study_id, "--format", "csv").stdout.splitlines()[1].split(",")[3:6] == [
        "maintained", "4A", "True",
    ]  # fmt: skip
    [row] = answer(dlr(database, "worklist", "--format", "json"))
    assert (row["worklist_class"], row["maintained"], row["uncertain"]) == ("maintained", 1, 1)
    assert "uncertain" in " ".join(re.sub(r"[│┃\s]+", " ", dlr(database, "worklist").stdout).split())
    tried = dlr(database, "replay", "--policy", policy(tmp_path, DLR_BM=0.1), "--format", "json")
    assert (tried.returncode, answer(tried)["moved"]) == (0, [])


def test_a_cancer_that_was_advised_down_is_told_at_the_import_and_first_by_the_monitor(
    database: Database, tmp_path: Path, missed: UUID
) -> None:
    calm = dlr(database, "monitor")
    assert (calm.returncode, "no alert" in calm.stdout, "too few" in calm.stdout) == (0, True, True)
    done = dlr(database, "pathology", "import", pathology(tmp_path, f"{missed},L1,malignant,2026-03-02"))
    assert (done.returncode, "advised down" in done.stderr) == (0, True)
    loud = dlr(database, "monitor", "--by", "scanner")
    assert loud.returncode == 3
    assert loud.stdout.startswith(f"ALERT downgraded_cancer: study {missed}, lesion L1")
    assert DEMO in loud.stdout
    said = answer(dlr(database, "monitor", "--format", "json", "--by", "model"))
    assert said["downgraded_cancers"][0]["study_id"] == str(missed)
    assert [alert["alarm"] for alert in said["alerts"]] == ["downgraded_cancer"]
    assert said["study"]["rates"]["downgraded"]["count"] == 41
    assert said["totals"][0]["malignant"]["downgraded"]["count"] == 1
    assert [group["lesions"] for group in said["groups"]] == [3]
    assert "A2" not in loud.stdout
    [listed] = answer(dlr(database, "pathology", "list", "--result", "malignant", "--format", "json"))
    assert (listed["study_id"], listed["outcome"], listed["reported_on"]) == (str(missed), "downgraded", "2026-03-02")


def test_while_a_version_has_a_share_the_rates_are_shown_by_version_with_intervals(
    database: Database, tmp_path: Path, missed: UUID
) -> None:
    registry_with_both(tmp_path).add(*write_model(tmp_path / "2.0", 1, version="2.0"))
    Registry(tmp_path / "registry").give_share("DLR_BM", "2.0", 0.1)
    assert missed
    settings = {"DLR_DATABASE_URL": database.writer_url, "DLR_MODELS_DIR": str(tmp_path / "registry")}
    done = command_line.dlr("monitor", "--format", "json", **settings)
    said = answer(done)
    assert said["by"] == "model"
    (group,) = said["groups"]
    assert group["group"].startswith("LH ")
    assert set(group["rates"]["downgraded"]) >= {"count", "total", "low", "high"}
    assert "DLR_BM 2.0 scores 10 % of the studies" in done.stderr
    since = done.stderr.rsplit("--since ", 1)[1].strip()
    assert answer(command_line.dlr("monitor", "--since", since, "--format", "json", **settings))["groups"] == []


def test_a_cancer_that_is_taken_back_is_told_at_the_import_too(
    database: Database, tmp_path: Path, missed: UUID
) -> None:
    rows = [f"{missed},L1,malignant,2026-03-02", f"{missed},L1,benign,2026-04-02"]
    done = dlr(database, "pathology", "import", pathology(tmp_path, *rows))
    assert (done.returncode, "reported malignant, then benign" in done.stderr) == (0, True)
    said = answer(dlr(database, "monitor", "--format", "json"))
    assert [one["study_id"] for one in said["cancers_taken_back"]] == [str(missed)]


def test_bad_rows_are_listed_by_line_and_code_and_nothing_is_written(
    database: Database, tmp_path: Path, missed: UUID
) -> None:
    file = pathology(tmp_path, "1.1,L1,benign,2026-03-02", "1.9.77,L1,benign,2026-03-02", "A2,L1,perhaps,2026-03-02")
    refused = dlr(database, "pathology", "import", file, "--format", "json")
    said = answer(refused)
    assert refused.returncode == 1
    assert [(row["line"], row["code"]) for row in said["bad_rows"]] == [(3, "study_not_found"), (4, "row_invalid")]
    assert (said["rows"], said["new"], said["bad"]) == (3, 0, 2)
    assert "error: pathology_invalid: 2 of 3 rows are bad" in refused.stderr
    table = dlr(database, "pathology", "import", file)
    assert not [word for word in ("1.9.77", "perhaps") if word in table.stdout + table.stderr + refused.stdout]
    skipped = dlr(database, "pathology", "import", file, "--skip-bad", "--format", "json")
    assert (skipped.returncode, answer(skipped)["new"]) == (3, 1)
    again = dlr(database, "pathology", "import", pathology(tmp_path, "1.1,L1,benign,2026-03-02"), "--format", "json")
    assert (again.returncode, answer(again)["unchanged"]) == (0, 1)


def test_a_replay_says_who_would_move_and_writes_nothing(database: Database, tmp_path: Path, missed: UUID) -> None:
    dlr(database, "pathology", "import", pathology(tmp_path, "A2,L1,malignant,2026-03-02"))
    before = everything(database)
    same = answer(dlr(database, "replay", "--policy", policy(tmp_path, DLR_LH=0.5, DLR_BM=0.5), "--format", "json"))
    assert (same["moved"], same["missed_cancers"]) == ([], [])
    assert same["rates"][0]["moves"]["maintained"] == {"downgraded": 0, "maintained": 1, "upgraded": 0}
    higher = policy(tmp_path, DLR_BM=0.6)
    done = dlr(database, "replay", "--policy", higher, "--format", "json")
    said = answer(done)
    assert done.returncode == 3
    [moved] = said["moved"]
    assert said["missed_cancers"] == [moved]
    assert (moved["from"], moved["to"], moved["bm_threshold"], moved["pathology"]) == (
        "maintained", "downgraded", 0.6, "malignant",
    )  # fmt: skip
    table = dlr(database, "replay", "--policy", higher)
    assert table.stdout.startswith("ALERT downgraded_cancer: this policy advises 1 known cancers down")
    hidden = dlr(database, "replay", "--policy", policy(tmp_path, DLR_LH=0.05, DLR_BM=0.1), "--limit", "1")
    assert (hidden.returncode, "and 1 more (--limit" in hidden.stdout) == (0, True)
    assert everything(database) == before


def everything(database: Database) -> list[object]:
    engine = make_engine(database.writer_url)
    with engine.connect() as connection:
        found = [
            connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).all()
            for table in ("study", "lesion", "prediction", "restratification", "pathology", "study_event")
        ]
    engine.dispose()
    return list(found)


@pytest.mark.parametrize("arguments", [["monitor", "--by", "colour"], ["monitor", "--since", "soon"], ["replay"],
                                       ["monitor", "--format", "xml"], ["pathology", "import"]])  # fmt: skip
def test_what_is_no_question_is_wrong_usage(arguments: list[str]) -> None:
    assert command_line.dlr(*arguments).returncode == 2
