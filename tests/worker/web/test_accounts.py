import json
from pathlib import Path

import pytest

from tests.worker.web.conftest import AS_SHIPPED, PASSWORD
from worker.errors import Code, SetupRefused
from worker.web.accounts import Accounts, WebRole, is_right


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "new" / "accounts.json")


def test_there_is_nobody_at_first(accounts: Accounts) -> None:
    assert accounts.list() == []
    assert accounts.find("anna") is None
    assert not accounts.remove("anna")


def test_an_account_is_added_changed_and_removed(accounts: Accounts) -> None:
    assert accounts.put("anna", WebRole.READER, PASSWORD)
    assert not accounts.put("anna", WebRole.ADMINISTRATOR, "another password")
    anna = accounts.find("anna")
    assert anna is not None
    assert anna.role is WebRole.ADMINISTRATOR
    assert is_right(anna, "another password")
    assert not is_right(anna, PASSWORD)
    assert accounts.remove("anna")
    assert accounts.list() == []


def test_the_file_holds_no_password_and_is_its_owners_alone(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.web.accounts._HASHER", AS_SHIPPED)
    accounts.put("anna", WebRole.READER, PASSWORD)
    text = accounts.path.read_text()
    assert PASSWORD not in text
    assert "$argon2id$" in text
    anna = accounts.find("anna")
    assert is_right(anna, PASSWORD)
    assert not is_right(anna, "another password")
    assert accounts.path.stat().st_mode & 0o777 == 0o600
    assert accounts.path.parent.stat().st_mode & 0o777 == 0o700


def test_the_same_password_twice_gives_two_hashes(accounts: Accounts) -> None:
    accounts.put("anna", WebRole.READER, PASSWORD)
    accounts.put("bea", WebRole.READER, PASSWORD)
    assert len({account.hash for account in accounts.list()}) == 2


def test_nobody_has_a_password() -> None:
    assert not is_right(None, PASSWORD)


@pytest.mark.parametrize(
    ("name", "password"),
    [("", PASSWORD), ("Anna", PASSWORD), ("a b", PASSWORD), ("../x", PASSWORD), ("a" * 65, PASSWORD),
     ("anna", "short"), ("anna", ""), ("anna", "x" * 1025)],
)  # fmt: skip
def test_what_can_not_be_an_account_is_refused(name: str, password: str, accounts: Accounts) -> None:
    with pytest.raises(SetupRefused) as refused:
        accounts.put(name, WebRole.READER, password)
    assert refused.value.code is Code.SETTING_INVALID
    assert password == "" or password not in refused.value.reason
    assert accounts.list() == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"accounts": {"a": {}}}', '{"accounts": {"a": {"role": "owner", "hash": "x"}}}']
)
def test_a_file_that_is_none_lets_nobody_in(text: str, accounts: Accounts) -> None:
    accounts.path.parent.mkdir()
    accounts.path.write_text(text)
    with pytest.raises(SetupRefused) as refused:
        accounts.list()
    assert refused.value.code is Code.SETTING_INVALID


def test_a_hash_that_is_none_lets_nobody_in(accounts: Accounts) -> None:
    accounts.path.parent.mkdir()
    accounts.path.write_text(json.dumps({"accounts": {"anna": {"role": "reader", "hash": "plain"}}}))
    assert not is_right(accounts.find("anna"), "plain")
