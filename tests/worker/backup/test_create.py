"""A backup: of one moment, whole or not there at all, for its owner alone, and without a secret."""

import zipfile
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.db.samples import arrived, study, writing
from tests.worker.backup.conftest import PATHS, Back, Installation
from worker.backup.archive import FILES, SETTINGS, Archive
from worker.backup.create import create, keep_latest
from worker.backup.folder import archives_in, listed, named
from worker.backup.stored_files import read_line
from worker.errors import Code, SetupRefused
from worker.services.embedded_postgres import EmbeddedPostgres


@pytest.mark.usefixtures("both_models")
def test_an_archive_says_what_is_in_it(back_up: Back) -> None:
    with Archive(back_up()) as found:
        found.verify()
        told = found.manifest
    assert told.database.studies == {"done": 1, "partial": 1, "failed": 1, "queued": 1, "running": 1}
    assert (told.studies, told.open, told.accounts) == (5, 2, 1)
    assert sorted((one.name, one.active) for one in told.models) == [("DLR_BM", True), ("DLR_LH", True)]
    assert (told.files.count, told.files.missing) == (2, 0)


def test_it_is_for_its_owner_alone_and_nothing_lies_beside_it(back_up: Back) -> None:
    archive = back_up()
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    assert list(archive.parent.iterdir()) == [archive]


def test_a_backup_while_studies_arrive_is_of_one_moment(full: Installation, back_up: Back) -> None:
    late: list[str] = []

    def arrive(what: str, *_: object) -> None:
        if not late:
            with writing(full.database) as sessions, sessions.begin() as session:
                arrived(session, study("1.2.99", "late", job={"images": {"kind": "files", "paths": ["late.dcm"]}}))
            late.append(what)

    with Archive(back_up(on_progress=arrive)) as found:
        files = [read_line(line).path for line in found.lines(FILES)]
        assert (found.manifest.studies, sorted(files)) == (5, sorted(PATHS))
    assert late == ["database, bytes"]
    assert full.rows("SELECT count(*) FROM study") == [(6,)]


def test_no_secret_is_in_it(full: Installation, back_up: Back) -> None:
    passwords = [str(make_url(url).password) for url in full.variables.values() if "://" in url]
    with zipfile.ZipFile(back_up()) as found:
        assert "DLR_DATABASE_URL" in found.read(SETTINGS).decode()
        for name in found.namelist():
            assert not any(password.encode() in found.read(name) for password in passwords), name


def test_a_user_who_may_only_read_is_enough(
    full: Installation, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = make_url(full.database.owner_url)
    with postgres.as_superuser() as cursor:
        cursor.execute("CREATE ROLE dlr_test_backup LOGIN PASSWORD 'only-read'")
        cursor.execute(
            f"GRANT pg_read_all_data TO dlr_test_backup; GRANT CONNECT ON DATABASE {owner.database} TO dlr_test_backup"
        )
    try:
        url = owner.set(username="dlr_test_backup").set(password="only-read")
        settings = full.settings(monkeypatch, DLR_BACKUP_DATABASE_URL=url.render_as_string(hide_password=False))
        with Archive(create(settings, digests=True)) as found:
            assert found.manifest.studies == 5
    finally:
        with postgres.as_superuser(str(owner.database)) as cursor:
            cursor.execute("DROP OWNED BY dlr_test_backup; DROP ROLE dlr_test_backup")


def test_where_pg_dump_refuses_there_is_no_archive_and_no_half_of_one(
    full: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = full.settings(monkeypatch, DLR_BACKUP_DATABASE_URL=full.database.writer_url)
    with pytest.raises(SetupRefused) as refused:
        create(settings, digests=True)
    assert refused.value.code is Code.BACKUP_FAILED
    assert "permission denied" in refused.value.reason
    assert list(settings.backup_dir.iterdir()) == []


def test_a_database_without_a_schema_is_nothing_to_back_up(
    empty: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetupRefused) as refused:
        create(empty.settings(monkeypatch), digests=True)
    assert refused.value.code is Code.SETTING_INVALID


def test_what_a_killed_backup_left_goes_away_with_the_next(full: Installation, back_up: Back) -> None:
    folder = full.home / "backups"
    folder.mkdir()
    (folder / ".dlr-backup-20260101T000000Z.zip.part").write_bytes(b"half")
    assert list(folder.iterdir()) != [archive := back_up()]
    assert list(folder.iterdir()) == [archive]


def test_two_backups_at_once_in_a_folder_are_one_too_many(back_up: Back) -> None:
    def second(*_: object) -> None:
        back_up()

    with pytest.raises(SetupRefused) as refused:
        back_up(on_progress=second)
    assert refused.value.code is Code.ALREADY_RUNNING


def archives(folder: Path, *days: int) -> None:
    folder.mkdir(parents=True)
    for day in days:
        (folder / f"dlr-backup-202611{day:02}T000000Z.zip").write_bytes(b"x")
    (folder / "somebody's.zip").write_bytes(b"x")


def test_the_latest_are_kept_and_nobody_elses_file_is_touched(tmp_path: Path) -> None:
    archives(tmp_path / "backups", 3, 1, 2)
    keep_latest(tmp_path / "backups", 2)
    assert sorted(path.name for path in (tmp_path / "backups").iterdir()) == [
        "dlr-backup-20261102T000000Z.zip", "dlr-backup-20261103T000000Z.zip", "somebody's.zip",
    ]  # fmt: skip


def test_an_archive_that_cannot_be_read_is_listed_with_its_code(tmp_path: Path) -> None:
    archives(tmp_path / "backups", 1)
    [one] = listed(tmp_path / "backups")
    assert one.manifest is None
    assert one.refused is not None
    assert one.refused.code is Code.BACKUP_INVALID


def test_an_archive_is_named_by_its_path_its_name_or_as_the_latest(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    archives(folder, 1, 2)
    older, latest = sorted(archives_in(folder))
    assert named(folder, older) == named(folder, Path(older.name)) == older
    assert named(folder, Path("latest")) == latest
    with pytest.raises(SetupRefused):
        named(folder, Path("none"))


def test_a_list_of_files_without_digests_reads_none(back_up: Back) -> None:
    with Archive(back_up(digests=False)) as found:
        files = [read_line(line) for line in found.lines(FILES)]
    assert [(file.size is not None, file.sha256) for file in files] == [(True, None)] * 2
