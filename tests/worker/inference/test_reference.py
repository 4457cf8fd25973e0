"""Another process scores what this one would, refuses what this one would, and its end is told."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.waiting import until
from tests.worker.inference.samples import registry_with_both, sample_card
from worker.errors import Code, ModelRefused, Unavailable
from worker.inference import reference, reference_process
from worker.inference.entry import Entry
from worker.inference.reference import by_another_process, by_pytorch
from worker.inference.weights_file import read_weights

pytestmark = pytest.mark.slow


def _entries(folder: Path) -> tuple[Entry, Entry]:
    registry = registry_with_both(folder)
    return registry.active("DLR_LH"), registry.active("DLR_BM")


def test_another_process_gives_the_same_logits(tmp_path: Path) -> None:
    entries = _entries(tmp_path)
    contents = [[read_weights(one.card, path) for path in one.weights_paths] for one in entries]
    _, logits = by_pytorch([one.card for one in entries], contents)
    assert logits.shape == (reference.COMPARED, 2, 2)
    np.testing.assert_allclose(by_another_process(entries), logits, atol=1e-5)


def test_one_that_was_begun_ahead_scores_the_versions_that_are_named_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = _entries(tmp_path)
    with monkeypatch.context() as before:
        before.delitem(sys.modules, "torch")  # as in a worker on a CPU
        reference_process.begin("cpu", tmp_path / "kept")
    [begun] = reference_process._begun
    assert by_another_process(entries).shape == (reference.COMPARED, 2, 2)
    assert begun.returncode == 0
    assert not reference_process._begun


def test_one_that_was_begun_ahead_ends_with_whoever_began_it() -> None:
    begin = (
        "import os\nfrom pathlib import Path\n"
        "from worker.inference import reference_process\nreference_process.begin('cpu', Path('/nowhere'))\n"
        "print(reference_process._begun[0].pid, flush=True)\nos._exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, check=False)
    begun = int(done.stdout)
    until(lambda: not psutil.pid_exists(begun) or psutil.Process(begun).status() == psutil.STATUS_ZOMBIE)


def test_one_that_nobody_will_ask_ends(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.delitem(sys.modules, "torch", raising=False)
        reference_process.begin("auto", tmp_path)
    [begun] = reference_process._begun
    reference_process.give_up()
    assert begun.returncode == -signal.SIGKILL
    assert not reference_process._begun


def test_nothing_is_begun_for_a_graphics_card_nor_where_scores_are_kept(tmp_path: Path) -> None:
    reference_process.begin("cuda:0", tmp_path)
    (tmp_path / "kept.npy").touch()
    with pytest.MonkeyPatch.context() as before:
        before.delitem(sys.modules, "torch", raising=False)
        reference_process.begin("cpu", tmp_path)
    assert not reference_process._begun


def test_what_it_refuses_is_refused_here_with_its_reason(tmp_path: Path) -> None:
    entries = _entries(tmp_path)
    entries[1].card_path.write_text(sample_card(name="DLR_BM", weights_sha256="ab" * 32).to_json())
    with pytest.raises(ModelRefused) as refused:
        by_another_process(entries)
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH
    assert "ab" * 32 in refused.value.reason


def test_one_that_ends_before_it_has_scored_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = tmp_path / "python"
    shell.write_text(f"#!/bin/sh\nkill -{signal.SIGKILL.value} $$\n")
    shell.chmod(0o755)
    entries = _entries(tmp_path)
    monkeypatch.setattr(reference_process.sys, "executable", str(shell))
    with pytest.raises(Unavailable) as told:
        by_another_process(entries)
    assert told.value.code is Code.DEVICE_UNAVAILABLE
    assert f"status -{signal.SIGKILL.value}" in told.value.reason
