"""Where nothing can be written any more: a full disk is one sentence, and a pipe that nobody reads is none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import command_line
from tests.waiting import patience
from tests.worker.dataset.manifests import cohort
from worker.cli.standard_output import EXIT_UNREAD
from worker.dataset.manifest_file import write_manifest

FULL = b"error: setting_invalid: standard output cannot be written (No space left on device)\n"

COMMANDS = [
    ["--version"],
    ["--help"],
    ["settings"],
    ["settings", "--format", "json"],
    ["settings", "--format", "csv"],
]
"""One of each way to print: a line, what Typer says, a table, JSON, and CSV. `test_export` has bytes."""


def dlr(*arguments: object, out: Any, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a process of its own, whose real standard output is `out`."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli.main", *map(str, arguments)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        timeout=patience(60),
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_output_that_is_full_is_one_sentence(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = dlr(*command, out=full)
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [["schema"], ["settings"], ["--help"]], ids=" ".join)
def test_a_pipe_that_nobody_reads_ends_a_command_as_the_shell_knows_it(command: list[str], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = dlr(*command, out=write, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (EXIT_UNREAD, b"")


def test_an_error_is_told_even_if_nobody_reads_what_was_printed_before_it(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("patient_key,lesion_id,pathology\nP1,L1,perhaps\n")
    with Path("/dev/full").open("wb") as full:
        command = ["report", "cohort", "--manifest", tmp_path / "bad.csv", "--format", "csv"]
        done = dlr(*command, out=full, PYTHONUNBUFFERED="")
    assert done.returncode == 1
    assert done.stderr == b"error: dataset_invalid: 1 of 1 rows are bad, so nothing was counted: fix them\n" + FULL


def test_a_command_may_be_started_without_any_output() -> None:
    command = f"{sys.executable} -m worker.cli.main --version >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=patience(60), check=False)
    assert done.returncode == 1
    assert done.stderr == b"error: setting_invalid: standard output cannot be written (Bad file descriptor)\n"
    silent = subprocess.run(["sh", "-c", f"{command} 2>&-"], capture_output=True, timeout=patience(60), check=False)
    assert silent.returncode == 1


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with next to no room, which takes root to have."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    with suppress(OSError):
        (disk / "filler").write_bytes(bytes(64 << 10))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(full_disk: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", cohort(tmp_path, 30, views=1))
    for command in (
        ["up"],
        ["demo-studies", full_disk / "studies"],
        ["dataset", "split", tmp_path / "m.csv", "--root", tmp_path, "--output", full_disk / "split.csv"],
    ):
        done = command_line.dlr(*command, DLR_HOME=full_disk / "home")
        assert done.returncode == 1
        *_, said = done.stderr.splitlines()  # after how far it has come
        assert said.startswith("error: ")
        assert " cannot be written" in said
        assert "Traceback" not in done.stderr
    assert not (full_disk / "split.csv").exists()


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "检查"), ("ascii", r"\u68c0\u67e5"), ("cp1252", r"\u68c0\u67e5")]
)
def test_what_a_terminal_has_no_character_for_is_escaped(encoding: str, shown: str, form: str) -> None:
    read = subprocess.PIPE
    done = dlr(
        "settings", "--format", form, out=read, DLR_STORAGE_ROOT="/检查", PYTHONIOENCODING=encoding, COLUMNS="200"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout.decode(encoding).replace(r"\\u", r"\u")


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": name} for name in ("ascii", "cp1252", "utf-8")] + [{"LC_ALL": "C"}]
)
def test_json_is_json_whatever_characters_standard_output_has(locale: dict[str, str]) -> None:
    value = "Ü 检 🙂 𠮷" + os.fsdecode(b"\xfc")
    done = dlr("settings", "--format", "json", out=subprocess.PIPE, DLR_WEB_HOSTS=value, **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = json.loads(done.stdout.decode(locale.get("PYTHONIOENCODING", "utf-8")))
    assert value in [row["value"] for row in rows]
