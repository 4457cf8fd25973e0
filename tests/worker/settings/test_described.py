"""Secrets stay secret where settings are shown."""

import pytest

from worker.settings import Settings


def test_no_secret_shows_in_the_settings_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD"):
        monkeypatch.setenv(f"DLR_{name}", "hunter2")
    monkeypatch.setenv("DLR_DATABASE_URL", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(Settings())
    assert "hunter2" not in str(Settings())
