"""``dlr worklist policy``: shown, checked, compared, applied."""

import json
import subprocess
from pathlib import Path

import pytest

from db.reads import study_queries
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, lesion, scored, study, writing
from worker.clinical.reading_order.policy import built_in_document


def dlr(database: Database, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr(*arguments, DLR_DATABASE_URL=database.writer_url)


SITE = built_in_document("suspicion/2").replace('name = "suspicion"\nversion = 2', 'name = "site"\nversion = 1')


@pytest.fixture
def listed(database: Database) -> Database:
    with writing(database) as sessions:
        for number, (birads, lh, bm) in enumerate((("5", 0.9, 0.9), ("4A", 0.9, 0.9), ("4A", 0.9, 0.1))):
            with sessions.begin() as session:
                record = study(f"1.2.{number}", str(number), lesions=(lesion(birads=birads),))
                ended(session, record, scored(lh=lh, bm=bm, birads=birads))
    return database


def file(tmp_path: Path, text: str = SITE) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text)
    return path


def order(database: Database) -> list[str]:
    answer = json.loads(dlr(database, "worklist", "--format", "json").stdout)
    return [row["study_instance_uid"][-1] for row in answer]


def test_the_policy_that_is_active_is_shown_and_its_file_printed(listed: Database) -> None:
    rows = json.loads(dlr(listed, "worklist", "policy", "show", "--format", "json").stdout)
    assert [row["name"] for row in rows][:3] == ["suspicious"] * 3
    assert rows[0]["what"] == "category 4C or 5"
    assert dlr(listed, "worklist", "policy", "show", "--toml").stdout == built_in_document("suspicion/2")
    assert dlr(listed, "worklist", "policy", "show", "outcome/1", "--toml").stdout == built_in_document("outcome/1")


def test_a_file_is_checked(listed: Database, tmp_path: Path) -> None:
    sound = dlr(listed, "worklist", "policy", "check", file(tmp_path))
    assert sound.returncode == 0
    sinks = dlr(listed, "worklist", "policy", "check", "outcome/1", "--format", "json")
    assert sinks.returncode == 3
    assert {row["code"] for row in json.loads(sinks.stdout)} >= {"sinks_by_category"}
    wrong = dlr(listed, "worklist", "policy", "check", file(tmp_path, SITE.replace('"4C"', '"4D"', 1)))
    assert wrong.returncode == 1
    assert "reading_order_invalid" in wrong.stderr
    assert "tier[1].rule[1].category" in wrong.stderr
    nothing = dlr(listed, "worklist", "policy", "check", tmp_path / "nothing.toml")
    assert (nothing.returncode, "suspicion/2, outcome/1" in " ".join(nothing.stderr.split())) == (1, True)


def test_who_would_move_is_said_and_nothing_moves(listed: Database) -> None:
    told = json.loads(dlr(listed, "worklist", "policy", "diff", "outcome/1", "--format", "json").stdout)
    assert told["policy"] == "outcome/1"
    assert told["moved"] == 3
    assert {(row["from"], row["to"]): row["studies"] for row in told["tiers"]} == {
        ("suspicious", "not_applicable"): 1,
        ("suspicious", "upgraded"): 1,
        ("undecided", "maintained"): 1,
    }
    assert order(listed) == ["0", "1", "2"]
    assert dlr(listed, "worklist", "policy", "diff", "outcome/1").returncode == 0


def test_a_policy_is_applied_once_it_is_confirmed(listed: Database, tmp_path: Path) -> None:
    assert dlr(listed, "worklist", "policy", "apply", "outcome/1").returncode != 0
    assert order(listed) == ["0", "1", "2"]
    applied = dlr(listed, "worklist", "policy", "apply", "outcome/1", "--yes")
    assert applied.returncode == 0
    assert "ordered by outcome/1; before, it was by suspicion/2" in " ".join(applied.stderr.split())
    assert order(listed) == ["1", "2", "0"]
    assert dlr(listed, "worklist", "policy", "apply", file(tmp_path), "--yes").returncode == 0
    assert order(listed) == ["0", "1", "2"]
    with writing(listed) as sessions, sessions() as session:
        assert {row.policy for row in study_queries.worklist(session)} == {"site/1"}


def test_a_label_stands_for_one_content(listed: Database, tmp_path: Path) -> None:
    assert dlr(listed, "worklist", "policy", "apply", file(tmp_path), "--yes").returncode == 0
    other = dlr(listed, "worklist", "policy", "apply", file(tmp_path, SITE + "\n# changed\n"), "--yes")
    assert other.returncode == 1
    assert "another version" in " ".join(other.stderr.split())


@pytest.mark.parametrize("label", ["suspicion/2", "outcome/1"])
def test_a_changed_copy_of_a_built_in_policy_needs_a_label_of_its_own(
    listed: Database, tmp_path: Path, label: str
) -> None:
    changed = file(tmp_path, built_in_document(label) + "\n# changed\n")
    refused = dlr(listed, "worklist", "policy", "apply", changed, "--yes", "--force")
    assert refused.returncode == 1
    assert "another version" in " ".join(refused.stderr.split())
    assert order(listed) == ["0", "1", "2"]


def test_a_file_may_begin_with_a_byte_order_mark(listed: Database, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(SITE, encoding="utf-8-sig")
    assert dlr(listed, "worklist", "policy", "check", path).returncode == 0


def test_a_policy_under_which_suspicion_sinks_has_to_be_forced(listed: Database, tmp_path: Path) -> None:
    sinks = built_in_document("outcome/1").replace('name = "outcome"', 'name = "mine"')
    refused = dlr(listed, "worklist", "policy", "apply", file(tmp_path, sinks), "--yes")
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert order(listed) == ["0", "1", "2"]
    assert dlr(listed, "worklist", "policy", "apply", file(tmp_path, sinks), "--yes", "--force").returncode == 0
    assert order(listed) == ["1", "2", "0"]
