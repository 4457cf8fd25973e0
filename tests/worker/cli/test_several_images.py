"""Whatever counts lesions counts a lesion once, on however many images it was scored."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import ImageResultRecord, LesionImageRecord
from db.writes.pathology import PathologyRecord, find_lesions, hold_imports, record_pathology
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, lesion, scored, scored_image, study, writing

SCORES = {"up": (0.9, 0.9), "kept": (0.9, 0.2), "kept too": (0.1, 0.8), "down": (0.2, 0.1)}
"""Of DLR_LH and DLR_BM, by the lesion's name; each lesion is of BI-RADS 4A."""

MALIGNANT = ("up", "kept too")


@pytest.fixture(params=[1, 2, 5], ids=lambda images: f"{images} images")
def ledger(request: pytest.FixtureRequest, database: Database) -> Iterator[sessionmaker[Session]]:
    """Two studies of two lesions each, on so many images and one that was refused; pathology reported on all."""
    count: int = request.param
    images = tuple(LesionImageRecord("1.2.9", frame, None) for frame in range(1, count + 2))
    refused = ImageResultRecord("failed", "pixels_uniform", "black")
    with writing(database, newer=True) as sessions:
        with sessions.begin() as session:
            for number, names in enumerate((("up", "kept"), ("kept too", "down"))):
                record = study(
                    f"1.{number}",
                    accession_number=f"A{number}",
                    lesions=tuple(lesion(name, images=images, descriptors={"shape": "oval"}) for name in names),
                )
                results = []
                for name in names:
                    lh, bm = SCORES[name]
                    # Around the lesion's own: its images lie on both sides of the thresholds.
                    of_images = [scored_image((lh + at) % 1, (bm + at) % 1, "2.0") for at in range(count)]
                    whole = scored(name, lh, bm, version="2.0")
                    results.append(replace(whole, images=(*of_images, refused)))
                study_id = ended(session, record, *results).study_id
                hold_imports(session)
                found = find_lesions(session, [study_id])
                said = {name: "malignant" if name in MALIGNANT else "benign" for name in names}
                records = [
                    PathologyRecord(found[study_id, name], result, None, date(2026, 3, 2))
                    for name, result in said.items()
                ]
                record_pathology(session, records, "a person")
        yield sessions


def dlr(database: Database, *arguments: object) -> Any:
    done: subprocess.CompletedProcess[str] = command_line.dlr(
        *arguments, "--format", "json", DLR_DATABASE_URL=database.writer_url
    )
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def test_a_study_is_shown_with_each_images_scores_by_their_models(
    ledger: sessionmaker[Session],
    database: Database,
) -> None:
    [study] = dlr(database, "show", "A0")
    for shown in study["lesions"]:
        *images, refused = shown["images"]
        assert (shown["images_refused"], refused["error_code"], refused["predictions"]) == (1, "pixels_uniform", [])
        lh, bm = SCORES[shown["lesion_id"]]
        assert images[0]["predictions"] == [
            {"model_name": "DLR_LH", "model_version": "2.0", "positive_probability": lh},
            {"model_name": "DLR_BM", "model_version": "2.0", "positive_probability": bm},
        ]


def test_the_summary_of_outcomes_counts_lesions(ledger: sessionmaker[Session]) -> None:
    query = "SELECT outcome::text, lesions, percent_of_4a, mean_malignant_probability FROM restratification_summary"
    with ledger() as session:
        rows = {row.outcome: tuple(row)[1:] for row in session.execute(text(query))}
    assert {outcome: (row[0], float(row[1] or 0)) for outcome, row in rows.items()} == {
        "upgraded": (1, 25.0), "maintained": (2, 50.0), "downgraded": (1, 25.0), "not_applicable": (0, 0.0),
    }  # fmt: skip
    assert rows["maintained"][2] == pytest.approx(0.5)


def test_the_monitor_counts_lesions(ledger: sessionmaker[Session], database: Database) -> None:
    said = dlr(database, "monitor", "--by", "scanner")
    for counted in (*said["totals"], *said["groups"]):
        assert counted["lesions"] == 4
        assert {arm: rate["count"] for arm, rate in counted["rates"].items()} == {
            "upgraded": 1, "maintained": 2, "downgraded": 1,
        }  # fmt: skip
        assert {arm: (rate["count"], rate["total"]) for arm, rate in counted["malignant"].items()} == {
            "upgraded": (1, 1), "maintained": (1, 2), "downgraded": (0, 1),
        }  # fmt: skip


def test_an_evaluation_counts_lesions(ledger: sessionmaker[Session], database: Database) -> None:
    said = dlr(database, "evaluate", "--from-database", "--resamples", 20)
    assert (said["cohort"]["lesions"], said["cohort"]["malignant"]) == (4, 2)
    [bm] = [one for question in said["questions"] for one in question["judged"] if one["model"] == "DLR_BM"]
    assert (bm["lesions"], bm["positives"]) == (4, 2)
    assert bm["auc"]["value"] == 1.0
    [restratification] = said["restratifications"]
    for name, counts in {"missed": (0, 2), "spared": (1, 2), "uncertain": (0, 4)}.items():
        assert (restratification[name]["count"], restratification[name]["total"]) == counts, name


def test_table_s1_counts_lesions(ledger: sessionmaker[Session], database: Database) -> None:
    [table] = dlr(database, "report", "cohort")["tables"]
    assert table["lesions"] == {"total": 4, "benign": 2, "malignant": 2}
    [shape] = [feature for feature in table["features"] if feature["feature"] == "shape"]
    [oval] = [level for level in shape["levels"] if level["level"] == "oval"]
    assert (oval["benign"]["count"], oval["malignant"]["count"]) == (2, 2)
    [age] = [feature for feature in table["features"] if feature["feature"] == "age_years"]
    assert age["levels"][0]["malignant"]["known"] == 2
