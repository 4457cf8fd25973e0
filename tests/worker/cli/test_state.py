"""`dlr settings`, which needs no server: for a narrow terminal, and with old names."""

import json
import re

import pytest

from tests.command_line import dlr
from worker.cli import output
from worker.cli.services import _tell_old_names
from worker.settings import GROUPS, Settings
from worker.settings.environment import variable

TOLD = "DLR_GATE_ROI_BLANK is called DLR_QUALITY_ROI_BLANK now"


def test_at_80_columns_settings_are_a_list_by_theme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.stdout, "_width", 80)
    done = dlr("settings", DLR_LEASE_S="7", DLR_REDIS_URL="redis://u:hunter2@h/0", DLR_FLOWER_PASSWORD="hunter2")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert re.findall(r"^DLR_\w+", done.stdout, re.MULTILINE) == [variable(name) for name in Settings.model_fields]
    assert "DLR_LEASE_S = 7.0 (environment)" in lines
    assert "DLR_READER_URL: not set" in lines
    assert "hunter2" not in done.stdout


@pytest.mark.parametrize("width", [80, 180])
def test_an_old_name_is_told_beside_the_settings(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(output.stdout, "_width", width)
    done = dlr("settings", DLR_GATE_ROI_BLANK="off")
    assert "DLR_GATE_ROI_BLANK" in done.stdout
    assert done.stderr == f"{TOLD}\n"


def test_programs_find_the_old_name_in_a_field() -> None:
    done = dlr("settings", "--format", "json", DLR_GATE_ROI_BLANK="off")
    rows = {row["variable"]: row for row in json.loads(done.stdout)}
    row = rows["DLR_QUALITY_ROI_BLANK"]
    assert (row["value"], row["source"], row["old_name"]) == ("off", "DLR_GATE_ROI_BLANK", "DLR_GATE_ROI_BLANK")
    assert {row["old_name"] for name, row in rows.items() if name != "DLR_QUALITY_ROI_BLANK"} == {None}


def test_a_worker_s_log_tells_old_names_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _tell_old_names()
    assert caplog.records == []
    monkeypatch.setenv("DLR_GATE_ROI_BLANK", "off")
    monkeypatch.setenv("DLR_GATE_ROI_TOO_SMALL", "off")
    _tell_old_names()
    [line] = caplog.messages
    assert TOLD in line
    assert "DLR_GATE_ROI_TOO_SMALL is called DLR_QUALITY_ROI_TOO_SMALL now" in line
