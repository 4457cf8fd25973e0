"""`dlr verdict`, and what `dlr monitor` makes of verdicts, as a user types them, on a real database."""

import csv
import json
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from db.session import make_engine, session_factory
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, register, scored, study

HEADER = "study,revision,lesion_id,final_birads,reader,read_at,lh_version,bm_version,agrees,remark\n"
AT = "2026-03-02T08:00:00Z"


def dlr(database: Database, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr(*arguments, DLR_DATABASE_URL=database.writer_url)


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


@pytest.fixture
def two(database: Database) -> list[UUID]:
    """The ids of the studies 1.1, whose lesion was advised down, and 1.2, upgraded."""
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        ids = [
            ended(session, study("1.1"), scored(lh=0.1, bm=0.2)).study_id,
            ended(session, study("1.2", accession_number="A2"), scored(lh=0.9, bm=0.9)).study_id,
        ]
    engine.dispose()
    return ids


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "verdicts.csv"
    rows = (f"1.1,1,L1,4B,bea,{AT},1.0,1.0,no,Mary Roe", f"A2,1,L1,4C,bea,{AT},1.0,1.0,yes,")
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_a_dry_run_says_what_an_import_would_do_and_does_nothing(
    database: Database, two: list[UUID], file: Path
) -> None:
    dry = answer(dlr(database, "verdict", "import", file, "--dry-run", "--format", "json"))
    assert (dry["new"], dry["dry_run"], dry["bad_rows"]) == (2, True, [])
    assert answer(dlr(database, "verdict", "list", "--format", "json")) == []
    assert len(answer(dlr(database, "worklist", "--format", "json"))) == 2
    done = answer(dlr(database, "verdict", "import", file, "--format", "json"))
    assert (done["new"], done["dry_run"]) == (2, False)
    assert answer(dlr(database, "worklist", "--format", "json")) == []
    read = answer(dlr(database, "worklist", "--read", "--format", "json"))
    assert [(row["read_by"], bool(row["read_at"])) for row in read] == [("bea", True)] * 2
    assert {row["study_id"] for row in read} == set(map(str, two))


def test_verdicts_are_listed_beside_the_advice_and_without_remarks(
    database: Database, two: list[UUID], file: Path
) -> None:
    assert dlr(database, "verdict", "import", file).returncode == 0
    for options, ids in (((), two[::-1]), (("--disagreeing",), two[:1]), (("--study", "A2"), two[1:])):
        listed = dlr(database, "verdict", "list", "--format", "json", *options)
        assert sorted(row["study_id"] for row in answer(listed)) == sorted(map(str, ids)), options
        assert "Mary" not in listed.stdout
    assert answer(dlr(database, "verdict", "list", "--since", "1d", "--format", "json")) == []
    assert "4B" in dlr(database, "verdict", "list").stdout


@pytest.mark.parametrize(
    ("row", "code"),
    [(f"1.1,2,L1,3,bea,{AT},1.0,1.0,,", "verdict_outdated"), ("1.1,x,L1,3,bea,,,,,", "verdict_invalid")],
)
@pytest.mark.usefixtures("two")
def test_a_bad_row_stops_the_import_with_a_code(database: Database, tmp_path: Path, row: str, code: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + row + f"\nA2,1,L1,4C,bea,{AT},1.0,1.0,yes,\n")
    done = dlr(database, "verdict", "import", path)
    assert (done.returncode, f"error: {code}:" in done.stderr) == (1, True)
    assert answer(dlr(database, "verdict", "list", "--format", "json")) == []
    assert dlr(database, "verdict", "import", path, "--skip-bad").returncode == 3
    assert len(answer(dlr(database, "verdict", "list", "--format", "json"))) == 1


def test_the_monitor_tells_of_agreement_and_of_the_dangerous_override_first(
    database: Database, two: list[UUID], file: Path
) -> None:
    assert "radiologists who agree" not in dlr(database, "monitor").stdout
    assert dlr(database, "verdict", "import", file).returncode == 0
    people = dlr(database, "monitor").stdout
    assert "let_go" in people
    assert "radiologists who agree with the advice" in people
    verdicts = answer(dlr(database, "monitor", "--format", "json"))["verdicts"]
    [override] = verdicts["overrides"]
    assert (override["override"], override["study_id"], override["final_birads"]) == ("let_go", str(two[0]), "4B")
    [total] = verdicts["totals"]
    assert (total["agreed"]["upgraded"]["rate"], total["agreed"]["downgraded"]["rate"]) == (1.0, 0.0)
    assert (total["kappa"], total["kappa_lesions"], total["overrides"]["let_go"]) == (0.0, 2, 1)
    rows = list(csv.DictReader(StringIO(dlr(database, "monitor", "--by", "site", "--format", "csv").stdout)))
    assert [(row["group"], row["outcome"], row["lesions"], row["verdicts"], row["agreed"]) for row in rows] == [
        (group, outcome, lesions, lesions, agreed)
        for group in ("", "Example Hospital")
        for outcome, lesions, agreed in (("downgraded", "1", "0"), ("maintained", "0", "0"), ("upgraded", "1", "1"))
    ]
    assert "Mary" not in people
