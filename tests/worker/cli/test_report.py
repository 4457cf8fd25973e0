"""`dlr report`, as a user types it: from a manifest and from a real database."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy.orm import Session

from db.writes.pathology import PathologyRecord, find_lesions, hold_imports, record_pathology
from tests import command_line
from tests.conftest import Database
from tests.db.samples import DEMO, ended, lesion, refused, scored, study, writing
from tests.worker.reporting.table_s1_lesions import COLUMNS, published, study_lesions, write_manifest

NOWHERE = "postgresql+psycopg2://nobody@127.0.0.1:1/none"


def dlr(database: Database | None, *arguments: object, **variables: object) -> "subprocess.CompletedProcess[str]":
    url = NOWHERE if database is None else database.writer_url
    return command_line.dlr("report", *arguments, DLR_DATABASE_URL=url, **variables)


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


def rows_of(done: "subprocess.CompletedProcess[str]") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.fixture
def ledger(database: Database) -> Iterator[Session]:
    """A session on a ledger that knows a demo's models, 1.0, and others, 2.0; it is committed by the test."""
    with writing(database, newer=True) as sessions, sessions() as session:
        yield session


def reported(session: Session, results: Mapping[UUID, Sequence[str]]) -> None:
    """Record what pathology said of the first lesions of each study."""
    hold_imports(session)
    found = find_lesions(session, results)
    record_pathology(
        session,
        [
            PathologyRecord(found[study_id, f"L{place}"], said, None, date(2026, 3, 2))
            for study_id, of_lesions in results.items()
            for place, said in enumerate(of_lesions, start=1)
        ],
        "a person",
    )


def recorded(
    session: Session, uid: str, *scores: tuple[float, float], version: str = "2.0", shape: str = "oval"
) -> UUID:
    """A study with a lesion for each pair of scores, of DLR_LH and DLR_BM; with one, if there are none."""
    by_name = {f"L{place}": pair for place, pair in enumerate(scores or [(0.2, 0.2)], start=1)}
    lesions = tuple(lesion(name, descriptors={"shape": shape}) for name in by_name)
    results = [scored(name, lh, bm, version=version) for name, (lh, bm) in by_name.items()]
    return ended(session, study(uid, lesions=lesions), *results).study_id


# --- Table S1


def test_746_lesions_of_a_manifest_give_table_s1_back_without_a_database(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "cohort.csv", study_lesions())
    done = dlr(None, "cohort", "--manifest", manifest, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert [{name: row[name] for name in COLUMNS} for row in rows_of(done)] == published()
    table = dlr(None, "cohort", "--manifest", manifest).stdout
    assert table.startswith("Table S1: 746 lesions of 746 patients")
    for printed in ("0.0598", "293 (66.9 %)", "52.00±10.66", "rough: 2 of 4 cells"):
        assert printed in table


def test_json_has_every_number_as_it_was_computed(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "cohort.csv", study_lesions())
    [table] = answer(dlr(None, "cohort", "--manifest", manifest, "--format", "json"))["tables"]
    assert table["lesions"] == {"total": 746, "benign": 438, "malignant": 308}
    features = {feature["feature"]: feature for feature in table["features"]}
    assert features["skin_changes"]["test"]["p_value"] == pytest.approx(0.059795015)
    assert features["skin_changes"]["test"]["printed"] == "0.0598"
    assert features["age_years"]["levels"][0]["malignant"] == pytest.approx({"known": 308, "mean": 52, "sd": 10.66})


def test_bad_rows_are_listed_by_line_and_nothing_is_counted(tmp_path: Path) -> None:
    rows = study_lesions()[:6]
    rows[1]["pathology"], rows[3]["shape"], rows[4]["patient_key"] = "unsure", "lobular", rows[0]["patient_key"]
    manifest = write_manifest(tmp_path / "cohort.csv", rows)
    done = dlr(None, "cohort", "--manifest", manifest, "--format", "json")
    assert done.returncode == 1
    assert [(row["line"], row["code"]) for row in answer(done)] == [
        (3, "row_invalid"), (5, "row_invalid"), (6, "label_contradictory"),
    ]  # fmt: skip
    assert "error: dataset_invalid: 3 of 6 rows are bad" in done.stderr
    table = dlr(None, "cohort", "--manifest", manifest)
    assert (table.returncode, "Table S1" in table.stdout) == (1, False)
    assert not [word for word in ("unsure", "lobular", "benign-0") if word in table.stdout + table.stderr]


def test_what_a_manifest_does_not_say_is_counted_as_missing_and_said(tmp_path: Path) -> None:
    rows = [
        {name: cell for name, cell in row.items() if name != "edema"} | {"image": "a.png"} for row in study_lesions()
    ]
    rows[0]["shape"] = ""
    done = dlr(None, "cohort", "--manifest", write_manifest(tmp_path / "cohort.csv", rows), "--format", "csv")
    assert "the manifest has no column edema" in done.stderr
    assert "that Table S1 does not use: 1" in done.stderr
    missing = {row["feature"]: row for row in rows_of(done) if row["level"] == "missing"}
    assert set(missing) == {"shape", "edema"}
    assert [missing["shape"][name] for name in ("total", "benign", "malignant")] == ["1", "1", "0"]
    assert missing["edema"]["total"] == "746"


def test_the_lesions_on_record_are_summed_up_for_each_notice(database: Database, ledger: Session) -> None:
    results = {recorded(ledger, f"1.{number}"): ["benign"] for number in range(3)}
    results |= {recorded(ledger, f"2.{n}", shape="irregular"): ["malignant"] for n in range(2)}
    results |= {recorded(ledger, "3.1", version="1.0"): ["benign"]}
    recorded(ledger, "4.1")  # pathology has said nothing of it
    results |= {ended(ledger, study("5.1"), refused()).study_id: ["malignant"]}
    reported(ledger, results)
    ledger.commit()
    done = dlr(database, "cohort", "--format", "json")
    said = answer(done)
    assert done.returncode == 0
    assert [(table["notice"], table["lesions"]["total"]) for table in said["tables"]] == [(None, 5), (DEMO, 1)]
    assert said["notes"] == {"unscored": "left out: 1 lesions with pathology but without scores (dlr failed)"}
    [shape] = [feature for feature in said["tables"][0]["features"] if feature["feature"] == "shape"]
    oval = next(level for level in shape["levels"] if level["level"] == "oval")
    assert oval["benign"] == {"count": 3, "known": 3, "percent": 100.0}
    assert shape["test"]["remark"] == "rough: 4 of 4 cells expect fewer than 5 lesions"
    table = dlr(database, "cohort")
    assert "Table S1: 5 lesions of 5 studies" in table.stdout
    assert DEMO in table.stdout
    assert "left out: 1 lesions" in table.stderr
    assert {row["notice"] for row in rows_of(dlr(database, "cohort", "--format", "csv"))} == {"", DEMO}


def test_a_ledger_without_results_of_pathology_says_so(database: Database) -> None:
    done = dlr(database, "cohort")
    assert (done.returncode, "dlr pathology import" in done.stdout) == (0, True)


# --- Fig. S5


@pytest.fixture
def study_arms(database: Database, ledger: Session) -> Database:
    """The study's 148 lesions of BI-RADS 4A: 41 downgraded, 80 kept, 27 upgraded with 22 malignant."""
    downgraded = recorded(ledger, "1.1", *[(0.2, 0.2)] * 41)
    recorded(ledger, "1.2", *[(0.2, 0.8)] * 50, *[(0.8, 0.2)] * 30)
    upgraded = recorded(ledger, "1.3", *[(0.8, 0.8)] * 27)
    reported(ledger, {downgraded: ["benign"] * 41, upgraded: ["malignant"] * 22 + ["benign"] * 5})
    ledger.commit()
    return database


def test_the_studys_148_lesions_give_the_percentages_of_fig_s5(study_arms: Database, tmp_path: Path) -> None:
    done = dlr(study_arms, "restratification")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-4:] == [
        "downgraded to BI-RADS 3: 41 (27.7 %); cancer in 0 of 41 (0.0 %)",
        "kept in BI-RADS 4A: 80 (54.1 %); pathology not known",
        "upgraded above 4A: 27 (18.2 %); cancer in 22 of 27 (81.5 %)",
        "LH 2.0, BM 2.0, fig-s5/1",
    ]
    arms = {
        row["outcome"]: row for row in rows_of(dlr(study_arms, "restratification", "-f", "csv")) if row["part"] == "arm"
    }
    assert [(arms[arm]["lesions"], arms[arm]["percent_of_4a"]) for arm in ("downgraded", "maintained", "upgraded")] == [
        ("41", "27.7"), ("80", "54.1"), ("27", "18.2"),
    ]  # fmt: skip
    assert (arms["upgraded"]["malignant"], arms["upgraded"]["percent_malignant"]) == ("22", "81.5")
    [flow] = answer(dlr(study_arms, "restratification", "-f", "json"))["flows"]
    assert (flow["lesions"], flow["arms"]["downgraded"]["rate"]) == (148, pytest.approx(41 / 148))
    assert [branch["lesions"]["count"] for branch in flow["branches"]] == [41, 50, 30, 27]
    picture = tmp_path / "figures" / "flow.svg"
    drawn = dlr(study_arms, "restratification", "--format", "svg", "--output", picture)
    assert (drawn.returncode, drawn.stdout) == (0, "")
    root = ET.parse(picture).getroot()  # noqa: S314 -- our own
    assert "80 (54.1 %)" in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_missed_cancer_is_named_first_and_is_an_exit_status_of_its_own(database: Database, ledger: Session) -> None:
    missed = recorded(ledger, "1.1", (0.1, 0.1), version="1.0")
    recorded(ledger, "1.2", (0.9, 0.9))
    reported(ledger, {missed: ["malignant"]})
    ledger.commit()
    done = dlr(database, "restratification")
    assert done.returncode == 3
    real, demo = done.stdout.split("ALERT downgraded_cancer: 1 malignant lesions were advised down to BI-RADS 3")
    assert (str(missed) in demo, str(missed) in real, DEMO in demo) == (True, False, True)
    for fmt in ("json", "csv", "svg"):
        quiet = dlr(database, "restratification", "--format", fmt)
        assert (quiet.returncode, "malignant but advised down to 3: 1" in quiet.stderr) == (3, True)
    flows = answer(dlr(database, "restratification", "--format", "json"))["flows"]
    assert flows[1]["missed_cancers"] == [{"study_id": str(missed), "lesion_id": "L1"}]
    rows = rows_of(dlr(database, "restratification", "--format", "csv"))
    [named] = [row for row in rows if row["notice"] == DEMO][:1]
    assert (named["part"], named["study_id"], named["lesion_id"]) == ("missed_cancer", str(missed), "L1")
    assert dlr(database, "restratification", "--since", "2999-01-01").stdout == "no 4A lesion has scores\n"


def test_a_file_that_can_not_be_written_is_a_sentence(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = dlr(database, "restratification", "--format", "svg", "--output", tmp_path / "file" / "flow.svg")
    assert (done.returncode, "error: setting_invalid: --output" in done.stderr) == (1, True)


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    done = dlr(None, "cohort", "--manifest", write_manifest(tmp_path / "cohort.csv", study_lesions()[:50]))
    assert (done.returncode, "pip install 'dlr-worker[train]'" in done.stderr) == (1, True)
