"""A restore: onto an empty machine the same worklist, and where it cannot be done nothing is touched."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from db.migrate import check, clear, upgrade
from db.outages import DatabaseAway
from db.writes import ledger, outbox
from tests.db.samples import arrived, claimed, ended, finish_one, result, scored, study, writing
from tests.waiting import until
from tests.worker.backup.conftest import ACCOUNTS, PATHS, Back, Installation, write_private_in
from worker.backup.archive import Archive
from worker.backup.create import create
from worker.backup.restore import Restored, different_settings, files_since, restore
from worker.backup.stored_files import State
from worker.errors import Code, ModelRefused, SetupRefused
from worker.inference.registry import Registry


def put_back(archive: Path, onto: Installation, monkeypatch: pytest.MonkeyPatch, *, replace: bool = False) -> Restored:
    with Archive(archive) as found:
        return restore(found, onto.settings(monkeypatch), replace=replace)


def code_when_put_back(archive: Path, onto: Installation, monkeypatch: pytest.MonkeyPatch) -> Code:
    with pytest.raises(SetupRefused) as refused:
        put_back(archive, onto, monkeypatch)
    return refused.value.code


def test_onto_an_empty_machine_every_row_every_right_and_the_worklist_are_the_same(
    full: Installation, empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    restored = put_back(archive, empty, monkeypatch)
    before, after = full.everything(), empty.everything()
    assert len(before["worklist"]) == 5
    assert [name for name in before if name != "outbox" and before[name] != after.get(name)] == []
    assert set(before) == set(after)
    assert check(empty.database.owner_url) == []
    assert (restored.studies, restored.open, restored.models, restored.accounts, restored.kept) == (5, 2, 0, 1, [])


@pytest.mark.usefixtures("both_models")
def test_models_and_accounts_are_there_again(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back(back_up(), empty, monkeypatch)
    registry = Registry(empty.home / "models")
    assert registry.is_ready()
    assert all(finding.code is None for finding in registry.check())
    assert len(registry.history()) == 2
    accounts = empty.home / "secrets" / "web-accounts.json"
    assert b"$argon2id$of-anna" in accounts.read_bytes()
    assert accounts.stat().st_mode & 0o777 == 0o600


def test_what_was_queued_or_at_work_is_taken_up_again(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back(back_up(), empty, monkeypatch)
    with writing(empty.database) as sessions, sessions.begin() as session:
        ledger.requeue_expired(session)
        again = {queued.study_id for queued in ledger.requeue_lost(session, -1, 100)}
        assert len(again) == 2
        for study_id in again:
            assert finish(session, study_id)


def finish(session: Session, study_id: UUID) -> bool:
    return finish_one(session, result(claimed(session, study_id), scored()))


def test_a_destination_goes_on_though_the_former_server_was_further_on_with_its_transactions(
    full: Installation, empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.do("UPDATE outbox SET ahead_xid = 9000000000000")
    put_back(back_up(), empty, monkeypatch)
    with writing(empty.database) as sessions, sessions.begin() as session:
        ended(session, study("1.2.77", "new"), scored())

    def has_seen_all() -> bool:
        with writing(empty.database) as sessions, sessions.begin() as session:
            outbox.make_deliveries(session, "pacs", 100)
        [(seen, last)] = empty.rows("SELECT seen, (SELECT max(id) FROM study_event) FROM outbox")
        return bool(seen == last)

    # A transaction of another database of the server holds a destination up for as long as it lasts.
    until(has_seen_all)


def test_a_database_with_studies_is_left_alone_unless_told_otherwise(
    full: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    with writing(full.database) as sessions, sessions.begin() as session:
        arrived(session, study("1.2.88", "newer"))
    before = full.everything()
    assert code_when_put_back(archive, full, monkeypatch) is Code.DATABASE_NOT_EMPTY
    assert full.everything() == before
    assert put_back(archive, full, monkeypatch, replace=True).studies == 5
    assert full.rows("SELECT count(*) FROM study WHERE study_instance_uid = '1.2.88'") == [(0,)]


def test_a_database_that_was_only_migrated_is_empty(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty.database.owner_url)
    assert put_back(back_up(), empty, monkeypatch).studies == 5


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_of_a_partial_archive_nothing_is_written(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    archive = back_up()
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SetupRefused) as refused:
        put_back(archive, empty, monkeypatch)
    assert refused.value.code is Code.BACKUP_INVALID
    assert nothing_on(empty)


def test_of_a_damaged_archive_nothing_is_written(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    content = bytearray(archive.read_bytes())
    content[20_000] ^= 1
    archive.write_bytes(content)
    assert code_when_put_back(archive, empty, monkeypatch) is Code.BACKUP_INVALID
    assert nothing_on(empty)


def nothing_on(machine: Installation) -> bool:
    tables = machine.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    return tables == [(0,)] and not (machine.home / "models").exists() and not (machine.home / "secrets").exists()


def test_an_older_schema_is_restored_and_then_upgraded(
    empty: Installation, full: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear(full.database.owner_url)
    upgrade(full.database.owner_url, "0012")
    archive = create(full.settings(monkeypatch), digests=True)
    put_back(archive, empty, monkeypatch)
    assert check(empty.database.owner_url) == []


def test_a_schema_that_this_software_does_not_know_is_refused(
    empty: Installation, full: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.do("UPDATE alembic_version SET version_num = '9999'")
    archive = create(full.settings(monkeypatch), digests=True)
    assert code_when_put_back(archive, empty, monkeypatch) is Code.BACKUP_NEWER
    assert nothing_on(empty)


def test_beside_a_storage_that_went_on_what_is_missing_and_what_is_newer_is_told(
    full: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    (full.home / "storage" / PATHS[1]).unlink()
    write_private_in(full.home / "storage" / "received/2/new.dcm", b"new")
    with Archive(archive) as found:
        findings = files_since(found, full.settings(monkeypatch))
    assert [(one.path, one.state, len(one.studies)) for one in findings] == [
        (PATHS[1], State.MISSING, 2),
        ("received/2/new.dcm", State.NOT_IN_BACKUP, 0),
    ]


def test_settings_are_compared_and_never_changed(
    full: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    settings = full.settings(monkeypatch, DLR_BATCH_MAX="7", DLR_REDIS_URL="redis://elsewhere:6379/0")
    with Archive(archive) as found:
        differing = list(different_settings(found, settings))
    assert [(one.variable, one.then, one.now) for one in differing] == [("DLR_BATCH_MAX", None, "7")]


@pytest.mark.parametrize(("replace", "hash_kept"), [(False, b"of-another"), (True, b"of-anna")])
def test_an_account_that_is_here_keeps_its_password_unless_told_otherwise(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch, *, replace: bool, hash_kept: bytes
) -> None:
    accounts = empty.home / "secrets" / "web-accounts.json"
    write_private_in(accounts, ACCOUNTS.replace(b"of-anna", b"of-another"))
    restored = put_back(back_up(), empty, monkeypatch, replace=replace)
    assert hash_kept in accounts.read_bytes()
    assert [one.name for one in restored.kept if one.what == "account"] == ([] if replace else ["anna"])


@pytest.mark.usefixtures("both_models")
def test_another_model_under_the_same_version_is_never_overwritten(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    write_private_in(empty.home / "models" / "DLR_BM" / "1.0" / "card.json", b"another")
    with pytest.raises(ModelRefused) as refused:
        put_back(archive, empty, monkeypatch, replace=True)
    assert refused.value.code is Code.MODEL_EXISTS
    assert empty.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.usefixtures("both_models")
def test_a_version_that_is_here_already_stays_with_what_was_checked_of_it_since(
    full: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private_in(full.home / "models" / "DLR_BM" / "1.0" / "checks.jsonl", b"before")
    archive = back_up()
    write_private_in(full.home / "models" / "DLR_BM" / "1.0" / "checks.jsonl", b"since")
    restored = put_back(archive, full, monkeypatch, replace=True)
    assert restored.models == 0
    assert (full.home / "models" / "DLR_BM" / "1.0" / "checks.jsonl").read_bytes() == b"since"


@pytest.mark.usefixtures("both_models")
def test_which_versions_are_in_service_here_stays_and_is_told(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private_in(empty.home / "models" / "active.json", b'{"DLR_BM": "9.9"}')
    restored = put_back(back_up(), empty, monkeypatch)
    assert [one.name for one in restored.kept if one.what == "registry"] == ["active.json"]
    assert (empty.home / "models" / "active.json").read_bytes() == b'{"DLR_BM": "9.9"}'


def test_a_role_that_a_site_granted_something_to_has_to_be_there(
    full: Installation, empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.do("CREATE ROLE dlr_test_ris", "GRANT SELECT ON worklist TO dlr_test_ris")
    archive = back_up()
    full.do("DROP OWNED BY dlr_test_ris", "DROP ROLE dlr_test_ris")
    with pytest.raises(SetupRefused) as refused:
        put_back(archive, empty, monkeypatch)
    assert 'CREATE ROLE "dlr_test_ris" NOLOGIN;' in refused.value.reason
    assert nothing_on(empty)


def test_a_server_that_is_away_is_an_outage(
    empty: Installation, back_up: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = back_up()
    settings: Any = empty.settings(monkeypatch, DLR_DATABASE_OWNER_URL="postgresql://dlr_owner@127.0.0.1:1/dlr")
    with Archive(archive) as found, pytest.raises(DatabaseAway):
        restore(found, settings, replace=False)
