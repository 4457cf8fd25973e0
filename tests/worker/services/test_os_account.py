import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import Code, SetupRefused
from worker.services import os_account
from worker.services.launch import Account, wrapped
from worker.services.os_account import server_account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534
CAP_DAC_READ_SEARCH = 2


@pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user is needed")
def test_an_ordinary_user_stays_who_he_is(tmp_path: Path) -> None:
    assert server_account(tmp_path) is None


@as_root
def test_new_data_belongs_to_nobody_and_old_data_keeps_its_owner(tmp_path: Path) -> None:
    new = server_account(tmp_path / "data")
    assert new is not None
    assert new.uid == NOBODY
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 1234, 4321)
    old = server_account(tmp_path / "data")
    assert old is not None
    assert (old.uid, old.gid) == (1234, 4321)


@as_root
def test_without_the_capability_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_account, "_permitted_capabilities", lambda: 0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SetupRefused) as refused:
        server_account(closed / "home" / "data")
    assert refused.value.code is Code.SETTING_INVALID
    assert str(closed) in refused.value.reason


@as_root
@pytest.mark.parametrize(
    ("what", "allowed"), [("read", True), ("access", True), ("write", False), ("become root", False)]
)
def test_the_kept_capability_reads_what_root_may_and_does_nothing_else(
    tmp_path: Path, what: str, allowed: bool
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    programs = {
        "read": f"open({str(secret)!r})",
        "access": f"import os; assert os.access({str(secret)!r}, os.R_OK)",
        "write": f"open({str(secret)!r}, 'w')",
        "become root": "import os; os.setuid(0)",
    }
    become = Account(NOBODY, NOBODY, CAP_DAC_READ_SEARCH)
    argv = wrapped([sys.executable, "-S", "-c", programs[what]], death_signal=signal.SIGKILL, account=become)
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode == 0) is allowed, done.stderr


def test_a_program_is_not_started_for_a_parent_that_is_gone() -> None:
    argv = wrapped([sys.executable, "-S", "-c", "print('started')"], death_signal=signal.SIGKILL)
    argv[4] = argv[4].replace(f'"parent": {os.getpid()}', '"parent": 1')
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
