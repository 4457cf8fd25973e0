"""The files of the studies: what a list of them says later of a storage that has gone on."""

import hashlib
import os
from pathlib import Path

import pytest

from worker.backup.stored_files import FileFinding, State, StoredFile, compare, look, read_line, with_earlier

SENT = "received/1/a.dcm"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    root = tmp_path / "storage"
    for path in (SENT, "submitted/00/b.dcm", "own/c.dcm"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root.resolve()


def listed(root: Path, *, digests: bool = True) -> list[StoredFile]:
    paths = sorted(str(file.relative_to(root)) for file in root.rglob("*.dcm"))
    return [look(root, StoredFile(path, ("s",)), digests=digests) for path in paths]


def rewrite(file: Path, content: bytes) -> None:
    """Change a file at another time than it was written at."""
    file.write_bytes(content)
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 10_000_000))


def test_a_file_is_listed_with_its_size_its_time_and_its_digest(storage: Path) -> None:
    found = look(storage, StoredFile(SENT, ("s",)))
    assert (found.size, found.sha256) == (len(SENT), hashlib.sha256(SENT.encode()).hexdigest())
    assert found.mtime_ns == (storage / SENT).stat().st_mtime_ns
    assert read_line(found.line()) == found


@pytest.mark.parametrize("path", ["none.dcm", "own", "../outside.dcm", "link.dcm"])
def test_what_is_not_there_or_no_file_of_the_storage_is_listed_as_missing(storage: Path, path: str) -> None:
    (storage.parent / "outside.dcm").write_bytes(b"x")
    (storage / "link.dcm").symlink_to(storage.parent / "outside.dcm")
    assert look(storage, StoredFile(path, ("s",))) == StoredFile(path, ("s",))


def test_a_storage_that_is_as_it_was_has_no_findings(storage: Path) -> None:
    assert list(compare(storage, listed(storage))) == []


@pytest.mark.parametrize("digests", [True, False])
def test_a_file_that_is_missing_and_one_that_came_since_are_told(storage: Path, *, digests: bool) -> None:
    before = listed(storage, digests=digests)
    (storage / "own/c.dcm").unlink()
    (storage / "received/1/new.dcm").write_bytes(b"new")
    (storage / "own/new.dcm").write_bytes(b"somebody's own")
    assert list(compare(storage, before)) == [
        FileFinding("own/c.dcm", State.MISSING, ("s",)),
        FileFinding("received/1/new.dcm", State.NOT_IN_BACKUP),
    ]


def test_a_file_with_another_content_of_the_same_length_is_told(storage: Path) -> None:
    before = listed(storage)
    rewrite(storage / SENT, SENT.upper().encode())
    assert list(compare(storage, before)) == [FileFinding(SENT, State.CHANGED, ("s",))]


def test_a_file_that_was_copied_and_has_another_time_is_the_same(storage: Path) -> None:
    before = listed(storage)
    rewrite(storage / SENT, SENT.encode())
    assert list(compare(storage, before)) == []


def test_a_file_that_was_missing_already_is_no_finding(storage: Path) -> None:
    assert list(compare(storage, [*listed(storage), StoredFile("gone.dcm", ("s",))])) == []


def test_a_file_that_an_earlier_backup_saw_is_not_read_again(storage: Path) -> None:
    before = StoredFile(SENT, ("s",), len(SENT), (storage / SENT).stat().st_mtime_ns, "f" * 64)
    assert look(storage, StoredFile(SENT, ("s",)), before).sha256 == "f" * 64
    rewrite(storage / SENT, SENT.encode())
    assert look(storage, StoredFile(SENT, ("s",)), before).sha256 == hashlib.sha256(SENT.encode()).hexdigest()


def test_an_earlier_list_is_paired_by_paths_in_the_order_of_their_bytes() -> None:
    earlier = [StoredFile(path, (), 1, 1, "0" * 64) for path in ("A", "b", "c", "é")]
    pairs = list(with_earlier([(path, ()) for path in ("A", "a", "c", "é", "文")], iter(earlier)))
    assert [(file.path, before is not None) for file, before in pairs] == [
        ("A", True), ("a", False), ("c", True), ("é", True), ("文", False),
    ]  # fmt: skip


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"path": "a"}', b'{"path": "a", "studies": [], "more": 1}'])
def test_a_line_that_is_something_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_line(line)
