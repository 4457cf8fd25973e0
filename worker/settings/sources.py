"""Where pydantic finds the settings: variables, secrets, and what a running ``dlr up`` announced; old names too."""

from pathlib import Path

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
)

from worker.settings import environment
from worker.settings.environment import SERVICES_FILE, default_home, variable
from worker.settings.renamed import RENAMED

_OLD_NAMES = {variable(new).lower(): variable(old).lower() for old, new in RENAMED.items()}


class _Variables(EnvSettingsSource):
    """The variables; one with an old name stands for the new one."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        old = {new: self.env_vars[old] for new, old in _OLD_NAMES.items() if old in self.env_vars}
        self.env_vars = {**old, **self.env_vars}


class _Secrets(SecretsSettingsSource):
    """The files of secrets; one with an old name stands for the new one."""

    @classmethod
    def find_case_path(cls, dir_path: Path, file_name: str, case_sensitive: bool) -> Path | None:
        """Return the file with a name, else the one with its old name."""
        found = super().find_case_path(dir_path, file_name, case_sensitive)
        old = _OLD_NAMES.get(file_name)
        return super().find_case_path(dir_path, old, case_sensitive) if found is None and old is not None else found


def announced(settings_cls: type[BaseSettings]) -> JsonConfigSettingsSource:
    """Return the source of what a running ``dlr up`` announced."""
    return JsonConfigSettingsSource(settings_cls, json_file=default_home() / SERVICES_FILE)


def sources(settings_cls: type[BaseSettings]) -> list[PydanticBaseSettingsSource]:
    """Return the sources, the one that wins first."""
    secrets = [_Secrets(settings_cls, secrets_dir=folder) for folder in environment.secret_folders()]
    return [_Variables(settings_cls), *secrets, announced(settings_cls)]
