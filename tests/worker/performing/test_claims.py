"""Claims on the disk: whole, private, and one process's."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.command_line import clean_environment, dlr
from worker.errors import Code, SetupRefused
from worker.performing.claims import Claim, Claims, State
from worker.performing.scheduled import Coded

RIS = "RIS@ris:104"
CLAIM = Claim(
    uid="1.2.3",
    transaction_uid="2.25.1",
    job={"schema_version": 1, "study_instance_uid": "1.2.4"},
    workitem=Coded("110004", "DCM", "Computer Aided Diagnosis"),
    claimed_at=datetime(2026, 11, 30, 5, tzinfo=UTC),
)


def test_a_claim_is_read_as_it_was_kept_in_each_state_until_it_is_dropped(tmp_path: Path) -> None:
    with Claims.held(tmp_path, RIS) as claims:
        refused = CLAIM.now(State.RECORDED, code=Code.LESIONS_MISSING, reason="none")
        for claim in (CLAIM, CLAIM.now(State.HELD), refused):
            claims.keep(claim)
            assert claims.all() == [claim]
        claims.drop(CLAIM)
        assert claims.all() == []


def test_claims_are_their_owners_alone_and_no_name_of_a_file_has_an_identifier(tmp_path: Path) -> None:
    with Claims.held(tmp_path, RIS) as claims:
        claims.keep(CLAIM)
    files = list((tmp_path / "claims").rglob("*.json"))
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
    assert claims.folder.stat().st_mode & 0o777 == 0o700
    assert not any(CLAIM.uid in file.name for file in files)


def test_two_performers_do_not_have_one_folder(tmp_path: Path) -> None:
    with (
        Claims.held(tmp_path, RIS),
        Claims.held(tmp_path, "OTHER@ris:104"),
        pytest.raises(SetupRefused, match="already_running"),
        Claims.held(tmp_path, RIS),
    ):
        pass
    with Claims.held(tmp_path, RIS):
        pass


def test_a_claim_that_cannot_be_read_is_said_and_not_forgotten(tmp_path: Path) -> None:
    with Claims.held(tmp_path, RIS) as claims:
        claims.keep(CLAIM)
        [file] = claims.folder.glob("*.json")
        file.write_text('{"uid": "1.2')
        with pytest.raises(SetupRefused) as refused:
            claims.all()
    assert str(file) in refused.value.reason
    assert file.exists()


def test_a_claim_that_was_given_up_is_forgotten_by_its_name_and_no_other_is(tmp_path: Path) -> None:
    def dlr_perform(*arguments: str) -> int:
        return dlr("perform", *arguments, environment=environment).returncode

    environment = clean_environment(DLR_HOME=str(tmp_path), DLR_PERFORM_MANAGER=RIS)
    with Claims.held(tmp_path / "storage", RIS) as claims:
        claims.keep(CLAIM.now(State.WAITING))
        assert (dlr_perform("list"), dlr_perform("forget", CLAIM.name)) == (0, 2)
        claims.keep(CLAIM.now(State.GIVEN_UP))
        assert (dlr_perform("list"), dlr_perform("forget", CLAIM.name)) == (3, 0)
        assert claims.all() == []


def test_how_long_the_performer_has_been_silent_is_known_once_it_has_worked(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    assert claims.silent_s() is None
    claims.looked()
    assert (claims.silent_s() or 99) < 60
