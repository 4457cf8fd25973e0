"""The command runs rows by name, with their goals, and says in its exit status whether all were reached."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from benchmarks import database as ledger
from benchmarks import imaging, litserve_peer, models
from benchmarks.__main__ import ROWS, main, run
from benchmarks.measuring import Say
from tests.conftest import Database
from worker.settings import Settings


@pytest.fixture
def small(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rows that take a second: a short clip, and the test's own database in place of servers of the row's own."""

    @contextmanager
    def services(_say: Say) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(settings=Settings(database_url=SecretStr(database.writer_url)))

    monkeypatch.setattr(imaging, "FRAMES", 10)
    monkeypatch.setattr(ledger, "fresh_services", services)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("small")
def test_rows_run_by_name_and_are_written_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    status = main(["--quick", "--only", "decode", "write", "--out", str(out), "--format", "json"])
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(out.read_text())
    assert [(figure["row"], figure["goal"]) for figure in said["figures"]] == [
        ("decode", "<= 0.05"),
        ("write", ">= 5x"),
    ]
    assert all(figure["value"] > 0 for figure in said["figures"])
    assert status == (0 if all(figure["passed"] for figure in said["figures"]) else 1)
    assert {"commit", "processor", "cores", "torch"} <= said["machine"].keys()


def test_a_row_that_there_is_not_is_refused_with_the_names_of_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "speed"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ROWS)


@pytest.mark.parametrize(("row", "module"), [("batcher", litserve_peer), ("peer", models)])
def test_a_peer_that_is_not_installed_is_said(row: str, module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    figure = run(row, lambda _line: None, quick=True)
    assert (figure.passed, figure.value, figure.goal) == (False, None, ROWS[row].goal)
    assert "is not installed: pip install --editable '.[bench]'" in figure.what
