"""The tutorial, command by command, as its reader runs it: but for the installation, and with small models."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage

from tests.command_line import clean_environment
from tests.end_to_end.small_models import add_small_models
from tests.waiting import patience
from worker.network.port import free_port

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
LONGEST_S = 600


def steps() -> list[tuple[str, str]]:
    """Each block of commands with its mark: ``install`` and ``models`` take minutes, and `make demo` runs them."""
    found = re.findall(r"^```sh(?: (\w+))?\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [(mark, commands) for mark, commands in found]


@pytest.mark.slow
def test_every_command_of_the_tutorial_does_what_the_page_says(tmp_path: Path) -> None:
    add_small_models(tmp_path / "home" / "models")
    ports = {port: str(free_port(tmp_path / port)) for port in ("11112", "11113", "8090")}
    script = "\n".join(commands for mark, commands in steps() if not mark)
    for port, free in ports.items():
        script = script.replace(port, free)
    clean = clean_environment()
    environment = clean | {
        "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
        "DLR_HOME": str(tmp_path / "home"),
        "DLR_FLOWER_PORT": "0",
        "DLR_RECEIVE_PORT": ports["11112"],
        "DLR_WEB_PORT": ports["8090"],
    }
    with (tmp_path / "said").open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-x", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            status = shell.wait(patience(LONGEST_S))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_session(shell.pid)
    output = (tmp_path / "said").read_text(errors="replace")
    assert status == 0, f"{output}\n{(tmp_path / 'up.log').read_text()}"
    assert "exit status 3" in output
    assert "downgraded" in output
    assert re.search(r"^204$", output, re.MULTILINE)
    assert dcmread(tmp_path / "report.dcm").SOPClassUID == Comprehensive3DSRStorage
    assert json.loads((tmp_path / "bundle.json").read_text())["resourceType"] == "Bundle"
    assert len(list((tmp_path / "pacs").iterdir())) == 3


def end_session(leader: int) -> None:
    """Stop whatever of a session is left."""
    try:
        os.killpg(leader, signal.SIGTERM)
    except ProcessLookupError:
        return
