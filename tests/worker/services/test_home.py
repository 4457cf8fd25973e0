import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import Code, SetupRefused
from worker.services.home import LOG_BYTES_MAX, Home, database_url_of
from worker.settings import Settings, get_settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_and_its_folders_are_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = Home(tmp_path / "new").folder("secrets")
    finally:
        os.umask(before)
    assert mode(folder) == mode(folder.parent) == 0o700


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupRefused) as refused:
        Home(tmp_path / "file").folder("secrets")
    assert refused.value.code is Code.SETTING_INVALID


def test_a_secret_is_made_once_long_and_readable_by_its_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    secret = home.secret("redis")
    assert home.secret("redis") == secret
    assert len(secret) >= 43
    assert home.secret("flower") != secret
    assert mode(home.secret_file("redis")) == 0o600


def test_one_at_a_time_holds_a_home(tmp_path: Path) -> None:
    with Home(tmp_path).held(), pytest.raises(SetupRefused) as refused, Home(tmp_path).held():
        pass
    assert refused.value.code is Code.ALREADY_RUNNING
    with Home(tmp_path).held():
        pass


HOLDING = """
import os, sys
from pathlib import Path
from worker.services.home import Home

with Home(Path(sys.argv[1])).held():
    os.kill(os.getpid(), 9)
"""


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", HOLDING, str(tmp_path)], check=False).returncode == -9
    with Home(tmp_path).held():
        pass


def test_other_commands_find_the_announced_servers_until_they_are_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    home = Home(tmp_path)
    home.announce({"redis_url": "redis://dlr:secret@127.0.0.1:7000/0", "flower_port": 7001})
    assert mode(tmp_path / "services.json") == 0o600
    assert get_settings().require_redis_url() == "redis://dlr:secret@127.0.0.1:7000/0"
    assert get_settings().flower_port == 7001
    home.withdraw()
    get_settings.cache_clear()
    assert get_settings().redis_url is None
    home.withdraw()


def test_what_is_announced_goes_by_the_names_of_settings(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.announce({"redis_url": "redis://127.0.0.1"})
    assert set(json.loads((tmp_path / "services.json").read_text())) <= set(Settings.model_fields)


def test_a_log_that_grew_large_is_put_aside(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.log_file("worker").write_text("x" * (LOG_BYTES_MAX + 1))
    assert home.log_file("worker").read_text() == ""
    assert (tmp_path / "logs" / "worker.log.1").stat().st_size == LOG_BYTES_MAX + 1
    home.log_file("worker").write_text("small")
    assert home.log_file("worker").read_text() == "small"
    assert mode(home.log_file("worker")) == 0o600


def test_each_role_of_the_embedded_database_has_its_url(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settings = Settings(
        home=tmp_path, database_url=f"postgresql://dlr_writer:{home.secret('dlr_writer')}@127.0.0.1:7/dlr"
    )
    for role in ("reader", "writer", "owner"):
        expected = f"postgresql://dlr_{role}:{home.secret(f'dlr_{role}')}@127.0.0.1:7/dlr"
        assert database_url_of(settings, role) == expected


def test_a_role_of_a_sites_own_database_has_the_url_that_the_settings_give(tmp_path: Path) -> None:
    own = {"writer": "database_url", "owner": "database_owner_url", "reader": "reader_url"}
    urls = {name: f"postgresql://{role}:theirs@db.hospital/dlr" for role, name in own.items()}
    for role, name in own.items():
        assert database_url_of(Settings(home=tmp_path, **urls), role) == urls[name]


def test_the_roles_of_somebody_elses_database_are_not_made_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://dlr_writer:theirs@db.hospital/dlr")
    with pytest.raises(SetupRefused) as refused:
        database_url_of(settings, "reader")
    assert refused.value.code is Code.SETTING_INVALID
