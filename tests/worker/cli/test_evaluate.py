"""`dlr evaluate`, as a user types it."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from db.session import make_engine, session_factory
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, register, scored, study
from tests.db.writes.test_pathology import report
from tests.worker.dataset.manifests import cohort
from tests.worker.evaluation.samples import BM, LH, many
from tests.worker.inference.samples import registry_with_both
from worker.dataset.manifest import Pathology
from worker.dataset.manifest_file import write_manifest

NOTICE = "a test's, not for clinical use"
QUICK = ("--resamples", "20", "--format", "json")


def dlr(*arguments: object, **variables: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr("evaluate", *arguments, **variables)


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["lesion_id", "patient_key", "pathology", "birads", "age_years", "size_mm", "site",
             "high_risk_probability", "malignant_probability", "malignant_probability_2026.12"]
        )  # fmt: skip
        for one in many():
            said = "malignant" if one.malignant else "benign"
            writer.writerow([one.lesion_id, one.patient, said, one.birads, one.age_years, one.size_mm, one.site,
                             one.scores[LH], one.scores[BM], one.scores[BM] ** 0.5])  # fmt: skip
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with small models, active."""
    folder = tmp_path_factory.mktemp("models")
    registry_with_both(folder, notice=NOTICE)
    return folder / "registry"


@pytest.fixture
def plain_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots whose pictures are a word: how they become SVG and PNG is told by the tests of the report."""
    monkeypatch.setattr("worker.evaluation.plots._bytes", lambda _figure, kind: kind.encode())


def test_a_table_of_scores_becomes_numbers_and_a_report_missed_cancers_first(
    table: Path, plain_plots: None, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    done = dlr("--scores", table, "--output", folder, "--lh-threshold", 0.6, "--bm-threshold", 0.6, "--resamples", 20)
    assert done.returncode == 3
    assert done.stdout.startswith("ALERT downgraded_cancer: ")
    assert "DLR_BM 2026.12" in done.stdout
    assert f"written: {folder / 'report.html'}" in done.stderr
    document = json.loads((folder / "metrics.json").read_text())
    missed = document["restratifications"][0]["missed_cancers"]
    by_id = {one.lesion_id: one for one in many()}
    assert missed
    assert all(by_id[one["lesion_id"]].malignant for one in missed)
    assert [one["bm_version"] for one in document["restratifications"]] == ["given", "2026.12"]
    assert (folder / "report.html").read_text().count("data:image/svg+xml;base64,") >= 10


def test_without_a_missed_cancer_the_exit_status_is_0(table: Path) -> None:
    done = dlr("--scores", table, "--lh-threshold", 0, "--bm-threshold", 0, *QUICK)
    assert done.returncode == 0
    assert answer(done)["restratifications"][0]["missed"]["count"] == 0


def test_without_a_malignant_4a_lesion_nothing_is_said_of_missed_cancers(
    table: Path, plain_plots: None, tmp_path: Path
) -> None:
    path = tmp_path / "scores.csv"
    lines = table.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if ",malignant,4A," not in line))
    done = dlr("--scores", path, "--resamples", 0, "--output", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert "missed cancers: they cannot be assessed, since no 4A lesion" in done.stdout
    page = (tmp_path / "report" / "report.html").read_text()
    assert "they cannot be assessed" in page
    assert "Missed cancers: none" not in page


def test_what_is_left_out_is_said_in_tables_too(tmp_path: Path) -> None:
    rows = ["L1,benign,0.1", "L2,malignant,0.9", "L3,benign,", "L4,benign,"]
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(["lesion_id,pathology,malignant_probability", *rows]))
    done = dlr("--scores", path, "--resamples", 0)
    [line] = [line for line in done.stdout.splitlines() if "without scores" in line]
    assert (done.returncode, line.split("│")[2].strip()) == (0, "2")


def test_two_runs_say_the_same(table: Path) -> None:
    once, again = (answer(dlr("--scores", table, *QUICK)) for _ in range(2))
    assert {**once, "created_at": None} == {**again, "created_at": None}


def test_bad_rows_stop_it_unless_they_are_to_be_left_out(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(table.read_text() + "SECRET,P,perhaps,4A,50,1,A,0.1,0.1,0.1\n")
    refused = dlr("--scores", path, *QUICK)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "line 302: row_invalid: pathology" in refused.stderr
    assert "error: scores_invalid: 1 rows are bad" in refused.stderr
    assert "SECRET" not in refused.stderr
    skipped = dlr("--scores", path, "--skip-bad", "--lh-threshold", 0, "--bm-threshold", 0, *QUICK)
    assert skipped.returncode == 3
    assert answer(skipped)["cohort"]["lesions"] == 300


def test_bad_rows_of_a_manifest_stop_it_before_any_is_scored(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", cohort(tmp_path, 1))
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write("SECRET.png\n")
    done = dlr("--manifest", tmp_path / "manifest.csv", *QUICK, DLR_MODELS_DIR=str(tmp_path / "no models"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 4: row_invalid: " in done.stderr
    assert "error: dataset_invalid: 1 rows are bad, so nothing was evaluated: fix them or use --skip-bad" in done.stderr
    assert "SECRET" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "give exactly one"),
        (("--scores", "a.csv", "--from-database"), 2, "give exactly one"),
        (("--scores", "none.csv"), 1, "scores_invalid: the file does not exist"),
        (("--manifest", "none.csv"), 1, "dataset_invalid: the manifest does not exist"),
        (("--scores", "a.csv", "--bm-threshold", "2"), 2, "--bm-threshold"),
        (("--scores", "a.csv", "--output", "new", "--grad-cam", "5"), 2, "--manifest, for its images"),
        (("--from-database", "--output", "new", "--grad-cam", "5"), 2, "--manifest, for its images"),
        (("--manifest", "a.csv", "--grad-cam", "5"), 2, "--output, for a report"),
        (("--scores", "a.csv", "--root", "b"), 2, "--root"),
        (("--manifest", "a.csv", "--since", "30d"), 2, "needs --from-database"),
        (("--manifest", "a.csv", "--output", "new", "--grad-cam", "0"), 2, "--grad-cam"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = dlr(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr


def test_a_folder_that_holds_something_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    done = dlr("--scores", tmp_path / "none.csv", "--output", tmp_path)
    assert (done.returncode, "setting_invalid: --output" in done.stderr) == (1, True)


def test_the_database_is_evaluated_and_lesions_have_opaque_ids(database: Database) -> None:
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        missed = ended(session, study("1.1", accession_number="SECRET"), scored(lh=0.1, bm=0.2)).study_id
        report(session, "1.1", "malignant")
        ended(session, study("1.2", accession_number="A2"), scored(lh=0.1, bm=0.1))
        report(session, "1.2")
    engine.dispose()
    done = dlr("--from-database", *QUICK, DLR_DATABASE_URL=database.writer_url)
    assert done.returncode == 3
    [one] = answer(done)["restratifications"]
    assert one["missed_cancers"] == [
        {"lesion_id": f"{missed} L1", "high_risk_probability": 0.1, "malignant_probability": 0.2}
    ]
    assert "SECRET" not in done.stdout
    assert any("seldom biopsied" in notice for notice in answer(done)["notices"])


def test_a_manifest_is_scored_by_the_active_models_and_its_report_shows_where_they_looked(
    models: Path, plain_plots: None, tmp_path: Path
) -> None:
    write_manifest(tmp_path / "manifest.csv", cohort(tmp_path, 6, views=1))
    arguments = ("--manifest", tmp_path / "manifest.csv", *QUICK)
    plain = answer(dlr(*arguments, DLR_MODELS_DIR=models))
    assert (plain["source"], plain["cohort"]["lesions"], plain["cohort"]["patients"]) == ("manifest", 6, 6)
    assert plain["questions"][0]["judged"][0]["version"] == "1.0"
    assert plain["notices"][0].endswith(NOTICE)
    done = dlr(*arguments, "--output", tmp_path / "report", "--grad-cam", 3, DLR_MODELS_DIR=models)
    assert {**answer(done), "created_at": None} == {**plain, "created_at": None}
    assert "lesions" in done.stderr
    assert "heat maps" in done.stderr
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 * 3
    assert page.index("AUC") < page.index("Where the models looked")


def test_lesions_on_several_images_are_counted_once_and_it_is_said_where_their_views_disagree(
    models: Path, tmp_path: Path
) -> None:
    rows = cohort(tmp_path, 6, views=2)
    write_manifest(tmp_path / "manifest.csv", rows)
    arguments = ("--manifest", tmp_path / "manifest.csv", "--resamples", "0")
    found = answer(dlr(*arguments, "--format", "json", DLR_MODELS_DIR=models))
    [judged] = [one for one in found["questions"][0]["judged"] if one["model"] == "DLR_BM"]
    assert (found["cohort"]["lesions"], judged["lesions"]) == (6, 6)
    assert judged["views"]["disagree"]["total"] == 6
    assert [(one["value"], one["lesions"]) for one in judged["subgroups"] if one["by"] == "images"] == [("2 images", 6)]
    assert any("DLR_BM 1.0 by mean" in notice for notice in found["notices"])
    table = dlr(*arguments, DLR_MODELS_DIR=models).stdout
    assert "lesions on several images" in table


def test_rows_of_a_manifest_that_contradict_each_other_or_have_no_image_are_bad(models: Path, tmp_path: Path) -> None:
    rows = cohort(tmp_path, 6)
    rows[3] = rows[3].model_copy(update={"pathology": Pathology.MALIGNANT})
    (tmp_path / rows[8].image).unlink()
    write_manifest(tmp_path / "manifest.csv", rows)
    arguments = ("--manifest", tmp_path / "manifest.csv", *QUICK)
    refused = dlr(*arguments, DLR_MODELS_DIR=models)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "line 5: label_contradictory: the same lesion as line 4, and another pathology" in refused.stderr
    assert "line 10: file_not_found: " in refused.stderr
    skipped = dlr(*arguments, "--skip-bad", DLR_MODELS_DIR=models)
    assert skipped.returncode == 3
    assert answer(skipped)["cohort"]["left_out"]["rows that are bad"] == 2
