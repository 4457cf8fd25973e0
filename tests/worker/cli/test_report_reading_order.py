"""`dlr report reading-order`, as a user types it."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import command_line
from tests.conftest import Database
from tests.db.samples import DEMO, ended, scored, study, writing
from tests.db.writes.test_pathology import report as pathology
from tests.worker.dataset.manifests import cohort, with_calipers
from tests.worker.evaluation.samples import BM, LH, many
from tests.worker.inference.samples import registry_with_both
from worker.clinical.reading_order.policy import built_in_document
from worker.dataset.manifest_file import write_manifest

THRESHOLDS = ("--lh-threshold", 0.5, "--bm-threshold", 0.5)
QUICK = ("--days", 3, "--resamples", 5)
COLUMNS = ("lesion_id", "study_id", "pathology", "birads", "priority", "high_risk_probability", "malignant_probability")


def dlr(*arguments: object, **variables: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr("report", "reading-order", *arguments, **variables)


def answer(*arguments: object, **variables: object) -> Any:
    done = dlr(*arguments, *QUICK, "--format", "json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of scores, each lesion a study of its own, every tenth urgent."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for place, one in enumerate(many()):
            said, priority = ("malignant" if one.malignant else "benign"), ("urgent" if place % 10 == 0 else "routine")
            writer.writerow(["L1", f"S{place}", said, one.birads, priority, one.scores[LH], one.scores[BM]])
    return path


def test_a_table_of_scores_becomes_waits_under_four_orders(table: Path, tmp_path: Path) -> None:
    done = dlr("--scores", table, *THRESHOLDS, *QUICK, "--output", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    for said in (
        "note: Simulated, not measured", "300 studies, ", "order of arrival", "sender's priority alone", "outcome/1",
        "suspicion/2", "minutes until a study is opened", "differences on the same days",
    ):  # fmt: skip
        assert said in done.stdout
    assert f"written: {tmp_path / 'report' / 'report.html'}" in done.stderr
    document = json.loads((tmp_path / "report" / "waiting-times.json").read_text())
    plain = answer("--scores", table, *THRESHOLDS)
    assert {**document, "created_at": None} == {**plain, "created_at": None}
    assert (plain["source"], plain["cohort"]["studies"], plain["policy"]) == ("scores", 300, "suspicion/2")


def test_csv_has_a_row_for_each_figure_and_the_numbers_of_the_document(table: Path) -> None:
    done = dlr("--scores", table, *THRESHOLDS, *QUICK, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    plain = answer("--scores", table, *THRESHOLDS)
    assert len(rows) == 5 * (4 + 6)
    by_key = {(row["order"], row["less"], row["figure"]): row for row in rows}
    mean = by_key["suspicion/2", "", "cancers_mean"]
    assert (mean["unit"], float(mean["value"])) == ("minutes", plain["orders"]["suspicion/2"]["cancers_mean"]["value"])
    tenth = by_key["outcome/1", "arrival", "cancers_in_the_first_tenth"]
    assert tenth["unit"] == "share"
    assert float(tenth["low"]) == plain["differences"][1]["figures"]["first_tenth"]["low"]


def test_the_day_is_as_it_is_asked_for(table: Path) -> None:
    found = answer(
        "--scores", table, *THRESHOLDS, "--readers", 3, "--hours", 10, "--reading-minutes", 6, "--utilization", 0.5,
        "--reading-time", "lognormal", "--reading-variation", 0.7, "--cancer-share", 0.1, "--seed", 4,
    )  # fmt: skip
    assert found["setting"] == {
        "work": {"readers": 3, "per_day": 150.0, "hours": 10.0, "reading_minutes": 6.0, "reading_time": "lognormal",
                 "variation": 0.7},
        "days": 3, "cancer_share": 0.1, "resamples": 5, "seed": 4,
    }  # fmt: skip
    assert answer("--scores", table, *THRESHOLDS, "--per-day", 48)["utilization"] == pytest.approx(0.5)


def test_a_policy_of_the_site_is_held_against_the_others(table: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(built_in_document("suspicion/2").replace('name = "suspicion"', 'name = "ours"'))
    found = answer("--scores", table, *THRESHOLDS, "--policy", own)
    assert (found["policy"], list(found["orders"])) == ("ours/2", ["arrival", "priority", "outcome/1", "ours/2"])
    named = answer("--scores", table, *THRESHOLDS, "--policy", "outcome/1")
    assert list(named["orders"]) == ["arrival", "priority", "outcome/1"]


def test_a_manifest_is_scored_by_the_active_models(tmp_path: Path) -> None:
    registry_with_both(tmp_path / "models", notice="a test's")
    write_manifest(tmp_path / "manifest.csv", cohort(tmp_path, 6, views=1))
    found = answer("--manifest", tmp_path / "manifest.csv", DLR_MODELS_DIR=str(tmp_path / "models" / "registry"))
    assert (found["source"], found["cohort"]["lesions"], found["cohort"]["studies"]) == ("manifest", 6, 6)
    with_calipers(tmp_path / "1-0.png")
    asked = ("--manifest", tmp_path / "manifest.csv", "--exclude-finding", "overlay_in_roi")
    found = answer(*asked, DLR_MODELS_DIR=str(tmp_path / "models" / "registry"))
    assert found["cohort"]["lesions"] == 5
    assert any("a test's" in notice for notice in found["notices"])


def test_the_studies_on_record_are_listed_by_the_active_policy(database: Database) -> None:
    with writing(database) as sessions, sessions.begin() as session:
        for number in range(24):
            uid, cancer = f"1.{number}", number % 2 == 0
            ended(session, study(uid, accession_number=uid, priority=("stat", "routine")[number % 3 == 0]),
                  scored(bm=0.9 if cancer else 0.1))  # fmt: skip
            pathology(session, uid, "malignant" if cancer else "benign")
    found = answer("--from-database", DLR_DATABASE_URL=database.writer_url)
    assert (found["source"], found["cohort"]["studies"], found["cohort"]["cancers"]) == ("database", 24, 12)
    assert found["policy"] == "suspicion/2"
    assert any(DEMO in notice for notice in found["notices"])
    assert not any("priority" in notice for notice in found["notices"])
    other = answer("--from-database", "--policy", "outcome/1", "--since", "1d", DLR_DATABASE_URL=database.writer_url)
    assert (other["policy"], other["cohort"]["studies"]) == ("outcome/1", 24)


def test_a_ledger_without_pathology_has_nothing_to_list(database: Database) -> None:
    done = dlr("--from-database", DLR_DATABASE_URL=database.writer_url)
    assert done.returncode == 1
    assert "lesions_too_few" in done.stderr


def test_bad_rows_stop_it_unless_they_are_to_be_left_out(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(table.read_text() + "L1,S999,perhaps,4A,routine,0.1,0.1\n")
    refused = dlr("--scores", path, *THRESHOLDS, *QUICK)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "1 rows are bad, so nothing was simulated" in refused.stderr
    left_out = dlr("--scores", path, *THRESHOLDS, *QUICK, "--skip-bad")
    assert left_out.returncode == 3
    assert "300 studies" in left_out.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "give exactly one"),
        (("--scores", "a.csv", "--manifest", "b.csv"), 2, "give exactly one"),
        (("--scores", "a.csv", "--per-day", "10", "--utilization", "0.5"), 2, "give one of the two"),
        (("--scores", "a.csv", "--from-database"), 2, "give exactly one"),
        (("--scores", "a.csv", "--root", "."), 2, "needs --manifest"),
        (("--scores", "a.csv", "--exclude-finding", "overlay_in_roi"), 2, "needs --manifest"),
        (("--scores", "a.csv", "--since", "30d"), 2, "needs --from-database"),
        (("--scores", "none.csv"), 1, "scores_invalid"),
        (("--scores", "none.csv", "--policy", "none/9"), 1, "reading_order_invalid: none/9 cannot be read"),
        (("--scores", "none.csv", "--cancer-share", "1"), 2, "--cancer-share"),
    ],
)
def test_what_can_not_be_simulated_is_refused(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = dlr(*arguments)
    assert done.returncode == status
    assert said in done.stderr


def test_every_problem_of_a_policy_is_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('name = "Own"\nversion = 0\n')
    done = dlr("--scores", "none.csv", "--policy", tmp_path / "own.toml")
    assert done.returncode == 1
    assert "reading_order_invalid: " in done.stderr
    assert done.stderr.count("; ") >= 2
