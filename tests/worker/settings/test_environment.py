"""Where settings come from."""

import json
from pathlib import Path

import pytest

from worker.settings import Settings, described


def test_a_password_from_a_secret_s_file_fills_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dlr_database_password").write_text("p@ss/word\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    monkeypatch.setenv("DLR_DATABASE_URL", "postgresql://dlr_writer@db:5432/dlr")
    assert Settings().require_database_url() == "postgresql://dlr_writer:p%40ss%2Fword@db:5432/dlr"


def test_a_credential_of_a_systemd_unit_is_a_secret_and_wins_over_one_in_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, password in (("credentials", "of-the-unit"), ("run", "of-all")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dlr_redis_password").write_text(f"{password}\n")
    (tmp_path / "run" / "dlr_flower_password").write_text("of-all\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path / "run")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setenv("DLR_REDIS_URL", "redis://dlr@redis:6379/0")
    settings = Settings()
    assert settings.require_redis_url() == "redis://dlr:of-the-unit@redis:6379/0"
    assert settings.flower_password is not None
    sources = {row.variable: row.source for row in described(settings)}
    assert sources["DLR_REDIS_PASSWORD"] == str(tmp_path / "credentials" / "dlr_redis_password")
    assert sources["DLR_FLOWER_PASSWORD"] == str(tmp_path / "run" / "dlr_flower_password")


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
