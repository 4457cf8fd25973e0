"""How `dlr receive` listens: what its settings may say, and what it refuses before it opens a port."""

from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner

from worker.cli.main import app
from worker.errors import SetupRefused
from worker.intake.receiver_config import receiver_config_of
from worker.settings import Settings, get_settings


def test_it_listens_to_anybody_on_this_machine_and_to_nobody_beyond_it() -> None:
    reception = receiver_config_of(Settings())
    assert (reception.address, reception.port, reception.ae_title) == ("127.0.0.1", 11112, "DLR")
    assert (reception.callers, reception.tls) == ((), None)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.1.2.3", "receiver.hospital.example"])  # noqa: S104
def test_beyond_this_machine_it_needs_to_know_who_may_send(address: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        receiver_config_of(Settings(receive_address=address))
    assert "DLR_RECEIVE_CALLERS" in refused.value.reason
    named = receiver_config_of(Settings(receive_address=address, receive_callers=" PACS, SCANNER1 ,"))
    assert named.callers == ("PACS", "SCANNER1")


@pytest.mark.parametrize("given", [{"certificate"}, {"key"}, {"ca"}, {"certificate", "ca"}])
def test_half_of_tls_is_refused(tmp_path: Path, given: set[str]) -> None:
    with pytest.raises(SetupRefused, match="setting_invalid"):
        receiver_config_of(Settings(**{f"receive_{one}": tmp_path / one for one in given}))


def test_files_that_are_no_certificate_are_refused_and_a_certificate_is_taken(tmp_path: Path) -> None:
    files: dict[str, Any] = {f"receive_{one}": tmp_path / one for one in ("certificate", "key", "ca")}
    with pytest.raises(SetupRefused, match="setting_invalid"):
        receiver_config_of(Settings(**files))
    authority = trustme.CA()
    ours = authority.issue_cert("127.0.0.1")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    ours.private_key_pem.write_to_path(tmp_path / "key")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    assert receiver_config_of(Settings(**files)).tls is not None


def test_the_command_that_probes_says_who_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_RECEIVE_PORT", "9")
    get_settings.cache_clear()
    done = CliRunner().invoke(app, ["health", "--receiver"])
    assert done.exit_code == 1
    assert "receiver: DLR at 127.0.0.1" in done.output
