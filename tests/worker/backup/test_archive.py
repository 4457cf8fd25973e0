"""An archive that is damaged, cut short, newer or something else is told from a whole one before it is used."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.backup.archive import ACCOUNTS, DATABASE, FILES, MANIFEST, SETTINGS, Archive, ArchiveWriter
from worker.backup.manifest import FORMAT, FilesPart, LedgerPart, Manifest, Member
from worker.errors import Code, SetupRefused

CONTENT = {
    DATABASE: bytes(range(256)) * 4,
    "models/DLR_BM/1.0/weights.safetensors": b"weights" * 100,
    ACCOUNTS: b'{"accounts": {}}',
    SETTINGS: b"[]",
    FILES: b'{"path": "a.dcm"}\n' * 50,
}


def write(path: Path, content: dict[str, bytes], **changes: Any) -> Path:
    path.touch()
    writer = ArchiveWriter(path)
    for name, data in content.items():
        with writer.member(name, compressed=name == FILES) as sink:
            sink.write(data)
    ledger = LedgerPart(server="18.4", tool="18.4", revision="0018", studies={"done": 2}, newest=None, roles=())
    manifest = Manifest(
        format=FORMAT, software="0.1.0", created_at=datetime(2026, 11, 29, tzinfo=UTC), database=ledger, models=(),
        accounts=0, files=FilesPart(count=50, missing=0, digests=True), members=writer.members,
    )  # fmt: skip
    writer.close(manifest.model_copy(update=changes))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("archive") / "whole.zip", CONTENT)


def code_of(use: Callable[[], object]) -> Code:
    with pytest.raises(SetupRefused) as refused:
        use()
    return refused.value.code


def use(path: Path) -> dict[str, bytes]:
    with Archive(path) as found:
        found.verify()
        return {name: found.read(name) for name in CONTENT}


def content_or_code(path: Path) -> object:
    try:
        return use(path)
    except SetupRefused as refused:
        return refused.code


def test_what_was_written_is_read(whole: Path) -> None:
    assert use(whole) == CONTENT
    with Archive(whole) as found:
        assert list(found.lines(FILES)) == [b'{"path": "a.dcm"}'] * 50
        assert found.model_files == ("DLR_BM/1.0/weights.safetensors",)


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_is_cut_short_anywhere_is_refused(whole: Path, share: float) -> None:
    cut = whole.with_name("cut.zip")
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    assert code_of(lambda: use(cut)) is Code.BACKUP_INVALID


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_an_archive_with_a_flipped_bit_is_refused_or_gives_what_was_written(
    whole: Path, share: float, bit: int
) -> None:
    damaged = whole.with_name("damaged.zip")
    content = bytearray(whole.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    damaged.write_bytes(content)
    assert content_or_code(damaged) in (CONTENT, Code.BACKUP_INVALID, Code.BACKUP_NEWER)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(100)], ids=["empty", "text", "a head"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.zip"
    other.write_bytes(content)
    assert code_of(lambda: use(other)) is Code.BACKUP_INVALID


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert code_of(lambda: use(tmp_path / "none.zip")) is Code.BACKUP_INVALID


def test_a_member_with_another_digest_is_refused(tmp_path: Path, whole: Path) -> None:
    with Archive(whole) as found:
        members = {**found.manifest.members, DATABASE: Member(bytes=1024, sha256="0" * 64)}
    other = write(tmp_path / "other.zip", CONTENT, members=members)
    assert code_of(lambda: use(other)) is Code.BACKUP_INVALID


@pytest.mark.parametrize("size", [0, 1023, 1025])
def test_a_member_of_another_length_is_refused(tmp_path: Path, whole: Path, size: int) -> None:
    with Archive(whole) as found:
        members = {
            **found.manifest.members,
            DATABASE: found.manifest.members[DATABASE].model_copy(update={"bytes": size}),
        }
    other = write(tmp_path / "other.zip", CONTENT, members=members)
    assert code_of(lambda: use(other)) is Code.BACKUP_INVALID


@pytest.mark.parametrize(
    "name",
    ["models/../../etc/passwd", "models//etc/passwd", "models/.lock", "models/a/../b", "/etc/passwd", "more.txt"],
)
def test_a_member_that_would_lead_elsewhere_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    other = write(tmp_path / "other.zip", {**CONTENT, name: b"x"})
    assert code_of(lambda: Archive(other)) is Code.BACKUP_INVALID


@pytest.mark.parametrize("name", [DATABASE, ACCOUNTS, SETTINGS, FILES])
def test_an_archive_without_one_of_its_parts_is_refused(tmp_path: Path, name: str) -> None:
    other = write(tmp_path / "other.zip", {kept: data for kept, data in CONTENT.items() if kept != name})
    assert code_of(lambda: Archive(other)) is Code.BACKUP_INVALID


def test_an_archive_of_a_later_format_says_so(tmp_path: Path, whole: Path) -> None:
    later = tmp_path / "later.zip"
    with zipfile.ZipFile(later, "w") as made:
        made.writestr(MANIFEST, json.dumps({"format": FORMAT + 1, "what": "nobody knows yet"}))
    assert code_of(lambda: Archive(later)) is Code.BACKUP_NEWER


def test_progress_ends_with_all_of_it(whole: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    with Archive(whole) as found:
        found.verify(lambda *said: told.append(said))
    total = sum(map(len, CONTENT.values()))
    assert told[-1] == ("verifying, bytes", total, total)
