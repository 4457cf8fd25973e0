"""The settings as they are shown: a value without secrets, and where it was found."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from worker.settings import environment
from worker.settings.environment import SERVICES_FILE, announced, variable
from worker.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, to be shown: its value as text, without secrets, and where it was found."""

    variable: str
    value: str | None
    source: str
    description: str


def described(settings: Settings) -> list[Described]:
    """Describe every setting; a URL is shown without its password, any other secret as asterisks."""
    of_servers = announced(Settings)()
    return [
        Described(
            variable(name), _shown(name, getattr(settings, name)), _source(name, of_servers), field.description or ""
        )
        for name, field in Settings.model_fields.items()
    ]


def _source(name: str, of_servers: Collection[str]) -> str:
    if os.environ.get(variable(name)):
        return "environment"
    secret = environment.SECRETS_DIR / variable(name).lower()
    if secret.is_file():
        return str(secret)
    return f"DLR_HOME/{SERVICES_FILE}" if name in of_servers else "default"


def _shown(name: str, value: object) -> str | None:
    if isinstance(value, SecretStr) and name.endswith("_url"):
        url = make_url(value.get_secret_value())
        secret = [parameter for parameter in url.query if "password" in parameter]
        return url.difference_update_query(secret).render_as_string(hide_password=True)
    if isinstance(value, dict):
        return json.dumps({key: server.model_dump(mode="json", exclude_none=True) for key, server in value.items()})
    return None if value is None else str(value)
