"""`dlr models` adds, lists, activates and checks; programs can read what it prints."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.worker.inference.samples import registry_with_both, write_model
from worker.cli.main import app
from worker.errors import Code, ModelRefused
from worker.inference.model_card import DEMO_NOTICE
from worker.settings import get_settings


def _dlr(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture
def models_dir() -> Path:
    return get_settings().models_dir


def test_a_model_is_added_activated_and_listed_with_its_notice(tmp_path: Path) -> None:
    card_path, weights_path = write_model(tmp_path / "new", notice=DEMO_NOTICE)
    _dlr("models", "add", str(card_path), str(weights_path))
    (row,) = json.loads(_dlr("models", "list", "--format", "json"))
    assert (row["name"], row["version"], row["active"], row["notice"]) == ("DLR_BM", "1.0", False, DEMO_NOTICE)
    _dlr("models", "activate", "DLR_BM", "1.0")
    (line,) = csv.DictReader(io.StringIO(_dlr("models", "list", "--format", "csv")))
    assert (line["active"], line["notice"]) == ("True", DEMO_NOTICE)
    assert "demo" in _dlr("models", "list")


def test_the_way_of_a_version_is_told_and_can_be_read_by_programs(tmp_path: Path) -> None:
    for number, version in enumerate(("1.0", "2.0")):
        _dlr("models", "add", *map(str, write_model(tmp_path / version, number, version=version, metrics={})))
    with pytest.raises(ModelRefused) as refused:
        _dlr("models", "activate", "DLR_BM", "1.0")
    assert refused.value.code is Code.MODEL_UNMEASURED
    _dlr("models", "activate", "DLR_BM", "1.0", "--force")
    _dlr("models", "shadow", "DLR_BM", "2.0")
    rows = json.loads(_dlr("models", "list", "--format", "json"))
    assert [(row["forced"], row["shadow_since"] is not None) for row in rows] == [(True, False), (False, True)]
    _dlr("models", "unshadow", "DLR_BM", "2.0")
    _dlr("models", "activate", "DLR_BM", "2.0", "--force")
    result = CliRunner().invoke(app, ["models", "rollback"], catch_exceptions=False)
    assert "DLR_BM 1.0 is active again instead of 2.0" in result.stderr
    history = json.loads(_dlr("models", "history", "--format", "json"))
    assert [(row["event"], row["version"], row["replaced"], row["forced"]) for row in history] == [
        ("activated", "1.0", None, True),
        ("shadowed", "2.0", None, False),
        ("unshadowed", "2.0", None, False),
        ("activated", "2.0", "1.0", True),
        ("rolled_back", "1.0", "2.0", True),
    ]
    assert all(row["at"] and row["actor"] for row in history)
    assert "rolled_back" in _dlr("models", "history")


def test_an_empty_registry_lists_nothing() -> None:
    assert json.loads(_dlr("models", "list", "--format", "json")) == []
    assert "none" in _dlr("models", "list")


def test_what_is_refused_is_refused_with_its_code(tmp_path: Path) -> None:
    card_path, _ = write_model(tmp_path / "new")
    with pytest.raises(ModelRefused) as refused:
        _dlr("models", "add", str(card_path), str(tmp_path / "nowhere"))
    assert refused.value.code is Code.WEIGHTS_MISSING
    with pytest.raises(ModelRefused) as refused:
        _dlr("models", "activate", "DLR_BM", "7")
    assert refused.value.code is Code.MODEL_NOT_FOUND


def test_a_check_ends_with_1_when_something_is_wrong(tmp_path: Path, models_dir: Path) -> None:
    registry_with_both(tmp_path)
    (tmp_path / "registry").rename(tmp_path / "there")
    models_dir.parent.mkdir(parents=True)
    (tmp_path / "there").rename(models_dir)
    rows = json.loads(_dlr("models", "check", "--format", "json"))
    assert [(row["name"], row["sound"], row["active"]) for row in rows] == [
        ("DLR_LH", True, True),
        ("DLR_BM", True, True),
    ]
    (models_dir / "DLR_BM/1.0/weights.safetensors").write_bytes(b"")
    rows = json.loads(_dlr("models", "check", "--format", "json", status=1))
    assert [row["code"] for row in rows] == [None, "weights_hash_mismatch"]


def test_a_version_that_can_not_be_read_is_not_passed_over_in_silence(models_dir: Path) -> None:
    (models_dir / "DLR_BM" / "1.0").mkdir(parents=True)
    result = CliRunner().invoke(app, ["models", "list", "--format", "json"])
    assert json.loads(result.stdout) == []
    assert "1 more cannot be read" in result.stderr


def test_a_version_gets_a_share_of_the_studies_and_goes_on_or_back_by_one_command(
    tmp_path: Path, models_dir: Path
) -> None:
    registry_with_both(tmp_path)
    shutil.move(tmp_path / "registry", models_dir)
    _dlr("models", "add", *map(str, write_model(tmp_path / "2.0", 1, version="2.0")))
    result = CliRunner().invoke(app, ["models", "activate", "DLR_BM", "2.0", "--share", "10%"], catch_exceptions=False)
    assert "DLR_BM 2.0 scores 10 % of the studies, 1.0 the others" in result.stderr
    rows = {(row["name"], row["version"]): row for row in json.loads(_dlr("models", "list", "--format", "json"))}
    assert {key: (row["active"], row["share"]) for key, row in rows.items()} == {
        ("DLR_LH", "1.0"): (True, None), ("DLR_BM", "1.0"): (True, None), ("DLR_BM", "2.0"): (False, 0.1),
    }  # fmt: skip
    history = json.loads(_dlr("models", "history", "--format", "json"))
    assert (history[-1]["event"], history[-1]["share"]) == ("shared", 0.1)
    result = CliRunner().invoke(app, ["models", "rollback"], catch_exceptions=False)
    assert "DLR_BM 2.0 has no share of the studies any more" in result.stderr
    _dlr("models", "activate", "DLR_BM", "2.0", "--share", "0.5%")
    _dlr("models", "activate", "DLR_BM", "2.0")
    rows = {(row["name"], row["version"]): row for row in json.loads(_dlr("models", "list", "--format", "json"))}
    assert [(row["active"], row["share"]) for key, row in rows.items() if key == ("DLR_BM", "2.0")] == [(True, None)]


@pytest.mark.parametrize("share", ["10", "0%", "100%", "-5%", "ten%", "nan%", "%"])
def test_a_share_is_a_percentage_between_0_and_100(share: str) -> None:
    result = CliRunner().invoke(app, ["models", "activate", "DLR_BM", "2.0", "--share", share])
    assert result.exit_code == 2
