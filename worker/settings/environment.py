"""The environment: variables, files of secrets, and the home in which a running ``dlr up`` announces its servers."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

PREFIX: Final = "DLR_"
SECRETS_DIR = Path("/run/secrets")
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""The variable with the folder of what systemd's ``LoadCredential=`` gave to this unit alone (systemd.exec(5))."""

SERVICES_FILE: Final = "services.json"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given.

    Attributes:
        value: its text.
        secret: the file that it is in; ``None``: it is in a variable.
    """

    value: str = field(repr=False)
    secret: Path | None = None


def default_home() -> Path:
    """Return ``DLR_HOME``, else ``dlr-worker`` in the user's data folder."""
    return Path(os.environ.get("DLR_HOME") or user_data_path("dlr-worker")).expanduser().resolve()


def variable(name: str) -> str:
    """Return the variable of a field: ``DLR_REDIS_URL`` for ``redis_url``."""
    return f"{PREFIX}{name.upper()}"


def secret_folders() -> list[Path]:
    """Return the folders of secrets that there are, the one that wins first."""
    credentials = os.environ.get(CREDENTIALS)
    folders = [*([Path(credentials)] if credentials else []), SECRETS_DIR]
    return [folder for folder in folders if folder.is_dir()]


def find(name: str) -> Given | None:
    """Return what the variable of a field holds, else its secret. An empty variable is none; case does not count."""
    wanted = variable(name).lower()
    for given, value in os.environ.items():
        if value and given.lower() == wanted:
            return Given(value)
    for file in (folder / wanted for folder in secret_folders()):
        if file.is_file():
            return Given(file.read_text("utf-8", errors="replace").strip(), file)
    return None


def names() -> set[str]:
    """Return the names of all variables that are not empty and of all secrets."""
    secrets = {file.name for folder in secret_folders() for file in folder.iterdir()}
    return secrets | {name for name, value in os.environ.items() if value}
