"""What PyTorch scored is kept for the next start, of these versions alone, and refuses no device."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.worker.inference.samples import registry_with_both, sample_card
from worker.inference import kept_reference
from worker.inference.kept_reference import KeptReference

CARDS = sample_card(name="DLR_LH"), sample_card(name="DLR_BM")
LOGITS = np.arange(12, dtype=np.float32).reshape(3, 2, 2)

STARTS = """
import sys
from pathlib import Path
import numpy as np
from worker.inference import loading

asked = []
by_another_process = loading.by_another_process

def counted(entries):
    asked.append(1)
    return by_another_process(entries)

loading.by_another_process = counted
registry, kept = map(Path, sys.argv[1:])

def start():
    asked.clear()
    loading.load_engine(registry, "cpu", None, 0, kept_in=kept).close()
    return len(asked)

assert start() == 1, "nothing was kept"
assert start() == 0, "it was kept"
[file] = kept.iterdir()
right = np.load(file)
np.save(file, right + [0, 1])
assert start() == 1, "what was kept is not believed against the device"
assert (np.load(file) == right).all(), "and is kept anew"
"""


def kept(folder: Path, **changes: object) -> KeptReference:
    return KeptReference(folder, (CARDS[0], CARDS[1].model_copy(update=changes)), 3)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert kept(tmp_path).read() is None
    kept(tmp_path / "new").write(LOGITS)
    found = kept(tmp_path / "new").read()
    assert found is not None
    np.testing.assert_array_equal(found, LOGITS)


@pytest.mark.parametrize(
    "changes", [{"weights_sha256": "ab" * 32}, {"version": "1.1"}, {"pixel_mean": (0.5, 0.5, 0.5)}], ids=str
)
def test_of_other_versions_nothing_is_read(tmp_path: Path, changes: dict[str, object]) -> None:
    kept(tmp_path).write(LOGITS)
    assert kept(tmp_path, **changes).read() is None


def test_of_another_pytorch_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path).write(LOGITS)
    monkeypatch.setattr(kept_reference, "version", lambda _name: "3.0")
    assert kept(tmp_path).read() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"{}", b"PK\x03\x04", b"\x80\x04K\x01."],
    ids=["empty", "cut off", "text", "an archive", "a pickle"],
)
def test_what_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    kept(tmp_path).write(LOGITS)
    [file] = tmp_path.iterdir()
    file.write_bytes(content)
    assert kept(tmp_path).read() is None


@pytest.mark.parametrize("logits", [LOGITS[:2], LOGITS.astype(np.float64), LOGITS[..., :1]], ids=range(3))
def test_what_is_not_of_these_networks_is_none(
    tmp_path: Path, logits: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
) -> None:
    kept(tmp_path).write(logits)
    assert kept(tmp_path).read() is None


def test_a_folder_that_cannot_be_written_stops_no_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept(tmp_path / "file" / "reference").write(LOGITS)
    assert kept(tmp_path / "file" / "reference").read() is None


@pytest.mark.slow
def test_a_second_start_asks_no_pytorch_unless_the_device_scores_otherwise(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    program = [sys.executable, "-c", STARTS, str(tmp_path / "registry"), str(tmp_path / "kept")]
    subprocess.run(program, check=True, timeout=300)
