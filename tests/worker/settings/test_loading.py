"""What is wrong with a setting is said, and what is misspelt is found."""

import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SetupRefused
from worker.settings import Settings, get_settings, isolated


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DLR_QUALITY_ROI_BLANK", "maybe"),
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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("DLR_WEB_PROT", "DLR_WEB_PORT"),
        ("DLR_WEB_HOST", "DLR_WEB_HOSTS"),
        ("DLR_REDISURL", "DLR_REDIS_URL"),
        ("DLR_GATE_DOPLER_IN_ROI", "DLR_QUALITY_DOPPLER_IN_ROI"),
        ("DLR_QUALTY_DOPPLER_IN_ROI", "DLR_QUALITY_DOPPLER_IN_ROI"),
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
    assert refused.value.reason == f"{given} is not a setting: did you mean {meant}?"


@given(st.sampled_from(sorted(Settings.model_fields)), st.data())
def test_two_letters_that_changed_places_never_go_unnoticed(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 2))
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    if swapped in Settings.model_fields or len(name) < 5:
        return
    get_settings.cache_clear()
    with mock.patch.dict(os.environ, {f"DLR_{swapped.upper()}": "x"}), pytest.raises(SetupRefused) as refused:
        get_settings()
    assert f"DLR_{swapped.upper()} is not a setting: did you mean DLR_" in refused.value.reason


def test_a_misspelt_secret_is_refused_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dlr_redis_pasword").write_text("hunter2\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert "DLR_REDIS_PASSWORD" in refused.value.reason


def test_a_variable_that_resembles_no_setting_is_left_alone_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DLR_SITE_NUMBER_OF_OUR_OWN", "7")
    get_settings()
    assert "DLR_SITE_NUMBER_OF_OUR_OWN is not a setting" in caplog.text


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_file_of_servers_that_is_no_json_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    (tmp_path / "services.json").write_bytes(content)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert "services.json is not JSON" in refused.value.reason


def test_what_runs_on_its_own_sees_no_server_of_the_environment_and_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", "redis://a")
    with isolated():
        assert get_settings().redis_url is None
        os.environ["DLR_HOME"] = "/nowhere"
    assert get_settings().redis_url is not None
    assert os.environ["DLR_REDIS_URL"] == "redis://a"
