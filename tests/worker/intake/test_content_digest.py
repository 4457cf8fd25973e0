"""The digest of a study's content, when it comes and when somebody wants to look at it again."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.worker.intake.test_accept_study import PATH, job
from worker.errors import Unavailable
from worker.intake.content_digest import content_digest, is_unchanged


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_bytes(b"pixels")
    return tmp_path


def stored(**changes: Any) -> dict[str, Any]:
    """A job as the ledger gives it back."""
    as_json: dict[str, Any] = json.loads(json.dumps(job(**changes).model_dump(mode="json")))
    return as_json


def test_the_digest_leaves_the_priority_out_and_takes_every_file_in(tmp_path: Path) -> None:
    empty = content_digest(job(), tmp_path)
    assert content_digest(job(priority="stat"), tmp_path) == empty
    assert content_digest(job(age_years=1.0), tmp_path) != empty
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert content_digest(job(), tmp_path) != empty


def test_the_digest_reads_nothing_outside_the_storage_root(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_bytes(b"a")
    link = root / PATH
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    before = content_digest(job(), root)
    outside.write_bytes(b"b")
    assert content_digest(job(), root) == before


def test_files_that_nobody_touched_are_unchanged_whatever_the_priority_is_now(root: Path) -> None:
    digest = content_digest(job(), root)
    assert is_unchanged(stored(), digest, root) is True
    assert is_unchanged(stored(priority="stat"), digest, root) is True
    assert is_unchanged(dict(reversed(stored().items())), digest, root) is True


@pytest.mark.parametrize("content", [b"pixelt", b"pixels.", None], ids=["another", "longer", "gone"])
def test_a_file_that_changed_or_went_is_told(root: Path, content: bytes | None) -> None:
    digest = content_digest(job(), root)
    (root / PATH).unlink()
    if content is not None:
        (root / PATH).write_bytes(content)
    assert is_unchanged(stored(), digest, root) is False


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_file_that_nobody_can_read_for_now_is_not_taken_for_one_that_is_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fault(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(hashlib, "file_digest", fault)
    with pytest.raises(Unavailable, match="storage_unavailable"):
        content_digest(job(), root)


def test_of_images_on_a_server_nobody_can_say(root: Path) -> None:
    images = {"kind": "dicomweb", "server": "pacs"}
    digest = content_digest(job(images=images), root)
    assert is_unchanged(stored(images=images), digest, root) is None
