"""Where settings come from, and that secrets stay secret."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import settings as room
from worker.errors import SetupRefused
from worker.image_access import GatePolicy, Server
from worker.settings import Settings, described, get_settings, isolated
from worker.study import QualityFinding


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
    said = {QualityFinding.OVERLAY_IN_ROI: GatePolicy.REFUSE, QualityFinding.ROI_BLANK: GatePolicy.OFF}
    assert Settings().gate == {reason: said.get(reason, GatePolicy.WARN) for reason in QualityFinding}


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


POSTGRESQL = ("DATABASE_URL", "DATABASE_OWNER_URL", "READER_URL", "WEB_DATABASE_URL", "SHADOW_DATABASE_URL")
NO_POSTGRESQL = (
    "mysql://u:hunter2@h/d", "postgres://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "sqlite:///d", "oracle://h",
    "postgresql://h:99999/d", "redis://h/0", "postgresql://h:port/d", "h",
)  # fmt: skip
NO_REDIS = (
    "sentinel://u:hunter2@h:26379/0", "amqp://u:hunter2@h", "memory://", "redis+socket:///tmp/redis", "unix:///tmp/redis",
    "redis-cluster://h", "http://h", "postgresql://h/d", "redis://h:70000/0", "redis://h/zero", "redis:///0", "redis://",
    "sqs://", "REDIS", "redis://h:6379/-1", "redis://a:1;redis://b:2",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *((name, value, "postgresql://") for name in POSTGRESQL for value in NO_POSTGRESQL),
        *(("REDIS_URL", value, "rediss://") for value in NO_REDIS),
        *(("TRACES_URL", value, "https://host:port") for value in ("grpc://h:4317", "h:4318", "http://", "http://h:x")),
        *(("SEND_WEBHOOK_URL", value, "http") for value in ("ftp://h/x", "h", "mailto:a@b")),
        *((name, "AET@h:99999", "65535") for name in ("SEND_PACS", "SEND_UPS")),
        *((name, "AET@h:0", "65535") for name in ("SEND_PACS", "SEND_UPS")),
    ],
)
def test_an_address_of_another_kind_is_refused_with_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(f"DLR_{name}", value)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.code == "setting_invalid"
    assert refused.value.reason.startswith(f"DLR_{name}: ")
    assert accepted in refused.value.reason
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql+psycopg2://u@h:5432/d"),
        ("DATABASE_URL", "postgresql://u@/d?host=/var/run/postgresql"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "rediss://u:p@h:6380/15"),
        ("REDIS_URL", "redis://[::1]:6379/0"),
        ("REDIS_URL", "redis://h/0?health_check_interval=10&client_name=dlr"),
        (
            "DATABASE_URL",
            "postgresql://u@/d?host=a:5432&host=b:5432&target_session_attrs=read-write&application_name=dlr",
        ),
        ("TRACES_URL", "http://collector:4318"),
        ("SEND_PACS", "PACS@pacs.hospital:11112"),
    ],
)
def test_an_address_of_the_right_kind_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DLR_{name}", value)
    assert getattr(get_settings(), name.lower()) is not None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("DLR_WEB_PROT", "DLR_WEB_PORT"),
        ("DLR_WEB_HOST", "DLR_WEB_HOSTS"),
        ("DLR_REDISURL", "DLR_REDIS_URL"),
        ("DLR_GATE_DOPLER_IN_ROI", "DLR_GATE_DOPPLER_IN_ROI"),
        ("DLR_DATABSE_URL", "DLR_DATABASE_URL"),
        ("dlr_log_levle", "DLR_LOG_LEVEL"),
        ("DLR_RECEIVE_CALLER", "DLR_RECEIVE_CALLERS"),
        ("DLR_REDIS_PASSWORT", "DLR_REDIS_PASSWORD"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, given: str, meant: str
) -> None:
    monkeypatch.setenv(given, "hunter2")
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason == f"{given} is no setting: is {meant} meant?"


@given(st.sampled_from(sorted(Settings.model_fields)), st.data())
def test_two_letters_that_changed_places_never_go_unnoticed(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 2))
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    if swapped in Settings.model_fields or len(name) < 5:
        return
    get_settings.cache_clear()
    with mock.patch.dict(os.environ, {f"DLR_{swapped.upper()}": "x"}), pytest.raises(SetupRefused) as refused:
        get_settings()
    assert f"DLR_{swapped.upper()} is no setting: is DLR_" in refused.value.reason


def test_a_misspelt_secret_is_refused_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dlr_redis_pasword").write_text("hunter2\n")
    monkeypatch.setattr(room, "SECRETS_DIR", tmp_path)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert "DLR_REDIS_PASSWORD" in refused.value.reason


def test_a_variable_that_resembles_no_setting_is_left_alone_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DLR_SITE_NUMBER_OF_OUR_OWN", "7")
    get_settings()
    assert "DLR_SITE_NUMBER_OF_OUR_OWN is no setting" in caplog.text


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_file_of_servers_that_is_no_json_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    (tmp_path / "services.json").write_bytes(content)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert "services.json is not JSON" in refused.value.reason


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


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *((name, "postgresql://u:hunter2@h/d?sslmod=require") for name in POSTGRESQL),
        ("DATABASE_URL", "postgresql://u:hunter2@h/d?charset=utf8"),
        ("REDIS_URL", "redis://u:hunter2@h/0?foo=bar"),
        ("REDIS_URL", "redis://h/0?socket_timeout=soon"),
        ("REDIS_URL", "redis://h/0?ssl_ca_certs=/ca"),
        ("REDIS_URL", "rediss://h/0?ssl_check_hostnam=true"),
    ],
)
def test_a_parameter_of_an_address_that_no_driver_knows_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(f"DLR_{name}", url)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith(f"DLR_{name}: has a parameter")
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith(("_s", "_ms", "_days"))])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-1"])
def test_no_wait_is_endless(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DLR_{name.upper()}", value)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith(f"DLR_{name.upper()}: has to be")


@pytest.mark.parametrize(
    ("server", "address"), [("DATABASE", "postgresql://u@h/d"), ("REDIS", "rediss://h/0")], ids=["PostgreSQL", "Redis"]
)
@pytest.mark.parametrize("file", ["CA", "CERTIFICATE", "KEY"])
def test_a_file_for_tls_that_can_not_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str, address: str, file: str
) -> None:
    monkeypatch.setenv(f"DLR_{server}_URL", address)
    for name in ("CA", "CERTIFICATE", "KEY"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"DLR_{server}_{name}", str(tmp_path / name))
    (tmp_path / file).unlink()
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason == f"DLR_{server}_{file} can not be read"


def test_what_runs_on_its_own_sees_no_server_of_the_environment_and_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", "redis://a")
    with isolated():
        assert get_settings().redis_url is None
        os.environ["DLR_HOME"] = "/nowhere"
    assert get_settings().redis_url is not None
    assert os.environ["DLR_REDIS_URL"] == "redis://a"


@pytest.mark.parametrize(
    ("name", "fine", "refused"),
    [
        ("SEND_AE_TITLE", ["DLR", "A B-1_", "x" * 16], ["", "x" * 17, "A\\B", "   ", "PÄCS", "A\tB"]),
        ("RECEIVE_CALLERS", ["US1, PACS", ",,"], ["US1,ÄÖ", "x" * 17, "A\\B,PACS"]),
        ("RECEIVE_AE_TITLE", ["DLR"], ["x" * 17, "A\\B", " ", "超声"]),
        ("SEND_RETRIEVE_AE_TITLE", ["PACS"], ["x" * 17, "A\\B", "\x7f"]),
        ("SEND_WORKLIST_LABEL", ["乳腺超声", "x" * 64], ["x" * 65, "A\\B", "A\nB"]),
        ("SEND_PERFORMER", ["1^99X^Röntgen^Klinik"], ["1^99X^A=B^C", "1^99X^A\x07^C", "x" * 17 + "^99X^A^B", "1^2^3"]),
        ("SEND_PACS", ["PACS@host:104", "A B@10.0.0.1:11112"], ["@host:1", " @host:1", "PÄCS@host:1", "A\\B@host:1"]),
    ],
)
def test_what_goes_into_a_dicom_attribute_is_refused_at_the_start_where_it_does_not_fit(
    name: str, fine: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in fine:
        monkeypatch.setenv(f"DLR_{name}", text)
        get_settings.cache_clear()
        assert getattr(get_settings(), name.lower()) == text
    for text in filter(None, refused):
        monkeypatch.setenv(f"DLR_{name}", text)
        get_settings.cache_clear()
        with pytest.raises(SetupRefused) as why:
            get_settings()
        assert f"DLR_{name}" in why.value.reason
