"""What holds for every setting."""

from pathlib import Path

import pytest

from worker.errors import SetupRefused
from worker.settings import Settings, get_settings


def test_folders_are_relative_to_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    monkeypatch.setenv("DLR_STORAGE_ROOT", "/mnt/images")
    settings = Settings()
    assert settings.models_dir == tmp_path / "models"
    assert settings.storage_root == Path("/mnt/images")


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith(("_s", "_ms", "_days"))])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-1"])
def test_no_wait_is_endless(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DLR_{name.upper()}", value)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith(f"DLR_{name.upper()}: has to be")
