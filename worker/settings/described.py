"""The settings as they are shown: a value without secrets, and where it was found."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from worker.settings.environment import SERVICES_FILE, find, variable
from worker.settings.renamed import OldName, old_names
from worker.settings.sentinels import as_written
from worker.settings.settings import GROUPS, Settings
from worker.settings.sources import announced


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, to be shown.

    Attributes:
        variable: its name.
        value: as text, without secrets; ``None``: it is not set.
        source: where the value was found.
        description: what it means.
        old_name: the variable's old name, where that is in use.
    """

    variable: str
    value: str | None
    source: str
    description: str
    old_name: str | None = None


def described(settings: Settings) -> list[Described]:
    """Describe every setting; a URL is shown without its password, any other secret as asterisks."""
    old, of_servers = {one.renamed: one for one in old_names()}, announced(Settings)()
    return [
        Described(
            variable(name),
            _shown(name, getattr(settings, name)),
            _source(name, old.get(name), of_servers),
            field.description or "",
            old[name].variable if name in old else None,
        )
        for name, field in Settings.model_fields.items()
    ]


def without_secrets(url: str) -> str:
    """Return an address as it may be shown: no password, and none among its parameters."""
    parsed = make_url(url)
    secret = [parameter for parameter in parsed.query if "password" in parameter]
    return as_written(parsed.difference_update_query(secret).render_as_string(hide_password=True))


def by_group(rows: Sequence[Described]) -> dict[str, list[Described]]:
    """Return described settings by the titles of their groups."""
    of_variable = {row.variable: row for row in rows}
    return {title: [of_variable[variable(name)] for name in group.model_fields] for title, group in GROUPS.items()}


def _source(name: str, old: OldName | None, of_servers: Collection[str]) -> str:
    given = find(name)
    if given is not None:
        return str(given.secret or "environment")
    if old is not None:
        return old.source
    return f"DLR_HOME/{SERVICES_FILE}" if name in of_servers else "default"


def _shown(name: str, value: object) -> str | None:
    if isinstance(value, SecretStr) and name.endswith("_url"):
        return without_secrets(value.get_secret_value())
    if isinstance(value, dict):
        return json.dumps({key: server.model_dump(mode="json", exclude_none=True) for key, server in value.items()})
    return None if value is None else str(value)
