"""The environment: variables, files of secrets, and the home in which a running ``dlr up`` announces its servers."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

PREFIX: Final = "DLR_"
SECRETS_DIR = Path("/run/secrets")
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


def find(name: str) -> Given | None:
    """Return what the variable of a field holds, else its secret. An empty variable is none; case does not count."""
    wanted = variable(name).lower()
    for given, value in os.environ.items():
        if value and given.lower() == wanted:
            return Given(value)
    file = SECRETS_DIR / wanted
    return Given(file.read_text("utf-8", errors="replace").strip(), file) if file.is_file() else None


def names() -> set[str]:
    """Return the names of all variables that are not empty and of all secrets."""
    secrets = {file.name for file in SECRETS_DIR.iterdir()} if SECRETS_DIR.is_dir() else set()
    return secrets | {name for name, value in os.environ.items() if value}
