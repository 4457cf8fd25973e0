"""Where settings are found: variables, files of secrets, the servers that a running ``dlr up`` announced."""

import os
from pathlib import Path
from typing import Final

from platformdirs import user_data_path
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
)

PREFIX: Final = "DLR_"
SECRETS_DIR = Path("/run/secrets")
SERVICES_FILE: Final = "services.json"


def default_home() -> Path:
    """Return ``DLR_HOME``, else ``dlr-worker`` in the user's data folder."""
    return Path(os.environ.get("DLR_HOME") or user_data_path("dlr-worker")).expanduser().resolve()


def variable(field: str) -> str:
    """Return the variable of a field: ``DLR_REDIS_URL`` for ``redis_url``."""
    return f"{PREFIX}{field.upper()}"


def secrets(settings_cls: type[BaseSettings]) -> list[PydanticBaseSettingsSource]:
    """Return the source of secrets, if there is a folder of them: without one, pydantic's source warns."""
    return [SecretsSettingsSource(settings_cls, secrets_dir=SECRETS_DIR)] if SECRETS_DIR.is_dir() else []


def announced(settings_cls: type[BaseSettings]) -> JsonConfigSettingsSource:
    """Return the source of what a running ``dlr up`` announced."""
    return JsonConfigSettingsSource(settings_cls, json_file=default_home() / SERVICES_FILE)
