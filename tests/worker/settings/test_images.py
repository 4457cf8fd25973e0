"""DICOMweb servers as they are used."""

import json

import pytest

from worker.image_access import Server
from worker.settings import described, get_settings


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
