"""Files come into the storage root by their content."""

from pathlib import Path

import pytest

from worker.errors import Unavailable
from worker.intake.storage import stored


def test_a_file_in_the_storage_root_stays_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.dcm"
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert stored(file, tmp_path) == "a/b.dcm"


def test_a_file_from_elsewhere_is_copied_once_and_named_by_its_content(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one, two = tmp_path / "Doe^Jane.dcm", tmp_path / "copy.dcm"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    assert stored(one, root) == stored(two, root)
    (copy,) = [item for item in root.rglob("*") if item.is_file()]
    assert copy.read_bytes() == b"x"
    assert "Jane" not in stored(one, root)


def test_a_link_out_of_the_root_is_copied_like_any_file_from_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "file")
    assert stored(root / "link", root).startswith("submitted/")


def test_a_file_that_can_not_be_read_says_so_without_its_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as away:
        stored(tmp_path / "Doe^Jane.dcm", tmp_path / "root")
    assert "Jane" not in away.value.reason
