"""Where settings come from, and that secrets stay secret."""

import json
import os
from pathlib import Path

import pytest

from worker import settings as room
from worker.errors import SetupRefused
from worker.imaging.dicomweb import Server
from worker.imaging.policy import GatePolicy
from worker.settings import Settings, described, get_settings, isolated
from worker.study import GateReason


def test_folders_are_relative_to_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    monkeypatch.setenv("DLR_STORAGE_ROOT", "/mnt/images")
    settings = Settings()
    assert settings.models_dir == tmp_path / "models"
    assert settings.storage_root == Path("/mnt/images")


def test_a_password_from_a_secret_s_file_fills_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dlr_database_password").write_text("p@ss/word\n")
    monkeypatch.setattr(room, "SECRETS_DIR", tmp_path)
    monkeypatch.setenv("DLR_DATABASE_URL", "postgresql://dlr_writer@db:5432/dlr")
    assert Settings().require_database_url() == "postgresql://dlr_writer:p%40ss%2Fword@db:5432/dlr"


def test_a_running_dlr_up_is_found_and_the_environment_wins_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    (tmp_path / "services.json").write_text(
        json.dumps({"redis_url": "redis://a:1/0", "database_url": "postgresql://a/d"})
    )
    monkeypatch.setenv("DLR_REDIS_URL", "redis://b:2/0")
    settings = Settings()
    assert settings.require_redis_url() == "redis://b:2/0"
    assert settings.require_owner_url() == "postgresql://a/d"


def test_without_servers_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    with pytest.raises(SetupRefused) as refusal:
        get_settings().require_redis_url()
    assert "DLR_REDIS_URL" in refusal.value.reason
    assert "dlr up" in refusal.value.reason


def test_each_check_of_the_gate_warns_unless_its_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_GATE_OVERLAY_IN_ROI", "refuse")
    monkeypatch.setenv("DLR_GATE_ROI_BLANK", "off")
    said = {GateReason.OVERLAY_IN_ROI: GatePolicy.REFUSE, GateReason.ROI_BLANK: GatePolicy.OFF}
    assert Settings().gate == {reason: said.get(reason, GatePolicy.WARN) for reason in GateReason}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DLR_GATE_ROI_BLANK", "maybe"),
        ("DLR_BATCH_MAX", "0"),
        ("DLR_LOG_LEVEL", "LOUD"),
        ("DLR_DATABASE_URL", "hunter2"),
        ("DLR_MAX_ATTEMPTS", "x"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupRefused) as refusal:
        get_settings()
    assert name in refusal.value.reason
    assert "hunter2" not in refusal.value.reason


def test_no_secret_shows_in_the_settings_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD"):
        monkeypatch.setenv(f"DLR_{name}", "hunter2")
    monkeypatch.setenv("DLR_DATABASE_URL", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(Settings())
    assert "hunter2" not in str(Settings())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "DLR_DICOMWEB_SERVERS: not JSON"),
        ('{"pacs": {}}', "DLR_DICOMWEB_SERVERS: pacs: url"),
        ('{"pacs": {"url": "https://u:hunter2@pacs"}}', "DLR_DICOMWEB_SERVERS: pacs"),
        ('{"pacs": {"url": "https://pacs", "token": "hunter2", "user": "u", "password": "p"}}', "give a token"),
        ('{"pacs": {"url": "ftp://pacs"}}', "DLR_DICOMWEB_SERVERS: pacs: url"),
    ],
)
def test_a_wrong_dicomweb_server_is_named_and_its_secrets_are_not(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("DLR_DICOMWEB_SERVERS", value)
    get_settings.cache_clear()
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert said in refused.value.reason
    assert "hunter2" not in refused.value.reason


def test_a_dicomweb_server_signs_in_and_is_shown_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = {
        "a": {"url": "https://a/dicom-web/", "token": "hunter2"},
        "b": {"url": "https://b", "user": "u", "password": "hunter2"},
    }
    monkeypatch.setenv("DLR_DICOMWEB_SERVERS", json.dumps(servers))
    get_settings.cache_clear()
    settings = get_settings()
    assert settings.dicomweb.servers["a"] == Server("https://a/dicom-web", {"Authorization": "Bearer hunter2"})
    assert settings.dicomweb.servers["b"].headers == {"Authorization": "Basic dTpodW50ZXIy"}
    (shown,) = [row.value for row in described(settings) if row.variable == "DLR_DICOMWEB_SERVERS"]
    assert shown is not None
    assert '"url": "https://a/dicom-web/"' in shown
    assert "hunter2" not in shown


def test_what_runs_on_its_own_sees_no_server_of_the_environment_and_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", "redis://a")
    with isolated():
        assert get_settings().redis_url is None
        os.environ["DLR_HOME"] = "/nowhere"
    assert get_settings().redis_url is not None
    assert os.environ["DLR_REDIS_URL"] == "redis://a"
