"""Files come into the storage root by their content."""

import os
from pathlib import Path

import pytest

from worker.errors import Unavailable
from worker.intake.storage_copy import path_in_storage


def test_a_file_in_the_storage_root_stays_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.dcm"
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert path_in_storage(file, tmp_path) == "a/b.dcm"


def test_a_file_from_elsewhere_is_copied_once_and_named_by_its_content(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one, two = tmp_path / "Doe^Jane.dcm", tmp_path / "copy.dcm"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    assert path_in_storage(one, root) == path_in_storage(two, root)
    (copy,) = [item for item in root.rglob("*") if item.is_file()]
    assert copy.read_bytes() == b"x"
    assert "Jane" not in path_in_storage(one, root)


@pytest.mark.parametrize(
    ("folder", "copied"),
    [
        (b"M\xfcller", True),
        ("王".encode("gb18030"), True),
        (b"a\nb", True),
        (b"a\\b", True),
        (b"~a", True),
        ("a\u2028".encode(), True),
        (b"/".join([b"x" * 250] * 5), True),
        ("Müller 王\u3000".encode(), False),
        ("Mu\u0308ller".encode(), False),
    ],
    ids=range(9),
)
def test_a_file_of_the_root_whose_path_no_job_can_say_is_copied(tmp_path: Path, folder: bytes, copied: bool) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + folder + b"/a.dcm"))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    there = path_in_storage(file, tmp_path)
    assert there.startswith("submitted/") is copied
    assert (tmp_path / there).read_bytes() == b"x"


def test_a_link_out_of_the_root_is_copied_like_any_file_from_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "file")
    assert path_in_storage(root / "link", root).startswith("submitted/")


def test_a_file_that_can_not_be_read_says_so_without_its_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as away:
        path_in_storage(tmp_path / "Doe^Jane.dcm", tmp_path / "root")
    assert "Jane" not in away.value.reason
